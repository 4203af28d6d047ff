"""Poses in RELION's convention.

A pose is the matrix A, acting on positions (x, y, z) about the voxel N // 2, that rotates the reference onto the
particle: particle(p) = reference(A^-1 p). Conventions were checked against RELION 3.1.3.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial.transform import Rotation


def matrices_of_angles(angles: np.ndarray) -> np.ndarray:
    """Convert RELION's angles to rotation matrices.

    Parameters
    ----------
    angles
        rlnAngleRot, rlnAngleTilt and rlnAnglePsi, (N, 3), in degrees.

    Returns
    -------
    numpy.ndarray
        (N, 3, 3).
    """
    return np.asarray(Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix())


def angles_of_matrices(matrices: np.ndarray) -> np.ndarray:
    """Convert rotation matrices (N, 3, 3) to RELION's angles rot, tilt and psi, (N, 3), in degrees."""
    with warnings.catch_warnings():  # at a tilt of 0 rot and psi are one rotation; any split of it is right
        warnings.filterwarnings("ignore", message="Gimbal lock")
        return np.asarray(Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True))
