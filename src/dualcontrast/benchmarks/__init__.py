"""Benchmarks: what is measured, as commands."""
