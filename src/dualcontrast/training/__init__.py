"""Training: the loop, its schedule, log and checkpoints."""
