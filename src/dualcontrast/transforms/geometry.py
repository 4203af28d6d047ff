"""Rotation, translation and scaling of pictures and volumes, on their device.

Coordinates are in pixels relative to an image's centre, in the order (x, y) or (x, y, z): the reverse of an
array's axes. A matrix A acts on positions: it moves the value at p to A p, so that
output(p) = image(A^-1 (p - shift)). The centre of a picture is its middle, (N - 1) / 2; that of a volume is the
voxel N // 2, as in RELION.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["bilinear", "nearest"]

SPIRAL = 1.533751168755204288118041  # psi of the super-Fibonacci spiral: psi^4 = psi + 4


def resample(
    images: Tensor,
    matrices: Tensor,
    shifts: Tensor | None = None,
    interpolation: Interpolation = "bilinear",
    displacements: Tensor | None = None,
) -> Tensor:
    """Transform each image by its linear map, then its shift; the outside is zero.

    Parameters
    ----------
    images
        (B, C, spatial...), two or three spatial dimensions.
    matrices
        (B, D, D), acting on (x, y) or (x, y, z).
    shifts
        (B, D), in pixels, (x, y) or (x, y, z); none by default.
    interpolation
        "bilinear" (trilinear for volumes) or "nearest".
    displacements
        (B, spatial..., D), in pixels, x first: output(p) = image(A^-1 (p - shift) + displacement(p)); none by
        default.

    Returns
    -------
    Tensor
        (B, C, spatial...).
    """
    spatial = images.shape[2:]
    positions = _positions(tuple(spatial), images.device, images.dtype)  # (P, D)
    inverse = torch.linalg.inv(matrices)
    if shifts is not None:
        positions = positions - shifts[:, None, :]  # (B, P, D)
    with torch.autocast(images.device.type, enabled=False):  # half precision is too coarse for positions
        exact = torch.promote_types(images.dtype, torch.float32)
        sources = positions.to(exact) @ inverse.to(exact).mT
        if displacements is not None:
            sources = sources + displacements.flatten(1, -2)
    sizes = torch.tensor(spatial[::-1], device=images.device, dtype=images.dtype)
    centre = torch.tensor(centre_of(spatial)[::-1], device=images.device, dtype=images.dtype)
    normalised = (2 * (sources + centre) + 1) / sizes - 1
    grid = normalised.reshape(len(images), *spatial, len(spatial))
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def centre_of(spatial: Sequence[int]) -> tuple[float, ...]:
    """Return the centre in pixels: the middle of a picture, the voxel N // 2 of a volume."""
    if len(spatial) == 2:
        return tuple((n - 1) / 2 for n in spatial)
    return tuple(float(n // 2) for n in spatial)


@lru_cache(maxsize=8)
def _positions(spatial: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the positions of all pixels relative to the centre, (P, D), x first."""
    with torch.inference_mode(False):  # cached for later calls, which may need gradients
        axes = [
            torch.arange(n, device=device, dtype=dtype) - c
            for n, c in zip(spatial, centre_of(spatial), strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).reshape(-1, len(spatial))


def rotations_2d(angles: Tensor) -> Tensor:
    """Return the rotation matrices (B, 2, 2) from x towards y by `angles` (B,), in radians."""
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)


def random_rotations(
    count: int, dimensions: int, degrees: float, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Draw random rotations.

    In the plane the angle is uniform between -degrees and degrees. In space the rotation is uniform on SO(3),
    restricted to angles of at most `degrees` about any axis (180: all of SO(3)).

    Parameters
    ----------
    count
        Number of rotations, B.
    dimensions
        D, 2 or 3.
    degrees
        The largest angle.
    device, dtype
        Of the result.

    Returns
    -------
    Tensor
        (B, D, D).
    """
    if dimensions == 2:
        angles = (2 * torch.rand(count, device=device, dtype=dtype) - 1) * math.radians(degrees)
        return rotations_2d(angles)
    if degrees >= 180:
        uniform: Tensor = _roma().random_rotmat(count, dtype=dtype, device=device)
        return uniform
    axes = F.normalize(torch.randn(count, 3, device=device, dtype=dtype), dim=1)
    angles = _haar_angles(torch.rand(count, device=device, dtype=dtype), math.radians(degrees))
    return rotations_by(axes * angles[:, None])


def rotations_by(turns: Tensor) -> Tensor:
    """Return rotations by angles in the plane, (B, 1), or by rotation vectors in space, (..., 3), in radians."""
    if turns.shape[-1] == 1:
        return rotations_2d(turns[:, 0])
    rotations: Tensor = _roma().rotvec_to_rotmat(turns)
    return rotations


def nearest_rotations(matrices: Tensor) -> Tensor:
    """Return the nearest rotations to matrices (B, 3, 3)."""
    rotations: Tensor = _roma().special_procrustes(matrices)
    return rotations


def rotation_grid(count: int) -> Tensor:
    """Return an even grid of rotations over SO(3), (count, 3, 3), float32.

    A super-Fibonacci spiral of unit quaternions (M. Alexa, CVPR 2022).
    """
    s = torch.arange(count, dtype=torch.float64) + 0.5
    inner, outer = (s / count).sqrt(), (1 - s / count).sqrt()
    alpha, beta = 2 * math.pi * s / math.sqrt(2), 2 * math.pi * s / SPIRAL
    quaternions = torch.stack([inner * alpha.sin(), inner * alpha.cos(), outer * beta.sin(), outer * beta.cos()])
    rotations: Tensor = _roma().unitquat_to_rotmat(quaternions.T)
    return rotations.float()


def grid_size(degrees: float) -> int:
    """Return how many rotations of `rotation_grid` are about `degrees` apart: the volume of SO(3) by a step's."""
    return max(1, math.ceil(8 * math.pi**2 / math.radians(degrees) ** 3))


def _roma() -> Any:
    """Import roma, which loads torch's compiler: that takes as long as torch itself."""
    import roma

    return roma


def _haar_angles(uniform: Tensor, largest: float) -> Tensor:
    """Map uniform numbers to rotation angles of the uniform measure on SO(3), up to `largest`.

    The density of the angle is proportional to 1 - cos(angle), and its distribution function to
    angle - sin(angle), which is inverted by linear interpolation on a fine grid.
    """
    grid = torch.linspace(0, largest, 4096, device=uniform.device, dtype=torch.float64)
    distribution = (grid - grid.sin()) / (largest - math.sin(largest))
    quantiles = uniform.to(torch.float64)
    right = torch.searchsorted(distribution, quantiles).clamp(1, len(grid) - 1)
    low, high = distribution[right - 1], distribution[right]
    share = ((quantiles - low) / (high - low)).clamp(0, 1)
    return (grid[right - 1] + share * (grid[right] - grid[right - 1])).to(uniform.dtype)
