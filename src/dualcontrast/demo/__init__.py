"""The demos: simulated proteins, and handwritten digits."""
