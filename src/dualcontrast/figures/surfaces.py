"""Figures of density maps as surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualcontrast.figures.drawing import NARROWEST, Colour, colours_of, save_figure, titled_figure, wrapped
from dualcontrast.figures.isosurface import Surface, named_surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

COLUMNS = 6

# The directions to the right, upwards and towards the viewer, as rows (x, y, z): from above, a little to the side.
_AZIMUTH, _ELEVATION = np.radians(-60), np.radians(25)
VIEW = np.array(
    [
        [-np.sin(_AZIMUTH), np.cos(_AZIMUTH), 0],
        [-np.sin(_ELEVATION) * np.cos(_AZIMUTH), -np.sin(_ELEVATION) * np.sin(_AZIMUTH), np.cos(_ELEVATION)],
        [np.cos(_ELEVATION) * np.cos(_AZIMUTH), np.cos(_ELEVATION) * np.sin(_AZIMUTH), np.sin(_ELEVATION)],
    ]
)
LIGHT = np.array([-0.40, 0.51, 0.76])  # unit vector towards the light: (right, up, towards the viewer)


def draw_surfaces(
    maps: Sequence[np.ndarray],
    names: Sequence[str],
    path: str | Path,
    title: str,
    level: float | None = None,
    voxel_size: float | Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
) -> None:
    """Draw the surfaces of density maps from one direction and at one scale, as in figure 14 of the paper.

    The colours are those of `draw_embedding`: the third map has the colour of the third class.

    Parameters
    ----------
    maps
        Each (z, y, x), of any size.
    names
        One per map, above it.
    path
        The PNG to write.
    title
        Stands above the figure.
    level
        The density at the surfaces; by default the `surface_level` of each map.
    voxel_size
        Side of a voxel in Å, of all maps or of each; without it, the scale bar is in voxels.
    classes
        The class of each map, from 0, which gives its colour; by default each map has a class of its own.

    Raises
    ------
    SourceError
        A map has no surface at the level; the message names the map.
    """
    surfaces = [named_surface(density, level, name) for density, name in zip(maps, names, strict=True)]
    sizes = np.broadcast_to(1.0 if voxel_size is None else np.asarray(voxel_size, float), len(maps))
    projected = [_centred(size * surface.vertices @ VIEW.T) for surface, size in zip(surfaces, sizes, strict=True)]
    reach = 1.1 * np.max([vertices.max(axis=0)[:2] for vertices in projected], axis=0)
    reach = np.maximum(reach, 0.6 * reach.max())  # leaves room for the names of long particles
    columns = min(COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    width, height = max(1.9, 4.5 / columns) * reach / reach.max()
    texts = [wrapped(name, int(13 * max(width, NARROWEST / columns))) for name in names]
    lines = max(text.count("\n") + 1 for text in texts)
    figure = titled_figure(title, columns * width, rows * (height + 0.17 * lines + 0.1))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), aspect="equal")
        axes.axis("off")
    classes = range(len(maps)) if classes is None else classes
    colours = colours_of(max(classes) + 1)
    for axes, text, surface, vertices, class_ in zip(panels, texts, surfaces, projected, classes, strict=False):
        show_surface(axes, surface, vertices, colours[class_])
        axes.set_title(text, fontsize=9, parse_math=False)
    _add_scale_bar(panels[-columns], reach, "voxels" if voxel_size is None else "Å")
    save_figure(figure, path)


def show_surface(axes: Axes, surface: Surface, projected: np.ndarray, colour: Colour) -> None:
    """Draw a surface, the farthest triangles first; `projected` (V, 3) is (right, up, towards the viewer)."""
    from matplotlib.tri import Triangulation

    corners = projected[surface.faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    visible = first[:, 0] * second[:, 1] > first[:, 1] * second[:, 0]
    order = np.argsort(corners[visible, :, 2].mean(axis=1))
    triangles = Triangulation(projected[:, 0], projected[:, 1], surface.faces[visible][order])
    axes.tripcolor(
        triangles, _brightness(surface, projected), shading="gouraud", cmap=_shades(colour), vmin=0, vmax=1
    )


def round_length(longest: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20 ... that is at most `longest`, for a scale bar."""
    power = 10 ** np.floor(np.log10(longest))
    return float(power * max(step for step in (1, 2, 5) if step * power <= longest))


def _centred(positions: np.ndarray) -> np.ndarray:
    return np.asarray(positions - (positions.min(axis=0) + positions.max(axis=0)) / 2)


def _brightness(surface: Surface, projected: np.ndarray) -> np.ndarray:
    """Compute the brightness of each vertex, 0 to 1: Lambert's law, darker in clefts and farther away."""
    lit = np.clip(surface.normals @ VIEW.T @ LIGHT, 0, 1)
    depth = projected[:, 2]
    near = (depth - depth.min()) / max(np.ptp(depth), np.finfo(float).tiny)
    return np.asarray((0.25 + 0.75 * lit) * (0.1 + 0.9 * surface.openness) * (0.75 + 0.25 * near))


def _shades(colour: Colour) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    base = 0.2 + 0.8 * np.array(to_rgb(colour))
    return LinearSegmentedColormap.from_list("shades", [0.1 * base, 0.75 * base, 0.25 * base + 0.75])


def _add_scale_bar(axes: Axes, reach: np.ndarray, unit: str) -> None:
    """Draw a bar of a round length, at most a quarter of the panel's longer side."""
    length = round_length(0.5 * reach.max())
    left, low = -0.98 * reach
    axes.plot([left, left + length], [low, low], color="black", linewidth=2, solid_capstyle="butt")
    label = f"{length:g} {unit if length != 1 else unit.removesuffix('s')}"
    axes.text(left, low + 0.02 * reach.max(), label, fontsize=8, va="bottom")
