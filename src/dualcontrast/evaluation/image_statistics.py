"""Trivial statistics of images: a score no higher than theirs needed no learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dualcontrast.images import ImageSet
from dualcontrast.progress import Progress, silent
from dualcontrast.transforms.geometry import centre_of


def trivial_statistics(images: Tensor) -> Tensor:
    """Measure the brightness, contrast, position and radial profile of images.

    The centre of mass is that of the values above the image's minimum. It is linear in the values, so noise
    averages out; with squares, the noise of a whole box would outweigh a small particle. It does not change if a
    constant is added to the image, or if the image is multiplied by a positive factor.

    Parameters
    ----------
    images
        (B, C, spatial...), pictures or volumes.

    Returns
    -------
    Tensor
        (B, C * (2 + D + N // 2)), with D spatial dimensions and the shortest side N. Of each channel:

        - mean and standard deviation of the values;
        - the centre of mass, in pixels from the centre, in the order of the array's axes; 0 where all values
          are equal;
        - the means of the values in shells one pixel wide about the centre, at distances in [k, k + 1) for k
          from 0 to N // 2 - 1.
    """
    positions = _positions(images.shape[2:], images.device)
    outside = min(images.shape[2:]) // 2  # the last shell holds everything further out; it is dropped
    shells = positions.square().sum(dim=1).sqrt().long().clamp(max=outside)
    values = images.flatten(2)  # (B, C, P)
    spread, mean = torch.std_mean(values, dim=2, correction=0, keepdim=True)
    above = values - values.amin(dim=2, keepdim=True)
    mass = above.sum(dim=2, keepdim=True)
    place = above @ positions / torch.where(mass > 0, mass, 1)
    sums = values.new_zeros(*values.shape[:2], outside + 1).index_add_(2, shells, values)
    profile = sums / torch.bincount(shells, minlength=outside + 1)
    return torch.cat([mean, spread, place, profile[..., :-1]], dim=2).flatten(1)


def statistics_of(images: ImageSet, *, batch_size: int = 500, progress: Progress = silent) -> np.ndarray:
    """Measure the trivial statistics of every image of a set, in its order, (N, F), float32.

    Parameters
    ----------
    images
        Pictures or volumes.
    batch_size
        Images in memory at a time.
    progress
        Called with the number of images measured.
    """
    parts = []
    for index, pixels in images.batches(batch_size):
        parts.append(trivial_statistics(pixels).numpy())
        progress("measuring trivial statistics", int(index[-1]) + 1, len(images))
    return np.concatenate(parts)


def _positions(spatial: Sequence[int], device: torch.device) -> Tensor:
    """Compute the positions of all pixels relative to the centre, in the order of the array's axes, (P, D)."""
    axes = [
        torch.arange(n, dtype=torch.float32, device=device) - c
        for n, c in zip(spatial, centre_of(spatial), strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
