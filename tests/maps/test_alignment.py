"""Poses found by matching, where the true ones are known."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tests.maps.test_averaging import BOX, blob, likeness, turned

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.cryoet.simulator import Oversampled
from dualcontrast.maps.alignment import find_poses, pose_of_map, refine_poses
from dualcontrast.maps.averaging import WeightedVolumes, aligned
from dualcontrast.poses import Poses
from dualcontrast.transforms.fourier import filtered


def degrees_apart(one: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    return np.degrees(Rotation.from_matrix((one.double() @ other.double().mT).numpy()).magnitude())


def test_poses_behind_a_wedge_are_found() -> None:
    volume = blob()
    copies, matrices, shifts = turned(volume, 6)
    wedge = torch.from_numpy(wedge_volume(BOX, 60)).float().expand(6, -1, -1, -1)
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=copies.shape)).float()
    observed = WeightedVolumes.of(filtered(copies + 0.2 * copies.std() * noise, wedge), wedge)
    found = find_poses(volume, observed, 25, cutoff=6, reach=2)
    assert degrees_apart(found.rotations, matrices).max() < 25
    for step in (12, 6, 3):
        found = refine_poses(volume, observed, found, step, cutoff=7, reach=2)
    assert degrees_apart(found.rotations, matrices).max() < 5
    assert (found.shifts - shifts).abs().max() < 0.3


def test_poses_to_another_reference() -> None:
    """A particle of a map that is itself a turned copy of a reference has a pose with respect to that."""
    volume = blob()
    (middle,), *between = turned(volume, 1, seed=3)
    matrices = torch.from_numpy(Rotation.random(4, random_state=4).as_matrix()).float()
    shifts = torch.tensor([[0.5, -1.0, 0.3]]).repeat(4, 1)
    particles = Oversampled(middle).transformed(matrices, shifts)
    composed = Poses(matrices, shifts).compose(Poses(*between))
    for copy in aligned(particles, *composed):
        assert likeness(copy, volume) > 0.98
    assert torch.equal(composed.select(torch.tensor([2, 0])).shifts, composed.shifts[[2, 0]])


def test_a_map_is_turned_onto_another() -> None:
    volume = blob()
    (copy,), matrix, shift = turned(volume, 1, seed=8)
    pose = pose_of_map(volume.numpy(), copy.numpy(), cutoff=4)
    assert degrees_apart(pose.rotations, matrix).max() < 4
    assert (pose.shifts - shift).abs().max() < 0.3
    assert likeness(aligned(copy[None], *pose)[0], volume) > 0.98
