"""Pictures of volumes: slices side by side, and surfaces of equal density."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from torch import Tensor

from dualcontrast.errors import SourceError
from dualcontrast.figures.drawing import INCHES, colours_of, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

NARROWEST = 5.0  # inches of a figure, for its title's sake
CONTRAST = (0.1, 99.9)  # percentiles of a row's voxels that are drawn black and white
LONGEST = 32  # characters in a line of a name at the left of a row

COLUMNS = 6
FINE = 128  # voxels along the longest side of a particle, at least, once it is refined for a smooth surface
MARGIN = 3  # voxels kept around a particle before that
# What `surface_level` and `surface_of` say of them.
TYPICAL_SHARE = 0.5
SIGMAS = 3
DUST = 0.02

# The directions to the right, upwards and towards the viewer, as rows (x, y, z): from above, a little aside.
_SIDE, _RISE = np.radians(-60), np.radians(25)
VIEW = np.array(
    [
        [-np.sin(_SIDE), np.cos(_SIDE), 0],
        [-np.sin(_RISE) * np.cos(_SIDE), -np.sin(_RISE) * np.sin(_SIDE), np.cos(_RISE)],
        [np.cos(_RISE) * np.cos(_SIDE), np.cos(_RISE) * np.sin(_SIDE), np.sin(_RISE)],
    ]
)
LIGHT = np.array([-0.40, 0.51, 0.76])  # where it comes from: (right, up, towards the viewer), of length 1


# ---- slices


def draw_slices(
    volumes: Tensor | Sequence[Tensor], names: Sequence[str], path: str | Path, title: str, slices: int = 8
) -> None:
    """Draw figures 13, 15 and 16 of the paper: of each volume a row of slices along z.

    The slices are spread evenly; above them are their numbers, from 0, where they differ from those of the
    row above. A row has one contrast, from the 0.1st to the 99.9th percentile of what it shows.

    Parameters
    ----------
    volumes
        (N, 1, D, H, W), or N volumes (1, D, H, W) of any sizes.
    names
        One a volume, at the left of its row.
    path
        The PNG to write.
    title
        Stands above the figure.
    slices
        How many of a volume are shown; all where it has fewer.
    """
    stacks = [volume.detach().cpu().numpy()[0] for volume in volumes]
    places = [spread_slices(len(stack), slices) for stack in stacks]
    numbered = [i == 0 or places[i] != places[i - 1] for i in range(len(places))]
    texts = [_cut(name) for name in names]
    left = 0.4 + 0.07 * max((len(line) for text in texts for line in text.splitlines()), default=0)
    heights = [INCHES * stack.shape[1] / stack.shape[2] for stack in stacks]
    height = sum(heights) + 0.06 * len(stacks) + 0.2 * sum(numbered)
    figure = titled(title, 1.06 * INCHES * slices + left, height)
    rows = figure.subplots(len(stacks), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, stack, shown, text, has_numbers in zip(rows, stacks, places, texts, numbered, strict=True):
        show_slices(axes, stack[shown])
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
        if has_numbers:
            _number(axes, shown, stack.shape[2])
    save_figure(figure, path)


def spread_slices(depth: int, slices: int) -> list[int]:
    """Return the middle slice of each of so many parts of a volume."""
    count = min(depth, slices)
    return [int((i + 0.5) * depth / count) for i in range(count)]


def show_slices(axes: Axes, slices: np.ndarray) -> None:
    """Show slices (n, H, W) side by side on white, in one contrast."""
    low, high = np.percentile(slices, CONTRAST)
    if low == high:  # something very small on a constant ground
        low, high = slices.min(), slices.max()
    gap = np.full((slices.shape[1], _gap(slices.shape[2])), np.nan)
    mosaic = np.hstack([part for picture in slices for part in (picture, gap)][:-1])
    axes.imshow(mosaic, cmap="gray", vmin=low, vmax=high)
    axes.set_anchor("W")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _number(axes: Axes, places: Sequence[int], width: int) -> None:
    centres = (width - 1) / 2 + np.arange(len(places)) * (width + _gap(width))
    axes.xaxis.tick_top()
    axes.set_xticks(centres, [f"z = {places[0]}", *(str(place) for place in places[1:])], fontsize=8)


def _gap(width: int) -> int:
    return max(1, width // 16)


# ---- surfaces


@dataclass(frozen=True)
class Surface:
    """A surface of equal density, as triangles.

    Attributes
    ----------
    vertices : numpy.ndarray
        (V, 3), their places (x, y, z) in voxels of the map; the centre of its first voxel is 0.
    normals : numpy.ndarray
        (V, 3), outwards, of length 1.
    faces : numpy.ndarray
        (F, 3), the vertices of each triangle, anticlockwise as seen from outside.
    openness : numpy.ndarray
        (V,), from 0, deep in a cleft, to 1, where nothing is near.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    openness: np.ndarray


