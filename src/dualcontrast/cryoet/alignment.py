"""Poses found by matching: each subtomogram is compared with turned references, and shifted where it fits best.

The score of a pose is the correlation within what was measured, sum Y* T V / sqrt(sum C^2 |V|^2) with Y = C X: but
for a constant, the root of the log-likelihood at the best amplitude of V.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.cryoet.averaging import Observed, resized
from dualcontrast.cryoet.simulate import Oversampled
from dualcontrast.transforms import geometry
from dualcontrast.transforms.fourier import SPATIAL

VOXELS_AT_ONCE = 1 << 23
SMALLEST = 8  # voxels a side of the boxes in which poses are compared, at least


class Poses(NamedTuple):
    """Where the particles of some volumes are: particle(p) = reference(A^-1 (p - shift))."""

    matrices: Tensor  # A, (B, 3, 3)
    shifts: Tensor  # (B, 3), x first, in voxels

    def composed(self, of_reference: Poses) -> Poses:
        """Return poses with respect to another reference, in which this one's reference has a pose, (1, ...)."""
        matrices = self.matrices @ of_reference.matrices
        return Poses(matrices, self.shifts + (self.matrices @ of_reference.shifts[..., None])[..., 0])

    def select(self, chosen: Tensor) -> Poses:
        """Return those at `chosen`, indices or a mask."""
        return Poses(self.matrices[chosen], self.shifts[chosen])


def rotation_grid(degrees: float) -> np.ndarray:
    """Return rotations spread evenly over SO(3), about so many degrees from each to the next, (R, 3, 3).

    Those of `geometry.rotation_grid`; R is the volume of SO(3) by that of a step.
    """
    count = max(1, math.ceil(8 * math.pi**2 / math.radians(degrees) ** 3))
    return np.asarray(geometry.rotation_grid(count))


def rotations_near(degrees: float) -> np.ndarray:
    """Return turns of 0, `degrees` or up to twice as much about axes on a lattice, (33, 3, 3)."""
    lattice = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = lattice[np.linalg.norm(lattice, axis=1) <= 2]
    return np.asarray(Rotation.from_rotvec(math.radians(degrees) * vectors).as_matrix())


