"""Benchmarks: the tables and figures of the paper, and the speed of training."""
