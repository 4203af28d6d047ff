"""The averages: slices and a surface of each cluster's map, and how far its halves agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dualcontrast.analysis.clusters import Clusters
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.errors import SourceError
from dualcontrast.figures.drawing import PALETTE
from dualcontrast.figures.isosurface import named_surface
from dualcontrast.figures.slices import CONTRAST
from dualcontrast.maps.averager import FEWEST
from dualcontrast.maps.averaging import THRESHOLD
from dualcontrast.report import meshes
from dualcontrast.report.material import Material
from dualcontrast.report.pictures import data_uri
from dualcontrast.report.plots import Figure, Json, class_colours, figure, line, threshold
from dualcontrast.report.section import Section, Unavailable

PROGRAMS = {"builtin": "the built-in averager"}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


class Map(NamedTuple):
    """The average of a cluster."""

    name: str
    content: int
    transformation: int
    colour: str
    particles: int
    resolution: float
    how: str
    likeness: str
    slices: list[str]
    surface: str  # a picture
    figure: str
    lack: str  # why there is no surface


def section(material: Material) -> Section | None:
    """Return every average; None for pictures, which have none."""
    if not material.are_volumes:
        return None
    anchor, title, units = "averages", "Averages", material.averages
    if isinstance(units, Unavailable):
        return Section(anchor, title, missing=(units,))
    contents = [_numbers(unit)[0] for unit in units]
    colours = class_colours(max(contents))
    figures: dict[str, Any] = {"fsc": _correlations(units, colours)}
    drawn = _maps(material, units, colours, figures)
    assert not isinstance(material.clusters, Unavailable)
    missing = tuple(_left_out(material, material.clusters, len(units)))
    context = {
        "maps": drawn,
        "threshold": THRESHOLD,
        "box": units[0]["box"],
        "voxel_size": units[0]["voxel_size"],
        "folder": material.run.averages_folder(material.clusters.name),
    }
    return Section(anchor, title, "averages.html", context, figures, missing)


def _left_out(material: Material, clusters: Clusters, made: int) -> Iterator[Unavailable]:
    """Yield why clusters have no average: they are too small, or it is still to be made."""
    small = sum(len(clusters.rows_of(*unit)) < FEWEST for unit in clusters.units)
    left, count = len(clusters.units) - small - made, len(clusters.units)
    if small:
        told = "holds" if small == 1 else "hold"
        yield Unavailable(f"{small} of {count} clusters {told} a single image, which is no average.")
    if left > 0:
        told = "has" if left == 1 else "have"
        yield Unavailable(
            f"{left} of {count} clusters {told} no average yet.", material.clusters_command("average")
        )


def _numbers(unit: dict[str, Any]) -> tuple[int, int]:
    """Return the content and the transformation cluster."""
    content, transformation = unit["cluster"].split("_")
    return int(content.removeprefix("content")), int(transformation.removeprefix("transformation"))


def _maps(
    material: Material, units: list[dict[str, Any]], colours: list[str], figures: dict[str, Any]
) -> list[Map]:
    """Draw every map; the scenes of their surfaces join `figures`."""
    assert not isinstance(material.clusters, Unavailable)
    folder = material.run.averages_folder(material.clusters.name)
    densities = {unit["cluster"]: read_map(folder / f"{unit['cluster']}.mrc")[0] for unit in units}
    surfaces, lacks = {}, {}
    for number, (name, density) in enumerate(densities.items()):
        material.options.progress("drawing averages", number, len(units))
        try:
            surfaces[name] = named_surface(density, None, name)
        except SourceError as error:
            lacks[name] = f"{error}."
    places = {
        name: meshes.centred(surface, densities[name].shape, unit["voxel_size"])
        for unit in units
        if (surface := surfaces.get(name := unit["cluster"])) is not None
    }
    reach = max((1.05 * float(np.linalg.norm(place, axis=1).max()) for place in places.values()), default=1.0)
    drawn = []
    for unit in units:
        name, (content, transformation) = unit["cluster"], _numbers(unit)
        picture = ""
        if name in surfaces:
            colour, plain = colours[content - 1], _plain(content, colours)
            mesh = meshes.mesh_of(surfaces[name], places[name], colour, meshes.triangles_each(len(surfaces)))
            figures[f"surface-{name}"] = meshes.scene_of(mesh, reach)
            picture = meshes.picture_of_surface(surfaces[name], places[name], plain, reach)
        drawn.append(
            Map(
                name,
                content,
                transformation,
                colours[content - 1],
                unit["particles"],
                unit["resolution"],
                _how(unit),
                _likeness(unit),
                _slices(densities[name]),
                picture,
                f"surface-{name}",
                lacks.get(name, ""),
            )
        )
    material.options.progress("drawing averages", len(units), len(units))
    return drawn


def _plain(content: int, colours: list[str]) -> str:
    """Return the colour of a cluster for a picture, which no style sheet reaches."""
    colour = colours[content - 1]
    return PALETTE[content - 1] if colour.startswith("var(") else colour


def _how(unit: dict[str, Any]) -> str:
    """Say what the poses are and what averaged."""
    found, averaged = (PROGRAMS.get(unit[key], unit[key]) for key in ("poses", "averaged_by"))
    if unit["poses"] == "stated":
        return f"Poses as stated, averaged by {averaged}."
    return (
        f"Aligned and averaged by {averaged}."
        if found == averaged
        else f"Aligned by {found}, averaged by {averaged}."
    )


def _likeness(unit: dict[str, Any]) -> str:
    if not unit["truth"]:
        return ""
    best = max(unit["truth"], key=lambda state: state["correlation"])
    return f"most like {best['identity']} {best['conformation']}, correlation {best['correlation']:.2f}"


def _slices(density: np.ndarray) -> list[str]:
    """Draw the central slices along z, y and x in one contrast."""
    low, high = np.percentile(density, CONTRAST)
    grey = np.round(255 * np.clip((density - low) / ((high - low) or 1), 0, 1)).astype(np.uint8)
    return [data_uri(np.take(grey, len(grey) // 2, axis=axis)) for axis in range(3)]


def _correlations(units: list[dict[str, Any]], colours: list[str]) -> Figure:
    """Draw the Fourier shell correlation of the halves of every average."""
    traces, last = [], 0.0
    for unit in units:
        content, transformation = _numbers(unit)
        frequency = np.arange(len(unit["fsc"])) / (unit["box"] * unit["voxel_size"])
        last = max(last, float(frequency[-1]))
        name = f"content {content}, transformation {transformation}"
        style = {"dash": DASHES[(transformation - 1) % len(DASHES)]}
        traces.append(line(frequency.round(6).tolist(), unit["fsc"], name, colours[content - 1], line=style))
    ticks = _ticks(last)
    named_ticks: dict[str, Json] = {
        "tickvals": [1 / tick for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
    return figure(
        traces,
        "resolution, Å",
        "correlation of the halves",
        hovermode="closest",
        shapes=[threshold(THRESHOLD)],
        annotations=[
            {"xref": "paper", "x": 0, "y": THRESHOLD, "yanchor": "bottom", "xanchor": "left", "showarrow": False,
             "text": f"{THRESHOLD}"}
        ],
        xaxis={"range": [0, last], **named_ticks},
        yaxis={"range": [-0.12, 1.03], "dtick": 0.25},
    )  # fmt: skip


def _ticks(last: float) -> list[float]:
    """Return resolutions in Å, spread over the frequencies up to the last."""
    wanted = 1 / (last * np.linspace(1, 0.2, 5))
    return [float(f"{value:.2g}") for value in wanted if value > 0]
