"""Volumes in Fourier space: binning by a crop, and halves made whole."""

from __future__ import annotations

import torch
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


def fourier_pad(volumes: Tensor, size: int) -> Tensor:
    """Return volumes on a finer grid: what `fourier_crop` undoes, but for the Nyquist frequency, left out here.

    Parameters
    ----------
    volumes
        (..., n, n, n), real, n even.
    size
        Voxels a side afterwards, a multiple of n.

    Returns
    -------
    Tensor
        (..., size, size, size); the voxel n // 2 becomes the voxel size // 2.
    """
    box = volumes.shape[-1]
    if box == size:
        return volumes
    half = box // 2
    spectrum = torch.fft.rfftn(volumes, dim=SPATIAL)[..., :half]
    padded = spectrum.new_zeros(*volumes.shape[:-3], size, size, size // 2 + 1)
    both_signs = torch.cat([torch.arange(half), torch.arange(1 - half, 0)]).to(volumes.device)
    rows, columns = both_signs[:, None] % size, both_signs[None] % size
    padded[..., rows, columns, :half] = spectrum[..., both_signs[:, None] % box, both_signs[None] % box, :]
    finer: Tensor = torch.fft.irfftn(padded, s=(size,) * 3, dim=SPATIAL) * (size / box) ** 3
    return finer


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
