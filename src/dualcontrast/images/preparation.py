"""Preparing subtomograms: from the stored voxels to those that the networks take."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualcontrast.cryoet.mrc import read_map
from dualcontrast.cryoet.particles import Particles
from dualcontrast.errors import DualContrastWarning, SourceError
from dualcontrast.transforms.fourier import fourier_crop
from dualcontrast.transforms.geometry import resample

SPHERE = "sphere"
EDGE = 5.0  # voxels over which a soft sphere falls from 1 to 0
LARGEST_BYTE = 255  # of masks of bytes
OVERSHOOT = 0.1  # of masks that were resampled by splines or in Fourier space, as by RELION
CONSTANT = 1e-6  # of the mean: a smaller standard deviation is the rounding error of a constant


@dataclass(frozen=True, eq=False)
class Preparation:
    """The preparation of each volume of a set.

    In this order: flip the contrast; undo the pose by one trilinear interpolation; bin; bring the background
    outside the inscribed sphere to mean 0 and standard deviation 1; multiply by the mask.

    Attributes
    ----------
    box : int
        Box size N of the stored volumes, in voxels.
    invert : bool
        Flip the contrast.
    bin : int
        Binning factor: the prepared box has n = N / bin voxels.
    matrices, offsets : Tensor or None
        Rotations A of all volumes of the set, (N, 3, 3), and the particles' offsets from the voxel N // 2,
        (N, 3), (x, y, z) in voxels: aligned(p) = particle(A p + offset). None leaves the poses as they are.
    mask : Tensor or None
        (n, n, n).
    fingerprint : bytes
        Identifies this preparation, the same on every machine.
    """

    box: int
    invert: bool = False
    bin: int = 1
    matrices: Tensor | None = None
    offsets: Tensor | None = None
    mask: Tensor | None = None
    fingerprint: bytes = b""

    @property
    def size(self) -> int:
        """Box size of the prepared volumes, n."""
        return self.box // self.bin

    def __call__(self, volumes: Tensor, index: np.ndarray) -> Tensor:
        """Prepare the volumes (B, 1, N, N, N) at `index` (B,); return (B, 1, n, n, n).

        A volume whose background is constant becomes NaN.
        """
        # First, so that the zeros that enter from outside are as bright as the background.
        volumes = normalise(-volumes if self.invert else volumes, outside_sphere(self.box))
        background = outside_sphere(self.size)
        if self.matrices is not None and self.offsets is not None:
            matrices, offsets = self.matrices[index], self.offsets[index]
            volumes = resample(volumes, matrices.mT, -(matrices.mT @ offsets[..., None])[..., 0])
            background = background * self._covered(matrices, offsets)
        if self.bin > 1:
            volumes = fourier_crop(volumes, self.size)
        if self.matrices is not None or self.bin > 1:
            volumes = normalise(volumes, background)
        return volumes if self.mask is None else volumes * self.mask

    def rotate_spectra(self, spectra: Tensor, index: np.ndarray) -> Tensor:
        """Rotate real spectra (B, n, n, n), zero frequency at n // 2, as their volumes are rotated."""
        if self.matrices is None:
            return spectra
        return resample(spectra[:, None], self.matrices[index].mT)[:, 0]

    def _covered(self, matrices: Tensor, offsets: Tensor) -> Tensor:
        """Mark the voxels of aligned volumes that come from inside the stored box, (B, 1, n, n, n)."""
        axis = self.bin * (torch.arange(self.size, dtype=torch.float32) - self.size // 2)
        positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1]).reshape(3, -1)
        sources = matrices @ positions + offsets[..., None] + self.box // 2  # (B, 3, n^3)
        inside = ((sources >= 0) & (sources <= self.box - 1)).all(dim=1)
        return inside.reshape(-1, 1, self.size, self.size, self.size)


