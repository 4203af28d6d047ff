"""Surfaces of equal density in maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dualcontrast.errors import SourceError

FINE = 128  # voxels along the longest side of a particle, at least, once it is refined for a smooth surface
MARGIN = 3  # voxels kept around a particle before refinement
# For these three see `surface_level` and `surface_of`.
TYPICAL_SHARE = 0.5
SIGMAS = 3
DUST = 0.02


@dataclass(frozen=True)
class Surface:
    """A triangulated surface of equal density.

    Attributes
    ----------
    vertices : numpy.ndarray
        (V, 3), positions (x, y, z) in voxels of the map; the centre of its first voxel is 0.
    normals : numpy.ndarray
        (V, 3), outward unit normals.
    faces : numpy.ndarray
        (F, 3), the vertices of each triangle, anticlockwise as seen from outside.
    openness : numpy.ndarray
        (V,), from 0, deep in a cleft, to 1, where nothing is near.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    openness: np.ndarray


def surface_level(density: np.ndarray) -> float:
    """Choose the density at which a map is drawn.

    It lies half-way between the background and the typical density of the particle, but at least three standard
    deviations of the background above it. The background is everything outside the largest ellipsoid in the box.
    The typical density is the mean of the density above the background, weighted by itself, which does not depend
    on how much empty space surrounds the particle.

    Parameters
    ----------
    density
        (z, y, x).
    """
    z, y, x = (np.linspace(-1, 1, size) for size in density.shape)
    outside = density[(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) > 1]
    background = float(outside.mean())
    above = np.clip(density - background, 0, None)
    typical = float((above**2).sum() / max(above.sum(), np.finfo(float).tiny))
    return background + max(TYPICAL_SHARE * typical, SIGMAS * float(outside.std()))


def surface_of(density: np.ndarray, level: float) -> Surface:
    """Extract the surface at a level, closed where the density reaches the sides of the box.

    It is found by marching cubes in the map, which is refined by cubic splines if it is small. Pieces smaller than
    a fiftieth of the largest are removed: in a noisy map they are dust.

    Parameters
    ----------
    density
        (z, y, x).
    level
        Between the lowest and the highest density.
    """
    from skimage.measure import marching_cubes

    particle, corner = _cropped(density, level)
    refined, factor = _refined(particle)
    closed = np.pad(_without_dust(refined, level), 1, constant_values=refined.min())
    vertices, faces, normals, _ = marching_cubes(closed, level)  # type: ignore[no-untyped-call]
    # As in ambient occlusion: how much density surrounds a point just outside the surface.
    filled = ndimage.gaussian_filter((closed > level).astype(np.float32), 4)
    openness = 1 - ndimage.map_coordinates(filled, (vertices + 6 * normals).T, order=1)
    return Surface(((vertices - 1) / factor + corner)[:, ::-1], normals[:, ::-1], faces, openness)


def named_surface(density: np.ndarray, level: float | None, name: str) -> Surface:
    """Extract the surface of a map at a level, or at its `surface_level`.

    Raises
    ------
    SourceError
        The map has no such surface; the message names the map.
    """
    name = ", ".join(name.splitlines())
    if not np.isfinite(density).all():
        raise SourceError(f"{name}: contains NaN or infinite values, so it has no surface; repair the map")
    low, high = float(density.min()), float(density.max())
    if low == high:
        raise SourceError(f"{name}: is {low:g} everywhere, so it has no surface; give a density map")
    chosen = surface_level(density) if level is None else level
    if low < chosen < high:
        return surface_of(density, chosen)
    if level is None:
        raise SourceError(
            f"{name}: no density stands out from the background, so it has no surface; if protein is dark, "
            "invert the map"
        )
    raise SourceError(f"{name}: has no surface at {level:g}; choose a level between {low:g} and {high:g}")


def _cropped(density: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Crop a map to its dense part; also return where that begins, (z, y, x)."""
    dense = np.argwhere(_without_dust(density, level) >= level)
    low = np.maximum(dense.min(axis=0) - MARGIN, 0)
    high = dense.max(axis=0) + 1 + MARGIN
    return density[tuple(slice(*ends) for ends in zip(low, high, strict=True))], low


def _refined(density: np.ndarray) -> tuple[np.ndarray, int]:
    """Refine a map by a whole factor, so that its longest side has `FINE` voxels; corners keep their positions."""
    factor = -(-FINE // max(density.shape))
    if factor == 1:
        return density, factor
    zoom = [(factor * (size - 1) + 1) / size for size in density.shape]
    return np.asarray(ndimage.zoom(density, zoom, order=3, mode="nearest")), factor


def _without_dust(density: np.ndarray, level: float) -> np.ndarray:
    """Set all but the large pieces above a level to the lowest density."""
    pieces, count = ndimage.label(density >= level)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    dust = sizes < DUST * sizes.max()
    dust[0] = False
    return np.where(dust[pieces], density.min(), density)
