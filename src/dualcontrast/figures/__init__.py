"""Figures: pictures, volumes as slices and surfaces, embeddings and grids."""
