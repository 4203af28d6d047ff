"""What is drawn from a trained run: codes, scores, figures and more."""
