"""Volumes in Fourier space: binning by a crop, other grids, filters, and halves made whole."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SPATIAL = (-3, -2, -1)


def fourier_crop(volumes: Tensor, size: int) -> Tensor:
    """Bin volumes by an integer factor: frequencies beyond the new Nyquist frequency are left out.

    A volume that holds none keeps its values at every (N / size)-th voxel; so the voxel N // 2 becomes the
    voxel size // 2.

    Parameters
    ----------
    volumes
        (..., N, N, N), real.
    size
        Voxels a side afterwards, even, a divisor of N.

    Returns
    -------
    Tensor
        (..., size, size, size).
    """
    box, half = volumes.shape[-1], size // 2
    both_signs = torch.cat([torch.arange(half), torch.arange(box - half, box)]).to(volumes.device)
    spectrum = torch.fft.rfftn(volumes, dim=SPATIAL)[..., : half + 1]
    kept = spectrum[..., both_signs, :][..., both_signs, :, :]
    binned: Tensor = torch.fft.irfftn(kept, s=(size,) * 3, dim=SPATIAL) * (size / box) ** 3
    return binned


def resized(volumes: Tensor, size: int) -> Tensor:
    """Bring band-limited volumes onto a grid of other voxels, the voxel N // 2 becoming the voxel size // 2.

    Parameters
    ----------
    volumes
        (..., N, N, N), real.
    size
        Voxels a side afterwards. Where it is less, frequencies beyond its Nyquist frequency are left out.

    Notes
    -----
    Three products with a small matrix, one for each axis: the transforms of the finer grid would take longer.
    """
    interpolation = _interpolation(volumes.shape[-1], size).to(volumes)
    for _ in SPATIAL:  # each contraction takes the first of the three axes, and puts it back as the last
        volumes = torch.tensordot(volumes, interpolation, dims=([-3], [1]))
    return volumes


def _interpolation(box: int, size: int) -> Tensor:
    """Return what takes a row of N values to one of other spacing through its Fourier series, (size, N)."""
    spectrum = torch.fft.fftshift(torch.fft.fft(torch.eye(box, dtype=torch.float64), dim=0), dim=0)
    before = size // 2 - box // 2
    padded = F.pad(spectrum, (0, 0, before, size - box - before))  # negative: a crop
    offset = (box // 2) / box - (size // 2) / size  # of the new voxel 0 from the old one, as a share of the box
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
        (N, N, N) or of as many dimensions as `volumes`, real and even, zero frequency at N // 2.
    """
    half = torch.fft.ifftshift(transfer, dim=SPATIAL)[..., : volumes.shape[-1] // 2 + 1]
    spectrum = torch.fft.rfftn(volumes, dim=SPATIAL) * half
    result: Tensor = torch.fft.irfftn(spectrum, s=volumes.shape[-3:], dim=SPATIAL)
    return result


def whole_spectrum(half: Tensor) -> Tensor:
    """Return the whole of a real, even spectrum whose half is stored as FFTW does it.

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
