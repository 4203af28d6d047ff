"""Poses of particles, and the search for them."""

from dualcontrast.poses.poses import POSE_SIZE, Poses

__all__ = ["POSE_SIZE", "Poses"]