def draw_surfaces(
    maps: Sequence[np.ndarray],
    names: Sequence[str],
    path: str | Path,
    title: str,
    level: float | None = None,
    voxel_size: float | Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
) -> None:
    """Draw the surfaces of density maps, as figure 14 of the paper: in one view and at one scale.

    The colours are those of `draw_embedding`, so that the third map has the colour of the third class.

    Parameters
    ----------
    maps
        Each (z, y, x), of any size.
    names
        One a map, above it.
    path
        The PNG to write.
    title
        Stands above the figure.
    level
        The density at the surfaces; the `surface_level` of each map where none is given.
    voxel_size
        Side of a voxel in Angstrom, of all maps or of each; without it, the scale is in voxels.
    classes
        The class of each map, from 0, by which it is coloured; each is one of its own where none are given.

    Raises
    ------
    SourceError
        A map has no surface at the level; the message names the map.
    """
    surfaces = [named_surface(density, level, name) for density, name in zip(maps, names, strict=True)]
    sizes = np.broadcast_to(1.0 if voxel_size is None else np.asarray(voxel_size, float), len(maps))
    places = [_centred(size * surface.vertices @ VIEW.T) for surface, size in zip(surfaces, sizes, strict=True)]
    reach = 1.1 * np.max([place.max(axis=0)[:2] for place in places], axis=0)
    reach = np.maximum(reach, 0.6 * reach.max())  # leaves room for the names of long particles
    columns = min(COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    width, height = max(1.9, 4.5 / columns) * reach / reach.max()
    texts = [_filled(name, int(13 * max(width, NARROWEST / columns))) for name in names]
    lines = max(text.count("\n") + 1 for text in texts)
    figure = titled(title, columns * width, rows * (height + 0.17 * lines + 0.1))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), aspect="equal")
        axes.axis("off")
    classes = range(len(maps)) if classes is None else classes
    colours = colours_of(max(classes) + 1)
    for axes, text, surface, place, class_ in zip(panels, texts, surfaces, places, classes, strict=False):
        show_surface(axes, surface, place, colours[class_])
        axes.set_title(text, fontsize=9, parse_math=False)
    _add_scale(panels[-columns], reach, "voxels" if voxel_size is None else "Å")
    save_figure(figure, path)


def surface_level(density: np.ndarray) -> float:
    """Choose the density at which a map is drawn.

    It lies half-way from the background to the typical density of the particle, but at least three standard
    deviations of the background above it. The background is what lies outside the largest ellipsoid in the
    box; the particle's typical density is the mean of the density above the background, weighted by itself,
    which does not depend on how much empty space is around the particle.

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
    """Return the surface at a level, closed where the density reaches the box's sides.

    The surface is found by marching cubes in the map, refined by cubic splines where it is small. Pieces of
    less than a fiftieth of the largest are left out: in a noisy map, dust.

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
    # As ambient occlusion: how much density is around a place a little outside of the surface.
    filled = ndimage.gaussian_filter((closed > level).astype(np.float32), 4)
    openness = 1 - ndimage.map_coordinates(filled, (vertices + 6 * normals).T, order=1)
    return Surface(((vertices - 1) / factor + corner)[:, ::-1], normals[:, ::-1], faces, openness)


def named_surface(density: np.ndarray, level: float | None, name: str) -> Surface:
    """Return the surface of a map at a level, or at its `surface_level`.

    Raises
    ------
    SourceError
        There is none; the message names the map.
    """
    name = ", ".join(name.splitlines())
    if not np.isfinite(density).all():
        raise SourceError(f"{name}: holds NaN or infinite values, so it has no surface; mend the map")
    low, high = float(density.min()), float(density.max())
    if low == high:
        raise SourceError(f"{name}: is {low:g} everywhere, so it has no surface; give a map of density")
    chosen = surface_level(density) if level is None else level
    if low < chosen < high:
        return surface_of(density, chosen)
    if level is None:
        raise SourceError(
            f"{name}: no density stands out of its background, so it has no surface; where protein is dark, "
            "invert the map"
        )
    raise SourceError(f"{name}: has no surface at {level:g}; choose a level between {low:g} and {high:g}")


