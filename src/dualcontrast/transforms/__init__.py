"""Views of images: their registry, and the geometry they use."""

from dualcontrast.transforms.geometry import (
    grid_size,
    nearest_rotations,
    random_rotations,
    resample,
    rotation_grid,
    rotations_2d,
    rotations_by,
)
from dualcontrast.transforms.views import VIEWS, View, Wedge, view_of

__all__ = [
    "VIEWS",
    "View",
    "Wedge",
    "grid_size",
    "nearest_rotations",
    "random_rotations",
    "resample",
    "rotation_grid",
    "rotations_2d",
    "rotations_by",
    "view_of",
]
