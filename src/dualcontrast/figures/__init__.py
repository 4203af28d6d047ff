"""Everything that is drawn: pictures, volumes, curves, grids."""
