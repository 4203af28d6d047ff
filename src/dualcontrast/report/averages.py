"""The averages: slices and a surface of each cluster's map, and how far its halves agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dualcontrast.analysis.clusters import Clusters
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.errors import SourceError
from dualcontrast.figures.drawing import PALETTE
from dualcontrast.figures.isosurface import named_surface
from dualcontrast.figures.slices import CONTRAST
from dualcontrast.maps.averaging import THRESHOLD
from dualcontrast.maps.cluster_average import STATED_POSES, ClusterAverage
from dualcontrast.maps.particles import MIN_PARTICLES
from dualcontrast.report import meshes
from dualcontrast.report.material import Material
from dualcontrast.report.pictures import data_uri
from dualcontrast.report.plots import Figure, Json, class_colours, figure, line, threshold
from dualcontrast.report.section import Section, Unavailable

PROGRAMS = {"builtin": "the built-in averager"}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


class Map(NamedTuple):
    """One average, as the page shows it."""

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
    no_surface: str  # the reason, where there is none


def section(material: Material) -> Section | None:
    """Make the section of averages; None for pictures."""
    if not material.are_volumes:
        return None
    anchor, title, averages = "averages", "Averages", material.averages
    if isinstance(averages, Unavailable):
        return Section(anchor, title, missing=(averages,))
    colours = class_colours(max(average.cluster.content for average in averages))
    figures: dict[str, Figure] = {"fsc": _correlations(averages, colours)}
    maps = _maps(material, averages, colours, figures)
    assert not isinstance(material.clusters, Unavailable)
    missing = tuple(_left_out(material, material.clusters, len(averages)))
    context = {
        "maps": maps,
        "threshold": THRESHOLD,
        "box": averages[0].box,
        "voxel_size": averages[0].voxel_size,
        "folder": material.run.averages_folder(material.clusters.name),
    }
    return Section(anchor, title, "averages.html", context, figures, missing)


def _left_out(material: Material, clusters: Clusters, averaged: int) -> Iterator[Unavailable]:
    """Yield a reason for clusters without an average: too small, or not averaged yet."""
    small = sum(len(clusters.rows_of(*unit)) < MIN_PARTICLES for unit in clusters.units)
    left, count = len(clusters.units) - small - averaged, len(clusters.units)
    if small:
        verb = "holds" if small == 1 else "hold"
        yield Unavailable(f"{small} of {count} clusters {verb} a single image, which cannot be averaged.")
    if left > 0:
        verb = "has" if left == 1 else "have"
        yield Unavailable(
            f"{left} of {count} clusters {verb} no average yet.", material.clusters_command("average")
        )


def _maps(
    material: Material, averages: list[ClusterAverage], colours: list[str], figures: dict[str, Figure]
) -> list[Map]:
    """Draw every map; the scenes of their surfaces join `figures`."""
    assert not isinstance(material.clusters, Unavailable)
    folder = material.run.averages_folder(material.clusters.name)
    densities = {average.name: read_map(folder / f"{average.name}.mrc")[0] for average in averages}
    surfaces, failures = {}, {}
    for number, (name, density) in enumerate(densities.items()):
        material.options.progress("drawing averages", number, len(averages))
        try:
            surfaces[name] = named_surface(density, None, name)
        except SourceError as error:
            failures[name] = f"{error}."
    places = {
        average.name: meshes.centred(surface, densities[average.name].shape, average.voxel_size)
        for average in averages
        if (surface := surfaces.get(average.name)) is not None
    }
    reach = max((1.05 * float(np.linalg.norm(place, axis=1).max()) for place in places.values()), default=1.0)
    maps = []
    for average in averages:
        name, (content, transformation) = average.name, average.cluster
        picture = ""
        if name in surfaces:
            colour, plain = colours[content - 1], _plain(content, colours)
            mesh = meshes.mesh_of(surfaces[name], places[name], colour, meshes.triangles_each(len(surfaces)))
            figures[f"surface-{name}"] = meshes.scene_of(mesh, reach)
            picture = meshes.picture_of_surface(surfaces[name], places[name], plain, reach)
        maps.append(
            Map(
                name=name,
                content=content,
                transformation=transformation,
                colour=colours[content - 1],
                particles=average.particles,
                resolution=average.resolution,
                how=_how(average),
                likeness=_likeness(average),
                slices=_slices(densities[name]),
                surface=picture,
                figure=f"surface-{name}",
                no_surface=failures.get(name, ""),
            )
        )
    material.options.progress("drawing averages", len(averages), len(averages))
    return maps


def _plain(content: int, colours: list[str]) -> str:
    """Return the colour of a cluster for a picture, which no style sheet reaches."""
    colour = colours[content - 1]
    return PALETTE[content - 1] if colour.startswith("var(") else colour


def _how(average: ClusterAverage) -> str:
    """Say where the poses come from, and which program averaged."""
    found, averaged = (PROGRAMS.get(program, program) for program in (average.poses, average.averaged_by))
    if average.poses == STATED_POSES:
        return f"Poses as stated, averaged by {averaged}."
    if found == averaged:
        return f"Aligned and averaged by {averaged}."
    return f"Aligned by {found}, averaged by {averaged}."


def _likeness(average: ClusterAverage) -> str:
    best = average.best_match
    return "" if best is None else f"most like {best.state}, correlation {best.correlation:.2f}"


def _slices(density: np.ndarray) -> list[str]:
    """Draw the central slices along z, y and x in one contrast."""
    low, high = np.percentile(density, CONTRAST)
    grey = np.round(255 * np.clip((density - low) / ((high - low) or 1), 0, 1)).astype(np.uint8)
    return [data_uri(np.take(grey, len(grey) // 2, axis=axis)) for axis in range(3)]


def _correlations(averages: list[ClusterAverage], colours: list[str]) -> Figure:
    """Draw the Fourier shell correlation of the halves of every average."""
    traces, last = [], 0.0
    for average in averages:
        content, transformation = average.cluster
        frequency = average.frequencies
        last = max(last, float(frequency[-1]))
        name = f"content {content}, transformation {transformation}"
        style = {"dash": DASHES[(transformation - 1) % len(DASHES)]}
        traces.append(line(frequency.round(6).tolist(), list(average.fsc), name, colours[content - 1], line=style))
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
    resolutions = 1 / (last * np.linspace(1, 0.2, 5))
    return [float(f"{value:.2g}") for value in resolutions if value > 0]
