"""Scores: what each code tells of content and of transformation, and how far to trust that."""
