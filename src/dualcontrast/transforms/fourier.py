"""Volumes in Fourier space: cropping, resampling, filters, and full spectra."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SPATIAL = (-3, -2, -1)


def fourier_crop(volumes: Tensor, size: int) -> Tensor:
    """Bin volumes by an integer factor, removing frequencies beyond the new Nyquist frequency.

    A volume without such frequencies keeps its values at every (N / size)-th voxel; so the voxel N // 2 becomes
    the voxel size // 2.

    Parameters
    ----------
    volumes
        (..., N, N, N), real.
    size
        New number of voxels along each axis, even, a divisor of N.

    Returns
    -------
    Tensor
        (..., size, size, size).
    """
    box, half = volumes.shape[-1], size // 2
    both_signs = torch.cat([torch.arange(half), torch.arange(box - half, box)]).to(volumes.device)
    spectrum = torch.fft.rfftn(volumes, dim=SPATIAL)[..., : half + 1]
    cropped = spectrum[..., both_signs, :][..., both_signs, :, :]
    binned: Tensor = torch.fft.irfftn(cropped, s=(size,) * 3, dim=SPATIAL) * (size / box) ** 3
    return binned


def resized(volumes: Tensor, size: int) -> Tensor:
    """Resample band-limited volumes onto another grid; the voxel N // 2 becomes the voxel size // 2.

    Parameters
    ----------
    volumes
        (..., N, N, N), real.
    size
        New number of voxels along each axis. On a coarser grid, frequencies beyond its Nyquist frequency are
        removed.

    Notes
    -----
    Multiplies each axis by a small matrix, which is faster than Fourier transforms of the finer grid.
    """
    interpolation = _interpolation(volumes.shape[-1], size).to(volumes)
    for _ in SPATIAL:  # each contraction takes the first of the three axes, and puts it back as the last
        volumes = torch.tensordot(volumes, interpolation, dims=([-3], [1]))
    return volumes


def _interpolation(box: int, size: int) -> Tensor:
    """Return the matrix (size, N) that resamples N values through their Fourier series."""
    spectrum = torch.fft.fftshift(torch.fft.fft(torch.eye(box, dtype=torch.float64), dim=0), dim=0)
    before = size // 2 - box // 2
    padded = F.pad(spectrum, (0, 0, before, size - box - before))  # negative: a crop
    offset = (box // 2) / box - (size // 2) / size  # from the old voxel 0 to the new one, as a fraction of the box
    moved = padded * torch.exp(2j * torch.pi * offset * (torch.arange(size) - size // 2))[:, None]
    rows: Tensor = torch.fft.ifft(torch.fft.ifftshift(moved, dim=0), dim=0).real * (size / box)
    return rows


def filtered(volumes: Tensor, transfer: Tensor) -> Tensor:
    """Multiply volumes by a transfer function in Fourier space.

    Parameters
    ----------
    volumes
        (..., N, N, N), real.
    transfer
        (N, N, N), or with the dimensions of `volumes`; real and even, zero frequency at N // 2.
    """
    half = torch.fft.ifftshift(transfer, dim=SPATIAL)[..., : volumes.shape[-1] // 2 + 1]
    spectrum = torch.fft.rfftn(volumes, dim=SPATIAL) * half
    result: Tensor = torch.fft.irfftn(spectrum, s=volumes.shape[-3:], dim=SPATIAL)
    return result


def whole_spectrum(half: Tensor) -> Tensor:
    """Expand the half of a real, even spectrum, as FFTW stores it, to the full spectrum.

    Parameters
    ----------
    half
        (..., N, N, N // 2 + 1), the zero frequency at the corner.

    Returns
    -------
    Tensor
        (..., N, N, N), the zero frequency at N // 2.
    """
    box = half.shape[-2]
    opposite = -torch.arange(box, device=half.device) % box
    mirrored = half[..., opposite, :, :][..., opposite, :]
    rest = mirrored[..., 1 : box - half.shape[-1] + 1].flip(-1)  # F(-k) = F(k)
    whole: Tensor = torch.fft.fftshift(torch.cat([half, rest], dim=-1), dim=SPATIAL)
    return whole
