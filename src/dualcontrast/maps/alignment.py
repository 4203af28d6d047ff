"""Poses found by matching: each subtomogram is compared with turned references, and shifted where it fits best.

The score of a pose is the correlation within what was measured, sum Y* T V / sqrt(sum C^2 |V|^2) with Y = C X: but
for a constant, the root of the log-likelihood at the best amplitude of V.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.maps.averaging import Observed
from dualcontrast.poses import Poses
from dualcontrast.transforms.fourier import SPATIAL
from dualcontrast.transforms.geometry import grid_size, rotation_grid

FINER = 2  # spectra are interpolated on a grid so many times finer
SHIFTS_A_WAVE = 3  # tried along a wave of the highest frequency
FINE_REACH = 2  # steps, half as long, either way of the best of these
CANDIDATES = 8  # rotations of a subtomogram that are looked at more closely


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

    Every rotation is tried at shifts a third of the shortest wave apart; the eight that fit best, then, at shifts
    of half that distance, and between these by a parabola along each axis.

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
        The largest shift along each axis, in voxels, from where the particles are thought to be.
    shifts
        Where that is, (B, 3); in the middle where not given.
    """
    box = reference.shape[-1]
    waves = Waves(box, cutoff)
    turning = Turning(reference, waves)
    weight = waves.picked(observed.weight)
    if shifts is None:
        shifts = torch.zeros(len(observed), 3)
    data = waves.spectra(observed.data) * waves.moving(-shifts)
    step = box / (SHIFTS_A_WAVE * cutoff)
    offsets, beside = step * _lattice(math.ceil(reach / step)), step / 2 * _lattice(FINE_REACH)
    moved = data[:, None] * waves.moving(-offsets)
    turned = turning.turned(rotations)
    power = torch.view_as_real(turned).square().sum(dim=-1)
    norms = (power @ weight[..., None]).clamp_min(1e-20).sqrt()
    # Of rotations that are the same for all there are many: their scores are held of one subtomogram at a time.
    shared, rows = rotations.ndim == 3, torch.arange(len(observed))
    parts = [slice(row, row + 1) for row in rows.tolist()] if shared else [slice(None)]
    tried = [(_correlations(turned, moved[part]) / norms[part]).max(dim=-1) for part in parts]
    scores, at = (torch.cat(values) for values in zip(*tried, strict=True))
    best = scores.topk(min(CANDIDATES, scores.shape[1])).indices
    at = at.gather(1, best)
    chosen = best if shared else (rows[:, None], best)
    products = moved[rows[:, None], at] * turned[chosen].conj()
    finer = _correlations(products, waves.moving(beside)) / norms.gather(1, best[..., None])
    heights, peaks = finer.max(dim=-1)
    first = heights.argmax(dim=1)
    within = _peaks(finer[rows, first].reshape(-1, *(2 * FINE_REACH + 1,) * 3), peaks[rows, first]) - FINE_REACH
    found = (offsets[at[rows, first]] + step / 2 * within).clamp(-reach, reach)
    return Poses(rotations[chosen][rows, first], shifts + found)


def refined(
    reference: Tensor, observed: Observed, poses: Poses, degrees: float, *, cutoff: float, reach: float
) -> Poses:
    """Look for better poses within twice so many degrees, and a third of a wave, of those that are known."""
    near = torch.from_numpy(rotations_near(degrees)).float()
    rotations = poses.rotations[:, None] @ near
    step = len(reference) / (SHIFTS_A_WAVE * cutoff)
    found = find_poses(reference, observed, rotations, cutoff=cutoff, reach=step, shifts=poses.shifts)
    return Poses(found.rotations, found.shifts.clamp(-reach, reach))


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
    poses = find_poses(target, observed, rotation_grid(grid_size(degrees)), cutoff=cutoff, reach=reach)
    while degrees > finest:
        degrees, cutoff = degrees / 2, 2 * cutoff
        poses = refined(target, observed, poses, degrees, cutoff=cutoff, reach=reach)
    return poses


class Waves:
    """The frequencies at which volumes (N, N, N) are compared: one of each pair k and -k up to a cutoff.

    Parameters
    ----------
    box
        N.
    cutoff
        In cycles a box.
    """

    def __init__(self, box: int, cutoff: float) -> None:
        largest = max(1, min(math.floor(cutoff), (box - 1) // 2))
        lattice = _lattice(largest)
        half = lattice[len(lattice) // 2 + 1 :]  # behind zero, which stands in the middle
        self.box, self.largest = box, largest
        self.k = half[half.square().sum(dim=1) <= max(cutoff, 1) ** 2]  # (F, 3), x first

    def picked(self, weight: Tensor) -> Tensor:
        """Return what a weight (B, N, N, N), zero frequency at N // 2, is at the frequencies, (B, F)."""
        x, y, z = self.k.long().T + self.box // 2
        return weight[:, z, y, x]

    def spectra(self, volumes: Tensor) -> Tensor:
        """Return the Fourier transforms of volumes (B, N, N, N) about the voxel N // 2, (B, F)."""
        x, y, z = self.k.long().T % self.box
        spectra: Tensor = torch.fft.fftn(volumes, dim=SPATIAL)[:, z, y, x]
        return spectra * self.moving(torch.full((1, 3), -float(self.box // 2)))

    def moving(self, shifts: Tensor) -> Tensor:
        """Return what moves a spectrum by shifts (B, 3), x first, in voxels: (B, F)."""
        angles: Tensor = (-2 * math.pi / self.box) * (shifts @ self.k.T)
        return torch.polar(torch.ones_like(angles), angles)


class Turning:
    """A volume's Fourier transform on a finer grid, from which those of turned copies are interpolated.

    Parameters
    ----------
    volume
        (N, N, N); nothing outside of it.
    waves
        Where the transforms of the copies are wanted.
    """

    def __init__(self, volume: Tensor, waves: Waves) -> None:
        box, size = waves.box, FINER * waves.box
        before = size // 2 - box // 2
        padded = F.pad(volume, (before, size - box - before) * 3)
        spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(padded)))
        self.waves = waves
        self.reach = min(FINER * (waves.largest + 1), size // 2 - 1)
        near = slice(size // 2 - self.reach, size // 2 + self.reach + 1)
        self.spectrum = torch.view_as_real(spectrum[near, near, near]).permute(3, 0, 1, 2)[None].contiguous()

    def turned(self, rotations: Tensor) -> Tensor:
        """Return the transforms of copies turned by (..., 3, 3), acting on (x, y, z), (..., F)."""
        grid = FINER / self.reach * (self.waves.k @ rotations).reshape(1, 1, -1, len(self.waves.k), 3)  # A^-1 k
        parts = F.grid_sample(self.spectrum, grid, padding_mode="border", align_corners=True)[0, :, 0]
        return torch.complex(parts[0], parts[1]).reshape(*rotations.shape[:-2], -1)


def _lattice(reach: int) -> Tensor:
    """Return the points whose coordinates are whole numbers up to `reach`, (n, 3), x first and fastest."""
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).reshape(-1, 3)


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Return the real parts of sums over F of a b*, for each a of (..., R, F) and each b of (..., S, F)."""
    return torch.view_as_real(one).flatten(-2) @ torch.view_as_real(other).flatten(-2).mT


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