def _cropped(density: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a map around what is dense, and where it begins (z, y, x)."""
    dense = np.argwhere(_without_dust(density, level) >= level)
    low = np.maximum(dense.min(axis=0) - MARGIN, 0)
    high = dense.max(axis=0) + 1 + MARGIN
    return density[tuple(slice(*ends) for ends in zip(low, high, strict=True))], low


def _refined(density: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a map with voxels so many times finer that its longest side has `FINE`; corners keep their places."""
    factor = -(-FINE // max(density.shape))
    if factor == 1:
        return density, factor
    zoom = [(factor * (size - 1) + 1) / size for size in density.shape]
    return np.asarray(ndimage.zoom(density, zoom, order=3, mode="nearest")), factor


def _without_dust(density: np.ndarray, level: float) -> np.ndarray:
    """Return a map in which all but the large pieces at a level are as low as its lowest."""
    pieces, count = ndimage.label(density >= level)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    dust = sizes < DUST * sizes.max()
    dust[0] = False
    return np.where(dust[pieces], density.min(), density)


def _centred(places: np.ndarray) -> np.ndarray:
    return np.asarray(places - (places.min(axis=0) + places.max(axis=0)) / 2)


def show_surface(axes: Axes, surface: Surface, places: np.ndarray, colour: str) -> None:
    """Draw a surface with its vertices at `places` (V, 3), (right, up, towards the viewer): the far first."""
    from matplotlib.tri import Triangulation

    corners = places[surface.faces]
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    faces_us = one[:, 0] * other[:, 1] > one[:, 1] * other[:, 0]
    order = np.argsort(corners[faces_us, :, 2].mean(axis=1))
    triangles = Triangulation(places[:, 0], places[:, 1], surface.faces[faces_us][order])
    axes.tripcolor(
        triangles, _brightness(surface, places), shading="gouraud", cmap=_shades(colour), vmin=0, vmax=1
    )


def _brightness(surface: Surface, places: np.ndarray) -> np.ndarray:
    """Return from 0 to 1 how bright a vertex is: after Lambert, darker in clefts and farther away."""
    lit = np.clip(surface.normals @ VIEW.T @ LIGHT, 0, 1)
    depth = places[:, 2]
    near = (depth - depth.min()) / max(np.ptp(depth), np.finfo(float).tiny)
    return np.asarray((0.25 + 0.75 * lit) * (0.1 + 0.9 * surface.openness) * (0.75 + 0.25 * near))


def _shades(colour: str) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    base = 0.2 + 0.8 * np.array(to_rgb(colour))
    return LinearSegmentedColormap.from_list("shades", [0.1 * base, 0.75 * base, 0.25 * base + 0.75])


def _add_scale(axes: Axes, reach: np.ndarray, unit: str) -> None:
    """Draw a bar of a round length, at most a quarter of the panel's longer side."""
    wanted = 0.5 * reach.max()
    power = 10 ** np.floor(np.log10(wanted))
    length = power * max(step for step in (1, 2, 5) if step * power <= wanted)
    left, low = -0.98 * reach
    axes.plot([left, left + length], [low, low], color="black", linewidth=2, solid_capstyle="butt")
    told = f"{length:g} {unit if length != 1 else unit.removesuffix('s')}"
    axes.text(left, low + 0.02 * reach.max(), told, fontsize=8, va="bottom")


# ---- both


def titled(title: str, width: float, height: float) -> Figure:
    """Make a figure with a title above the panels, which take so many inches."""
    wide = max(width, NARROWEST)
    text = _filled(title, int(11 * wide))
    figure = new_figure(wide, height + 0.2 * text.count("\n") + 0.35)
    figure.suptitle(text, parse_math=False, fontsize=11)
    return figure


def _cut(name: str) -> str:
    """Return a name with its lines no longer than fits at the left."""
    lines = name.splitlines()
    return "\n".join(line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..." for line in lines)


def _filled(text: str, width: int) -> str:
    """Wrap each line of a text."""
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())
