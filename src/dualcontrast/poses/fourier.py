"""Matching in Fourier space: every rotation at every shift of a lattice, up to a cutoff frequency."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.poses.poses import Poses
from dualcontrast.poses.search import Matches, lattice
from dualcontrast.transforms.fourier import SPATIAL

OVERSAMPLING = 2  # spectra are interpolated on a grid so many times finer
SHIFTS_PER_WAVE = 3  # tried along a wave of the highest frequency
FINE_REACH = 2  # steps, half as long, either way of the best of these
CANDIDATES = 8  # rotations of a volume whose shifts are located


class FourierMatcher:
    """Compares volumes with rotated copies of one reference, frequency by frequency.

    A subtomogram is X = C T V + noise, where C is its transfer function; its score at T is
    sum (C X)* T V / sqrt(sum C^2 |T V|^2). Every rotation is scored at shifts a third of the shortest wave apart.
    The eight best are then located at shifts of half that distance, and between these by a parabola along each
    axis.

    Parameters
    ----------
    reference
        V, (N, N, N).
    data
        C X, (B, N, N, N).
    weight
        C^2, (B, N, N, N), zero frequency at N // 2.
    cutoff
        The highest frequency that is compared, in cycles a box.
    reach
        The largest shift along each axis, in voxels, from the shifts that are known; None for a third of the
        shortest wave.
    """

    candidates = CANDIDATES

    def __init__(
        self, reference: Tensor, data: Tensor, weight: Tensor, *, cutoff: float, reach: float | None = None
    ) -> None:
        box = reference.shape[-1]
        self.frequencies = Frequencies(box, cutoff, reference.device)
        self.rotated = RotatedSpectra(reference, self.frequencies)
        self.weight = self.frequencies.select(weight)
        self.spectra = self.frequencies.transform(data)
        self.step = box / (SHIFTS_PER_WAVE * cutoff)
        self.reach = self.step if reach is None else reach
        self.offsets = self.step * lattice(math.ceil(self.reach / self.step), reference.device)
        self.nearby = self.step / 2 * lattice(FINE_REACH, reference.device)

    def match(self, rotations: Tensor, shifts: Tensor) -> FourierMatches:
        """Score rotations; see `Matcher`."""
        return FourierMatches(self, rotations, shifts)


class FourierMatches(Matches):
    """Scores at the best shift of a lattice about the shifts that are known; see `Matches`."""

    def __init__(self, matcher: FourierMatcher, rotations: Tensor, shifts: Tensor) -> None:
        self.matcher, self.rotations, self.shifts = matcher, rotations, shifts
        move = matcher.frequencies.shift
        self._moved = (matcher.spectra * move(-shifts))[:, None] * move(-matcher.offsets)
        self._rotated = matcher.rotated(rotations)
        power = torch.view_as_real(self._rotated).square().sum(dim=-1)
        self._norms = (power @ matcher.weight[..., None]).clamp_min(1e-20).sqrt()
        # Of rotations that are the same for all there are many: the scores at all shifts are held for one volume.
        volumes = range(len(shifts)) if rotations.ndim == 3 else [slice(None)]
        parts = [slice(v, v + 1) if isinstance(v, int) else v for v in volumes]
        highest = [(_correlations(self._rotated, self._moved[p]) / self._norms[p]).max(dim=-1) for p in parts]
        self.scores, self._offsets = (torch.cat(values) for values in zip(*highest, strict=True))

    def locate(self, best: Tensor) -> Poses:
        """See `Matches`."""
        matcher, rows = self.matcher, torch.arange(len(best), device=best.device)
        at = self._offsets.gather(1, best)
        chosen = best if self.rotations.ndim == 3 else (rows[:, None], best)
        products = self._moved[rows[:, None], at] * self._rotated[chosen].conj()
        finer = _correlations(products, matcher.frequencies.shift(matcher.nearby))
        finer = finer / self._norms.gather(1, best[..., None])
        heights, peaks = finer.max(dim=-1)
        first = heights.argmax(dim=1)
        cubes = finer[rows, first].reshape(-1, *(2 * FINE_REACH + 1,) * 3)
        within = peak_positions(cubes, peaks[rows, first]) - FINE_REACH
        offsets = matcher.offsets[at[rows, first]] + matcher.step / 2 * within
        return Poses(self.at(best)[rows, first], self.shifts + offsets.clamp(-matcher.reach, matcher.reach))


class Frequencies:
    """The frequencies at which volumes (N, N, N) are compared: one of each pair k and -k up to a cutoff.

    Parameters
    ----------
    box
        N.
    cutoff
        In cycles a box.
    device
        Of the volumes.
    """

    def __init__(self, box: int, cutoff: float, device: torch.device | str = "cpu") -> None:
        largest = max(1, min(math.floor(cutoff), (box - 1) // 2))
        points = lattice(largest, device)
        half = points[len(points) // 2 + 1 :]  # after zero, which is in the middle
        self.box, self.largest = box, largest
        self.k = half[half.square().sum(dim=1) <= max(cutoff, 1) ** 2]  # (F, 3), x first

    def select(self, spectra: Tensor) -> Tensor:
        """Return the values (B, F) of spectra (B, N, N, N), zero frequency at N // 2."""
        x, y, z = self.k.long().T + self.box // 2
        return spectra[:, z, y, x]

    def transform(self, volumes: Tensor) -> Tensor:
        """Return the Fourier transforms of volumes (B, N, N, N) about the voxel N // 2, (B, F)."""
        x, y, z = self.k.long().T % self.box
        spectra: Tensor = torch.fft.fftn(volumes, dim=SPATIAL)[:, z, y, x]
        return spectra * self.shift(self.k.new_full((1, 3), -float(self.box // 2)))

    def shift(self, shifts: Tensor) -> Tensor:
        """Return the factors (B, F) that move a spectrum by shifts (B, 3), x first, in voxels."""
        angles: Tensor = (-2 * math.pi / self.box) * (shifts @ self.k.T)
        return torch.polar(torch.ones_like(angles), angles)


class RotatedSpectra:
    """Fourier transforms of rotated copies of a volume, interpolated from its own on a finer grid.

    Parameters
    ----------
    volume
        (N, N, N), zero outside.
    frequencies
        Where the copies are sampled.
    """

    def __init__(self, volume: Tensor, frequencies: Frequencies) -> None:
        box, size = frequencies.box, OVERSAMPLING * frequencies.box
        before = size // 2 - box // 2
        padded = F.pad(volume, (before, size - box - before) * 3)
        spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(padded)))
        self.frequencies = frequencies
        self.reach = min(OVERSAMPLING * (frequencies.largest + 1), size // 2 - 1)
        near = slice(size // 2 - self.reach, size // 2 + self.reach + 1)
        self.spectrum = torch.view_as_real(spectrum[near, near, near]).permute(3, 0, 1, 2)[None].contiguous()

    def __call__(self, rotations: Tensor) -> Tensor:
        """Return the transforms of copies rotated by (..., 3, 3), (..., F)."""
        k = self.frequencies.k
        grid = OVERSAMPLING / self.reach * (k @ rotations).reshape(1, 1, -1, len(k), 3)  # R^-1 k
        parts = F.grid_sample(self.spectrum, grid, padding_mode="border", align_corners=True)[0, :, 0]
        return torch.complex(parts[0], parts[1]).reshape(*rotations.shape[:-2], -1)


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Return the real parts of sums over F of a b*, for each a of (..., R, F) and each b of (..., S, F)."""
    return torch.view_as_real(one).flatten(-2) @ torch.view_as_real(other).flatten(-2).mT


def peak_positions(cubes: Tensor, peaks: Tensor) -> Tensor:
    """Return where cubes (B, n, n, n) peak, between voxels by a parabola along each axis.

    Parameters
    ----------
    peaks
        The index of the highest voxel of each flattened cube, (B,).

    Returns
    -------
    Tensor
        (B, 3), x first, in voxels from the first.
    """
    size = cubes.shape[-1]
    voxel = torch.stack([peaks // size**2, peaks // size % size, peaks % size], dim=1)
    positions, rows = voxel.float(), torch.arange(len(cubes), device=cubes.device)
    for axis in range(3):
        before, after = voxel.clone(), voxel.clone()
        before[:, axis] = (voxel[:, axis] - 1).clamp(min=0)
        after[:, axis] = (voxel[:, axis] + 1).clamp(max=size - 1)
        low, middle, high = (cubes[rows, p[:, 0], p[:, 1], p[:, 2]] for p in (before, voxel, after))
        curvature = low - 2 * middle + high
        inside = (voxel[:, axis] > 0) & (voxel[:, axis] < size - 1) & (curvature < 0)
        step = torch.where(inside, 0.5 * (low - high) / torch.where(inside, curvature, 1.0), 0.0)
        positions[:, axis] += step.clamp(-0.5, 0.5)
    return positions.flip(1)
