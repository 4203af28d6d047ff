"""Poses of particles: rotations and shifts, applied, undone, composed, and stored as codes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dualcontrast.transforms.geometry import nearest_rotations, resample

POSE_SIZE = 12  # numbers of a pose as a code


class Poses(NamedTuple):
    """Rotations R and shifts of particles: particle(p) = reference(R^-1 (p - shift)).

    Positions p are in voxels from the voxel N // 2, x first.
    """

    rotations: Tensor  # R, (B, 3, 3), acting on (x, y, z)
    shifts: Tensor  # (B, 3), x first, in voxels

    @classmethod
    def identity(cls, count: int, device: torch.device | str = "cpu") -> Poses:
        """Return poses without rotation or shift, each in memory of its own."""
        return cls(torch.eye(3, device=device).repeat(count, 1, 1), torch.zeros(count, 3, device=device))

    @classmethod
    def from_code(cls, code: Tensor, box: int) -> Poses:
        """Return the poses of codes (B, 12) for boxes of N voxels a side; R is the nearest rotation."""
        rotations = nearest_rotations(code[:, :9].reshape(-1, 3, 3).float())
        return cls(rotations, box * code[:, 9:POSE_SIZE])

    def to_code(self, box: int) -> Tensor:
        """Return the poses as numbers, (B, 12): R row by row, then the shift as a share of the box of N voxels."""
        return torch.cat([self.rotations.flatten(1), self.shifts / box], dim=1)

    def select(self, chosen: Tensor) -> Poses:
        """Return a copy of the poses at `chosen`, indices or a mask."""
        return Poses(self.rotations[chosen], self.shifts[chosen])

    def compose(self, reference: Poses) -> Poses:
        """Return the poses with respect to another reference, in which this one has a pose, (1, ...)."""
        moved = (self.rotations @ reference.shifts[..., None])[..., 0]
        return Poses(self.rotations @ reference.rotations, self.shifts + moved)

    def apply(self, volumes: Tensor) -> Tensor:
        """Bring reference volumes (B, 1, N, N, N) to these poses."""
        return resample(volumes, self.rotations, self.shifts)

    def undo(self, volumes: Tensor) -> Tensor:
        """Bring volumes (B, 1, N, N, N) in these poses to the pose of the reference."""
        back = -(self.rotations.mT @ self.shifts[..., None])[..., 0]
        return resample(volumes, self.rotations.mT, back)

    def undo_spectra(self, spectra: Tensor) -> Tensor:
        """Rotate values at frequencies (B, N, N, N), zero at N // 2, as `undo` rotates the volumes."""
        return resample(spectra[:, None], self.rotations.mT)[:, 0]
