"""Surfaces of maps: a picture of each, and a mesh that the page turns."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from dualcontrast.figures.drawing import new_figure
from dualcontrast.figures.isosurface import Surface
from dualcontrast.figures.surfaces import LIGHT, VIEW, show_surface
from dualcontrast.report.pictures import as_data
from dualcontrast.report.plots import typed

TRIANGLES = 12_000  # of a mesh, at most, ...
IN_ALL = 150_000  # ... and of all meshes of a page together
INCHES = 2.4
AFAR = 4.0  # of the eye, in plotly.js's units
BAR_AT = 0.97  # of the reach, below the middle
GREY = "#85888e"
FILLING = 0.78  # at which the frame is as wide as the reach on either side


def triangles_each(meshes: int) -> int:
    """Return how many triangles each of so many meshes may have."""
    return min(TRIANGLES, IN_ALL // max(meshes, 1))


def centred(surface: Surface, shape: tuple[int, ...], voxel_size: float) -> np.ndarray:
    """Return the vertices (V, 3) in Angstrom, (x, y, z), from the middle of the box of that shape (z, y, x)."""
    middle = np.array([side // 2 for side in shape[::-1]])
    return np.asarray((surface.vertices - middle) * voxel_size)


def mesh_of(surface: Surface, places: np.ndarray, colour: str, triangles: int) -> dict[str, Any]:
    """Return a surface as plotly.js takes it, of few triangles.

    Parameters
    ----------
    surface
        At full detail; `openness` shades it.
    places
        Its vertices in Angstrom, (V, 3).
    colour
        Of the style sheet.
    triangles
        At most so many are kept, by quadric error (M. Garland and P. Heckbert, SIGGRAPH 1997).

    Returns
    -------
    dict
        A trace `mesh3d`, its places in tenths of an Angstrom.
    """
    from fast_simplification import simplify

    faces, count = surface.faces, len(surface.faces)
    kept = places.astype(np.float32)
    if count > triangles:
        kept, faces = simplify(kept, faces.astype(np.int32), target_reduction=1 - triangles / count)
    openness = surface.openness[cKDTree(places).query(kept)[1]]
    tenths = np.round(10 * kept).astype(np.int16)
    index = np.uint16 if len(kept) < 1 << 16 else np.uint32
    corners = {name: typed(column.astype(index)) for name, column in zip("ijk", np.asarray(faces).T, strict=True)}
    return {
        "type": "mesh3d",
        **{name: typed(column) for name, column in zip("xyz", tenths.T, strict=True)},
        **corners,
        "intensity": typed(np.round(100 * openness).astype(np.uint8)),
        "cmin": 10,
        "cmax": 80,
        "colorscale": [[0, "var(--cleft)"], [1, colour]],
        "showscale": False,
        "hoverinfo": "skip",
        "lighting": {"ambient": 0.42, "diffuse": 0.62, "specular": 0.12, "roughness": 0.55, "fresnel": 0.05},
        "lightposition": _point(90_000 * LIGHT @ VIEW),
    }


def scene_of(mesh: dict[str, Any], reach: float) -> dict[str, Any]:
    """Return a figure of a mesh and a bar of a round length; all figures of one reach (Å) are at one scale."""
    length = _round_length(reach)
    right, up, towards = VIEW
    bar = 10 * (np.array([[-0.5], [0], [0.5]]) * length * right - BAR_AT * reach * up)
    scale = {
        "type": "scatter3d",
        "mode": "lines+text",
        **{name: column.round(1).tolist() for name, column in zip("xyz", bar.T, strict=True)},
        "text": ["", f"{length:g} Å", ""],
        "textposition": "top center",
        "textfont": {"color": "var(--muted)", "size": 11},
        "line": {"color": "var(--text)", "width": 4},
        "hoverinfo": "skip",
    }
    hidden = {"visible": False, "range": [-10 * reach, 10 * reach]}
    # From afar, since plotly.js lights nothing in its orthographic projection.
    camera = {"eye": _point(AFAR * towards), "up": {"x": 0, "y": 0, "z": 1}}
    scene = {
        **{f"{name}axis": hidden for name in "xyz"},
        "aspectmode": "manual",
        "aspectratio": _point(np.full(3, FILLING * AFAR)),
        "camera": camera,
        "dragmode": "orbit",
    }
    margin = {"l": 0, "r": 0, "t": 0, "b": 0}
    return {"data": [mesh, scale], "layout": {"scene": scene, "margin": margin, "showlegend": False}}


def picture_of_surface(surface: Surface, places: np.ndarray, colour: str, reach: float) -> str:
    """Draw a surface as `volumes.draw_surfaces` does, on nothing, from -reach to reach, as data.

    It has the bar that the scene has, in a grey that is seen on light and on dark.
    """
    from PIL import Image

    figure = new_figure(INCHES, INCHES)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axis("off")
    show_surface(axes, surface, places @ VIEW.T, colour)
    length, low = _round_length(reach), -BAR_AT * reach
    axes.plot([-length / 2, length / 2], [low, low], color=GREY, linewidth=1.5, solid_capstyle="butt")
    axes.annotate(
        f"{length:g} Å", (0, low), (0, 3), textcoords="offset points", ha="center", fontsize=8, color=GREY
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, transparent=True, dpi=130)
    return as_data(np.asarray(Image.open(buffer).convert("RGBA")))


def _point(place: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", place.round(4).tolist(), strict=True))


def _round_length(reach: float) -> float:
    """Return the longest of 1, 2, 5, 10 ... Å that is at most half of the reach."""
    power = 10 ** np.floor(np.log10(reach / 2))
    return float(power * max(step for step in (1, 2, 5) if step * power <= reach / 2))