def preparation_of(
    source: Path,
    box: int,
    *,
    invert: bool,
    bin: int,  # noqa: A002
    mask: str | Path | None,
    aligned_by: Particles | None = None,
) -> Preparation:
    """Build a preparation from the user's options.

    Parameters
    ----------
    source
        Name of the source, for messages.
    box
        Box size of the stored volumes, in voxels.
    invert, bin
        As in `Preparation`.
    mask
        An MRC file with the box before or after binning, `sphere` for a soft sphere, or None.
    aligned_by
        The particles whose poses are undone.

    Raises
    ------
    SourceError
        The box cannot be binned by that factor, the mask does not fit, or the particles have no poses.
    """
    _check_bin(source, box, bin)
    fingerprint = repr((invert, bin, str(mask) if mask == SPHERE else None)).encode()
    weights = None
    if mask == SPHERE:
        weights = soft_sphere(box // bin)
    elif mask is not None:
        stored = _read_mask(Path(mask), box, box // bin)
        fingerprint += stored.tobytes()
        weights = torch.from_numpy(stored)
        if len(weights) != box // bin:
            weights = fourier_crop(weights, box // bin).clamp(0, 1)
    if aligned_by is None:
        return Preparation(box, invert, bin, mask=weights, fingerprint=fingerprint)
    matrices = aligned_by.matrices()
    if matrices is None or aligned_by.angles is None:
        raise SourceError(f"{source}: has no rlnAngleRot, rlnAngleTilt and rlnAnglePsi to undo; leave out `poses`")
    fingerprint += aligned_by.angles.tobytes() + aligned_by.origins.tobytes()
    rotations = torch.from_numpy(matrices).float()
    offsets = torch.from_numpy(aligned_by.shifts() / aligned_by.pixel_size).float()
    return Preparation(box, invert, bin, rotations, offsets, weights, fingerprint)


def _check_bin(source: Path, box: int, factor: int) -> None:
    even = [divisor for divisor in range(1, box) if box % (2 * divisor) == 0]
    if factor != 1 and factor not in even:
        choice = ", ".join(map(str, even)) or "1"
        raise SourceError(
            f"{source}: boxes of {box} voxels cannot be binned by {factor}, because the binned box must be even; "
            f"choose one of {choice}"
        )


def _read_mask(path: Path, box: int, size: int) -> np.ndarray:
    mask, _ = read_map(path)
    if mask.shape not in ((box,) * 3, (size,) * 3):
        sides = " x ".join(map(str, mask.shape[::-1]))
        raise SourceError(f"{path}: the mask has {sides} voxels, but the boxes have {box}; use a mask of that box")
    low, high = float(mask.min()), float(mask.max())
    if low >= 0 and high == LARGEST_BYTE:
        _warn_of_mask(path, low, high, "divided by 255")
        return np.asarray(mask / np.float32(LARGEST_BYTE))
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        raise SourceError(f"{path}: has values from {low:g} to {high:g}; those of a mask must lie between 0 and 1")
    if low < 0 or high > 1:
        _warn_of_mask(path, low, high, "clipped to 0 and 1")
    return np.asarray(np.clip(mask, 0, 1))


def _warn_of_mask(path: Path, low: float, high: float, remedy: str) -> None:
    warnings.warn(
        f"{path}: the mask has values from {low:g} to {high:g}, which are {remedy}; give a mask between 0 and 1 "
        "if that is not meant",
        DualContrastWarning,
        stacklevel=3,
    )


def normalise(volumes: Tensor, background: Tensor) -> Tensor:
    """Bring each volume's background to mean 0 and standard deviation 1.

    Parameters
    ----------
    volumes
        (B, 1, N, N, N).
    background
        1 in background voxels and 0 elsewhere, (N, N, N) or (B, 1, N, N, N).

    Returns
    -------
    Tensor
        (B, 1, N, N, N); NaN for a volume whose background is constant.
    """
    mean, deviation = _statistics(volumes, background)
    deviation[deviation <= CONSTANT * mean.abs()] = torch.nan
    return (volumes - mean) / deviation


def _statistics(volumes: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each volume's background, (B, 1, 1, 1, 1)."""
    axes = (-4, -3, -2, -1)
    weights = (background / background.sum(dim=(-3, -2, -1), keepdim=True)).expand_as(volumes)
    mean = (volumes * weights).sum(dim=axes, keepdim=True)
    return mean, ((volumes - mean).square() * weights).sum(dim=axes, keepdim=True).sqrt()


@lru_cache(maxsize=8)
def outside_sphere(box: int) -> Tensor:
    """Return a mask (N, N, N): 1 outside the sphere of radius N / 2 - 1 about the voxel N // 2, 0 inside."""
    return (radii(box) > box / 2 - 1).float()


def soft_sphere(box: int) -> Tensor:
    """Return a mask (N, N, N) that falls to 0 at N // 2 - 1 voxels from the voxel N // 2 by a raised cosine."""
    radius = box // 2 - 1
    edge = min(EDGE, radius / 2)
    fall = ((radii(box) - radius + edge) / edge).clamp(0, 1)
    return 0.5 * (1 + torch.cos(math.pi * fall))


def radii(box: int) -> Tensor:
    """Return each voxel's distance from the voxel N // 2, (N, N, N)."""
    axis = torch.arange(box, dtype=torch.float32) - box // 2
    return torch.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
