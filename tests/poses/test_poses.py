"""Poses: sign conventions on single voxels, and the way to codes and back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dualcontrast.poses import POSE_SIZE, Poses
from dualcontrast.transforms import random_rotations, rotations_by

BOX = 9
X_TO_Y = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn about z


def voxel_at(x: int, y: int, z: int, box: int = BOX) -> Tensor:
    """Return a volume (1, 1, N, N, N) of one bright voxel, at a position from the voxel N // 2."""
    volume = torch.zeros(1, 1, box, box, box)
    volume[0, 0, box // 2 + z, box // 2 + y, box // 2 + x] = 1
    return volume


def drawn(count: int, seed: int = 0) -> Poses:
    torch.manual_seed(seed)
    return Poses(random_rotations(count, 3, 180, torch.device("cpu")), torch.randn(count, 3))


@pytest.mark.parametrize("box", [8, 9])
def test_a_particle_is_rotated_and_then_shifted(box: int) -> None:
    pose = Poses(X_TO_Y[None], torch.tensor([[1.0, 0, -1]]))
    # (2, 1, 0) rotated is (-1, 2, 0), and shifted (0, 2, -1)
    reference, particle = voxel_at(2, 1, 0, box), voxel_at(0, 2, -1, box)
    torch.testing.assert_close(pose.apply(reference), particle, rtol=0, atol=1e-5)
    torch.testing.assert_close(pose.undo(particle), reference, rtol=0, atol=1e-5)


def test_each_volume_has_its_own_pose() -> None:
    poses = Poses(torch.stack([torch.eye(3), X_TO_Y]), torch.tensor([[0.0, 2, 0], [0, 0, 0]]))
    reference = voxel_at(2, 0, 1)
    expected = torch.cat([voxel_at(2, 2, 1), voxel_at(0, 2, 1)])
    torch.testing.assert_close(poses.apply(reference.repeat(2, 1, 1, 1, 1)), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(poses.undo(expected), reference.repeat(2, 1, 1, 1, 1), rtol=0, atol=1e-5)


def test_spectra_are_rotated_back_and_not_shifted() -> None:
    pose = Poses(X_TO_Y[None], torch.tensor([[3.0, 2, 1]]))
    spectrum, expected = voxel_at(-1, 2, 0)[:, 0], voxel_at(2, 1, 0)[:, 0]
    torch.testing.assert_close(pose.undo_spectra(spectrum), expected, rtol=0, atol=1e-5)


def test_composed_poses_are_one_after_the_other() -> None:
    """A particle of a map, which is itself a reference in a pose, in the frame of that reference."""
    of_map = Poses(rotations_by(torch.tensor([[0.0, math.pi / 2, 0]])), torch.tensor([[0.0, 1, 0]]))
    of_particles = Poses(torch.stack([X_TO_Y, torch.eye(3)]), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    reference = voxel_at(2, 1, 0).repeat(2, 1, 1, 1, 1)
    in_steps = of_particles.apply(
        Poses(*(part.repeat(2, *[1] * (part.ndim - 1)) for part in of_map)).apply(reference)
    )
    composed = of_particles.compose(of_map)
    assert in_steps.flatten(1).amax(dim=1).min() > 0.99
    torch.testing.assert_close(composed.apply(reference), in_steps, rtol=0, atol=1e-5)


def test_identity_leaves_volumes_as_they_are() -> None:
    poses = Poses.identity(3)
    volumes = torch.randn(3, 1, BOX, BOX, BOX, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(poses.apply(volumes), volumes, rtol=0, atol=1e-5)
    poses.rotations[0] = 0  # each in memory of its own
    poses.shifts[1] = 5
    assert torch.equal(poses.rotations[1:], torch.eye(3).repeat(2, 1, 1))
    assert not poses.shifts[[0, 2]].any()
    assert Poses.identity(2, "meta").rotations.is_meta
    assert Poses.identity(2, "meta").shifts.is_meta


def test_selected_poses_are_copies() -> None:
    poses = drawn(4)
    for chosen in (torch.tensor([2, 0]), torch.tensor([True, False, False, True])):
        rotations, shifts = poses.select(chosen)
        assert torch.equal(rotations, poses.rotations[chosen])
        assert torch.equal(shifts, poses.shifts[chosen])


def test_a_code_holds_the_shift_as_a_share_of_the_box() -> None:
    pose = Poses(X_TO_Y[None], torch.tensor([[4.0, -2, 1]]))
    expected = torch.tensor([[0.0, -1, 0, 1, 0, 0, 0, 0, 1, 0.25, -0.125, 0.0625]])
    assert torch.equal(pose.to_code(16), expected)
    assert expected.shape[1] == POSE_SIZE


def test_codes_give_poses_back_in_any_box() -> None:
    poses = drawn(5)
    again = Poses.from_code(poses.to_code(16), 16)
    torch.testing.assert_close(again.rotations, poses.rotations, rtol=0, atol=1e-5)
    torch.testing.assert_close(again.shifts, poses.shifts)
    torch.testing.assert_close(Poses.from_code(poses.to_code(16), 32).shifts, 2 * poses.shifts)


def test_codes_that_are_no_rotations_give_the_nearest() -> None:
    code = Poses.identity(1).to_code(8)
    code[:, :9] *= 3
    code = torch.cat([code, torch.full((1, 2), 7.0)], dim=1)  # further numbers are no part of it
    pose = Poses.from_code(code.double(), 8)
    torch.testing.assert_close(pose.rotations, torch.eye(3)[None], rtol=0, atol=1e-5)
    assert pose.rotations.dtype == torch.float32
    assert pose.shifts.shape == (1, 3)
