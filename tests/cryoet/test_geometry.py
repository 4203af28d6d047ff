"""Poses against RELION's own formula, written out."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from dualcontrast.cryoet.geometry import angles_of_matrices, matrices_of_angles

ANGLES = np.array([[10.0, 20.0, 30.0], [-170.0, 5.0, 91.0], [0.0, 90.0, 0.0], [33.0, 0.0, 0.0]])


def relions_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """Euler_angles2matrix of RELION's euler.cpp, by the three turns it is the product of."""

    def about_z(degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return about_z(psi) @ about_y @ about_z(rot)


def test_matrices_are_relions() -> None:
    expected = [relions_matrix(*angles) for angles in ANGLES]
    np.testing.assert_allclose(matrices_of_angles(ANGLES), expected, atol=1e-12)


def test_angles_lead_back_to_the_matrices() -> None:
    matrices = Rotation.random(50, random_state=0).as_matrix()
    np.testing.assert_allclose(matrices_of_angles(angles_of_matrices(matrices)), matrices, atol=1e-12)


def test_a_tilt_turns_the_z_axis_towards_x() -> None:
    turned = matrices_of_angles(np.array([[0.0, 90.0, 0.0]]))[0] @ [0, 0, 1]
    np.testing.assert_allclose(turned, [-1, 0, 0], atol=1e-12)
