"""Views of images: the registry of T, and the geometry under it."""

from dualcontrast.transforms.geometry import random_rotations, resample, rotation_grid, rotations_2d
from dualcontrast.transforms.views import VIEWS, View, Wedge, view_of

__all__ = ["VIEWS", "View", "Wedge", "random_rotations", "resample", "rotation_grid", "rotations_2d", "view_of"]