def find_poses(
    reference: Tensor,
    observed: Observed,
    rotations: Tensor,
    *,
    cutoff: float,
    reach: float,
    shifts: Tensor | None = None,
) -> Poses:
    """Find the best of given rotations for each subtomogram, with the shift that goes with it.

    Parameters
    ----------
    reference
        V, (N, N, N).
    observed
        B subtomograms.
    rotations
        (R, 3, 3), the same for all, or (B, R, 3, 3).
    cutoff
        In cycles a box: higher frequencies have no part in it.
    reach
        The largest shift along each axis, in voxels.
    shifts
        Where the particles are thought to be, (B, 3); in the middle where not given. Scores are compared at whole
        voxels from there.
    """
    box = reference.shape[-1]
    size = _size(box, cutoff)
    turning = Oversampled(resized(reference, size))
    data = torch.fft.rfftn(resized(observed.data, size), dim=SPATIAL)
    start = box // 2 - size // 2
    middle = slice(start, start + size)
    limit = _within(size, cutoff)
    weight = torch.fft.ifftshift(observed.weight[:, middle, middle, middle], dim=SPATIAL)[..., : size // 2 + 1]
    weight = weight * limit
    scale = size / box
    if shifts is None:
        shifts = torch.zeros(len(observed), 3)
    data = data * limit * _shifting(size, -shifts * scale)
    if rotations.ndim == 3:
        places, found_shifts = _best(turning, data, weight, rotations, reach * scale)
        return Poses(rotations[places], shifts + found_shifts / scale)
    found = [
        _best(turning, data[i : i + 1], weight[i : i + 1], rotations[i], reach * scale)
        for i in range(len(observed))
    ]
    matrices = torch.stack([rotations[i, int(place)] for i, (place, _) in enumerate(found)])
    return Poses(matrices, shifts + torch.cat([shift for _, shift in found]) / scale)


def refined(
    reference: Tensor, observed: Observed, poses: Poses, degrees: float, *, cutoff: float, reach: float
) -> Poses:
    """Look for better poses within twice so many degrees, and two voxels, of those that are known."""
    near = torch.from_numpy(rotations_near(degrees)).float()
    rotations = poses.matrices[:, None] @ near
    found = find_poses(reference, observed, rotations, cutoff=cutoff, reach=2.0, shifts=poses.shifts)
    return Poses(found.matrices, found.shifts.clamp(-reach, reach))


def pose_of_map(reference: np.ndarray, volume: np.ndarray, *, cutoff: float, finest: float = 1.5) -> Poses:
    """Find the pose of a map with respect to another, (1, ...): over all of SO(3), then ever finer.

    Parameters
    ----------
    reference, volume
        (N, N, N).
    cutoff
        In cycles a box, of the search over all rotations; it is doubled with each finer step.
    finest
        The last step, in degrees.
    """
    target = torch.from_numpy(reference).float()
    observed = Observed.of(torch.from_numpy(volume).float()[None], None)
    reach, degrees = len(reference) / 6, 20.0
    poses = find_poses(
        target, observed, torch.from_numpy(rotation_grid(degrees)).float(), cutoff=cutoff, reach=reach
    )
    while degrees > finest:
        degrees, cutoff = degrees / 2, 2 * cutoff
        poses = refined(target, observed, poses, degrees, cutoff=cutoff, reach=reach)
    return poses


def _size(box: int, cutoff: float) -> int:
    """Return the side of the smallest box that holds frequencies up to a cutoff, with room for finer shifts."""
    wanted = max(SMALLEST, 2 * math.ceil(1.5 * cutoff))
    return box if box % 2 or wanted >= box else wanted


def _within(size: int, cutoff: float) -> Tensor:
    """Return 1 for frequencies up to a cutoff but zero itself, else 0, as rfftn has them."""
    k, half = torch.fft.fftfreq(size) * size, torch.arange(size // 2 + 1)
    radius = (k[:, None, None] ** 2 + k[None, :, None] ** 2 + half**2).sqrt()
    inside: Tensor = (radius <= cutoff) & (radius < size / 2) & (radius > 0)
    return inside.float()


def _shifting(size: int, shifts: Tensor) -> Tensor:
    """Return what moves a spectrum of rfftn by shifts (B, 3), x first, (B, size, size, size // 2 + 1)."""
    k, half = torch.fft.fftfreq(size), torch.arange(size // 2 + 1) / size
    x, y, z = shifts.T[:, :, None, None, None]
    return torch.exp(-2j * math.pi * (k[:, None, None] * z + k[None, :, None] * y + half * x))


def _best(
    turning: Oversampled, data: Tensor, weight: Tensor, rotations: Tensor, reach: float
) -> tuple[Tensor, Tensor]:
    """Return which rotation is best for each of B spectra, (B,), and its shift in voxels of these, (B, 3)."""
    count, size = len(data), turning.box
    span = min(math.ceil(reach), (size - 1) // 2)
    best = torch.full((count,), -torch.inf)
    places, shifts = torch.zeros(count, dtype=torch.long), torch.zeros(count, 3)
    at_once = max(1, VOXELS_AT_ONCE // (count * size**3))
    # A half spectrum counts the frequencies it leaves out by their mirror images.
    twice = torch.full((size // 2 + 1,), 2.0)
    twice[0] = 1
    if size % 2 == 0:
        twice[-1] = 1
    for start in range(0, len(rotations), at_once):
        some = rotations[start : start + at_once]
        spectra = torch.fft.rfftn(turning.turned(some, torch.zeros(len(some), 3)), dim=SPATIAL)
        norms = (
            ((weight * twice).flatten(1) @ spectra.abs().square().flatten(1).T).clamp_min(1e-20).sqrt()
        )  # (B, R)
        product = data[:, None] * spectra.conj()
        correlation = torch.fft.irfftn(product, s=(size,) * 3, dim=SPATIAL) / norms[..., None, None, None]
        near = torch.roll(correlation, (span,) * 3, dims=SPATIAL)[
            ..., : 2 * span + 1, : 2 * span + 1, : 2 * span + 1
        ]
        score, peak = near.flatten(2).max(dim=2)
        value, rotation = score.max(dim=1)
        better = torch.nonzero(value > best)[:, 0]
        best[better], places[better] = value[better], start + rotation[better]
        shifts[better] = _peaks(near[better, rotation[better]], peak[better, rotation[better]]) - span
    return places, shifts


def _peaks(correlation: Tensor, peak: Tensor) -> Tensor:
    """Return the places of peaks in (B, n, n, n), (B, 3), x first, between voxels by parabolas along the axes."""
    count, size = len(correlation), correlation.shape[-1]
    place = torch.stack([peak // size**2, peak // size % size, peak % size], dim=1)
    result = place.float()
    rows = torch.arange(count)
    for axis in range(3):
        before, after = place.clone(), place.clone()
        before[:, axis] = (place[:, axis] - 1).clamp(min=0)
        after[:, axis] = (place[:, axis] + 1).clamp(max=size - 1)
        low, middle, high = (correlation[rows, p[:, 0], p[:, 1], p[:, 2]] for p in (before, place, after))
        curvature = low - 2 * middle + high
        inside = (place[:, axis] > 0) & (place[:, axis] < size - 1) & (curvature < 0)
        step = torch.where(inside, 0.5 * (low - high) / torch.where(inside, curvature, 1.0), 0.0)
        result[:, axis] += step.clamp(-0.5, 0.5)
    return result.flip(1)
