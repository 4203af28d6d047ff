"""Surfaces of maps: a picture of each, and a mesh that can be rotated on the page."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from dualcontrast.figures.drawing import new_figure
from dualcontrast.figures.isosurface import Surface
from dualcontrast.figures.surfaces import LIGHT, VIEW, round_length, show_surface
from dualcontrast.report.pictures import data_uri
from dualcontrast.report.plots import Figure, Json, Trace, encoded

TRIANGLES = 12_000  # of a mesh, at most
TRIANGLES_PER_PAGE = 150_000
INCHES = 2.4
DISTANCE = 4.0  # of the camera, in plotly.js's units
BAR_POSITION = 0.97  # of the scale bar below the centre, as a share of the reach
GREY = "#85888e"  # visible on light and on dark
FILLING = 0.78  # the aspect ratio at which the frame is as wide as the reach on either side


def triangles_each(meshes: int) -> int:
    """Return the largest number of triangles of each of so many meshes."""
    return min(TRIANGLES, TRIANGLES_PER_PAGE // max(meshes, 1))


def centred(surface: Surface, shape: tuple[int, ...], voxel_size: float) -> np.ndarray:
    """Return the vertices (V, 3) in Å, (x, y, z), relative to the centre of a box of that shape (z, y, x)."""
    centre = np.array([side // 2 for side in shape[::-1]])
    return np.asarray((surface.vertices - centre) * voxel_size)


def mesh_of(surface: Surface, vertices: np.ndarray, colour: str, triangles: int) -> Trace:
    """Simplify a surface to a mesh for plotly.js.

    Parameters
    ----------
    surface
        At full detail; `openness` shades it.
    vertices
        Its vertices in Å, (V, 3).
    colour
        A colour of the style sheet.
    triangles
        The largest number to keep, by quadric error (M. Garland and P. Heckbert, SIGGRAPH 1997).

    Returns
    -------
    mapping
        A trace `mesh3d`, in tenths of an Å.
    """
    from fast_simplification import simplify

    faces, count = surface.faces, len(surface.faces)
    kept = vertices.astype(np.float32)
    if count > triangles:
        kept, faces = simplify(kept, faces.astype(np.int32), target_reduction=1 - triangles / count)
    openness = surface.openness[cKDTree(vertices).query(kept)[1]]
    tenths = np.round(10 * kept).astype(np.int16)
    index = np.uint16 if len(kept) < 1 << 16 else np.uint32
    corners = np.asarray(faces, index)
    return {
        "type": "mesh3d",
        **{name: encoded(column) for name, column in zip("xyz", tenths.T, strict=True)},
        **{name: encoded(column) for name, column in zip("ijk", corners.T, strict=True)},
        "intensity": encoded(np.round(100 * openness).astype(np.uint8)),
        "cmin": 10,
        "cmax": 80,
        "colorscale": [[0, "var(--cleft)"], [1, colour]],
        "showscale": False,
        "hoverinfo": "skip",
        "lighting": {"ambient": 0.42, "diffuse": 0.62, "specular": 0.12, "roughness": 0.55, "fresnel": 0.05},
        "lightposition": _point(90_000 * LIGHT @ VIEW),
    }


def scene_of(mesh: Trace, reach: float) -> Figure:
    """Create a figure of a mesh with a scale bar; figures of the same reach (Å) have the same scale."""
    length = round_length(reach / 2)
    right, up, towards = VIEW
    bar = 10 * (np.array([[-0.5], [0], [0.5]]) * length * right - BAR_POSITION * reach * up)
    scale_bar: Trace = {
        "type": "scatter3d",
        "mode": "lines+text",
        **{name: column.round(1).tolist() for name, column in zip("xyz", bar.T, strict=True)},
        "text": ["", f"{length:g} Å", ""],
        "textposition": "top center",
        "textfont": {"color": "var(--muted)", "size": 11},
        "line": {"color": "var(--text)", "width": 4},
        "hoverinfo": "skip",
    }
    hidden: Json = {"visible": False, "range": [-10 * reach, 10 * reach]}
    # From a distance, since plotly.js has no lighting in its orthographic projection.
    camera: Json = {"eye": _point(DISTANCE * towards), "up": {"x": 0, "y": 0, "z": 1}}
    scene: Mapping[str, Json] = {
        **{f"{name}axis": hidden for name in "xyz"},
        "aspectmode": "manual",
        "aspectratio": _point(np.full(3, FILLING * DISTANCE)),
        "camera": camera,
        "dragmode": "orbit",
    }
    margin = {"l": 0, "r": 0, "t": 0, "b": 0}
    return {"data": [mesh, scale_bar], "layout": {"scene": scene, "margin": margin, "showlegend": False}}


def picture_of_surface(surface: Surface, vertices: np.ndarray, colour: str, reach: float) -> str:
    """Draw a surface as `draw_surfaces` does, with a scale bar, on a transparent background, as a data URI.

    It shows the range from -reach to reach (Å), as the scene does.
    """
    from PIL import Image

    figure = new_figure(INCHES, INCHES)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axis("off")
    show_surface(axes, surface, vertices @ VIEW.T, colour)
    length, low = round_length(reach / 2), -BAR_POSITION * reach
    axes.plot([-length / 2, length / 2], [low, low], color=GREY, linewidth=1.5, solid_capstyle="butt")
    axes.annotate(
        f"{length:g} Å", (0, low), (0, 3), textcoords="offset points", ha="center", fontsize=8, color=GREY
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, transparent=True, dpi=130)
    return data_uri(np.asarray(Image.open(buffer).convert("RGBA")))


def _point(position: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", position.round(4).tolist(), strict=True))
