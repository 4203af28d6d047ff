"""Figure 5 of the paper: codes of subtomograms in the plane, by identity and by conformation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from dualcontrast.analysis.embedding import embed, read_layout
from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.output import Made
from dualcontrast.benchmarks.rows import TABLE1
from dualcontrast.benchmarks.runner import places_of
from dualcontrast.benchmarks.simulations import OfSimulation, run_of, trained
from dualcontrast.benchmarks.worker import EMBEDDED, is_trained
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.star import IDENTITY, write_particles
from dualcontrast.errors import RecipeError
from dualcontrast.evaluation.probes import probe, tasks_of
from dualcontrast.figures.drawing import add_legend, save_figure, scatter
from dualcontrast.figures.show import spread
from dualcontrast.figures.volumes import show_slices, spread_slices, titled
from dualcontrast.files import write_text
from dualcontrast.images import open_images
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, prepared_images
from dualcontrast.runs.encoding import codes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

ALONE = "harmony"  # the method that is trained on one identity alone as well
SAMPLES, SLICES, SLICES_AT = 4, 8, 3  # (d)
COLUMNS, INCHES, POINT = 3, 3.6, 4.0

Code = Literal["content", "transformation"]


class View(NamedTuple):
    """What a panel shows: a code of a method, of which images, and the label that colours tell."""

    letter: str
    method: str
    code: Code
    by: Code
    alone: bool = False  # trained on one identity alone

    @property
    def of_identity(self) -> bool:
        """Whether the images of one identity are shown."""
        return self.by == "transformation"

    def title(self, identity: str) -> str:
        """Return what the panel is called."""
        title = f"({self.letter}) {TABLE1[self.method].label}, {'c' if self.code == 'content' else 'z'}"
        if self.alone:
            return f"{title}, trained on {identity} alone"
        return f"{title}, {identity}" if self.of_identity else title


# The letters are the paper's; (d) are the slices. What follows (f) is told there, or is of this package.
VIEWS = (
    View("a", "spatial_vae", "content", "content"),
    View("b", "harmony", "content", "content"),
    View("c", "dualcontrast", "content", "content"),
    View("e", ALONE, "content", "transformation", alone=True),
    View("f", "harmony", "transformation", "content"),
    View("g", "dualcontrast", "transformation", "transformation"),
    View("h", "dualcontrast_plus", "content", "content"),
    View("i", "dualcontrast_plus", "transformation", "transformation"),
)


class Figure5(Made):
    """The figure as one mapping a panel, the CSV of all points, and the picture.

    A row says what a panel shows, of how many images, and how well its colours are told by the code itself.
    """

    def told(self) -> list[str]:
        """Return one line a panel."""
        told = []
        for row in self.rows:
            line = f"  {row['panel']:<50} {row['images']:>6,} images"
            if row["accuracy"] is not None:
                line += f", {row['by']} told in {row['accuracy']:.3f} (chance {row['chance']:.3f})"
            told.append(line)
        return told


def figure5(
    asked: OfSimulation,
    *,
    results: Path,
    work: Path,
    out: Path,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Figure5:
    """Make figure 5: train what is not trained yet, lay out codes of test images by UMAP, and show subtomograms.

    The methods are those of Table 1, with its run folders; Harmony is trained once more, on one identity alone.

    Parameters
    ----------
    asked
        What it is made of.
    results, work, out, jobs, device
        As in `benchmark.benchmark`.
    progress
        Told of cells, and of layouts.

    Raises
    ------
    DualContrastError
        The STAR is not of a simulation, or has no such identity; or as `plan_of` and `embed` do.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM; another call goes on.
    """
    places = places_of(device, jobs)
    _check_conformations(asked)
    cells = asked.cells([view.method for view in VIEWS])
    alone = _cell_alone(cells[ALONE], asked, work)
    failed = trained([*cells.values(), alone], results, work, places, progress)
    runs = {view: run_of(work, alone if view.alone else cells[view.method]) for view in VIEWS}
    points = {view: _laid_out(run, view, asked, progress) for view, run in runs.items() if is_trained(run)}
    rows = [_row(view, runs[view], len(table), asked) for view, table in points.items()]
    files = []
    if points:
        files = [out / "figure5.csv", out / "figure5.png"]
        named = [table.assign(panel=view.letter) for view, table in points.items()]
        write_text(files[0], pd.concat(named).to_csv(index=False))
        _draw(points, _samples(asked), asked.identity, files[1])
    return Figure5(rows, files, failed)


def _check_conformations(asked: OfSimulation) -> None:
    own = [state for state in asked.simulation().settings.states if state.identity == asked.identity]
    if len(own) < 2:
        raise RecipeError(
            f"{asked.star}: {asked.identity} has a single conformation, so that there is nothing to colour; give "
            "another `identity`"
        )


def _cell_alone(cell: Cell, asked: OfSimulation, work: Path) -> Cell:
    """Return the cell of a method on the subtomograms of one identity, of which it writes a STAR file."""
    particles = read_particles(asked.star)
    own = particles.labels(IDENTITY) == asked.identity
    star = work / f"{asked.identity}-{cell.digest}.star"
    write_particles(star, particles.table[own], particles.optics, particles.others)
    options = {**cell.options, "datadir": str(Path(asked.star).resolve().parent)}
    images = prepared_images(open_images(star, **options), asked.limit, asked.seed)
    return replace(
        cell,
        table="figure5",
        data=asked.identity,
        source=str(star.resolve()),
        options=options,
        data_digest=images.digest(),
    )


def _laid_out(run: RunFolder, view: View, asked: OfSimulation, progress: Progress) -> pd.DataFrame:
    """Lay out a code, and return the points with the rows and the labels of their images."""
    only = asked.identity if view.of_identity else None
    embed(run, code=view.code, by=view.by, only=only, limit=EMBEDDED, seed=asked.seed, progress=progress)
    points = read_layout(run, view.code, view.by, only, "umap")
    assert points is not None
    return points


def _row(view: View, run: RunFolder, images: int, asked: OfSimulation) -> dict[str, Any]:
    """Return what is told of a panel: how well a linear probe tells by the code what its colours tell."""
    codes = codes_of(run)
    tasks = tasks_of(codes.table)[view.by]
    within = asked.identity if view.of_identity else ""
    task = next((task for task in tasks if task.within == within), None)  # none where a limit left too few images
    return {
        "panel": view.title(asked.identity),
        "method": view.method,
        "code": view.code,
        "by": view.by,
        "images": images,
        "accuracy": round(probe("linear", getattr(codes, view.code), task).accuracy, 4) if task else None,
        "chance": round(task.chance(), 4) if task else None,
    }


def _samples(asked: OfSimulation) -> tuple[Tensor, list[str]]:
    """Return some subtomograms as they are, (n, 1, N, N, N), of as many states, and their names."""
    images = open_images(asked.star)
    chosen = spread(images.table, SAMPLES, asked.seed)
    shown = images.table.iloc[chosen]
    names = [f"{row.content} {row.transformation}" for row in shown.itertuples()]
    return images.read(chosen), names


def _draw(
    points: Mapping[View, pd.DataFrame], samples: tuple[Tensor, list[str]], identity: str, path: Path
) -> None:
    """Draw the panels in the order of their letters, the slices as (d)."""
    panels = len(VIEWS) + 1
    lines = math.ceil(panels / COLUMNS)
    title = "UMAP of the codes of test images, and slices of subtomograms along z"
    figure = titled(title, COLUMNS * INCHES, lines * (INCHES + 0.7))
    grid = figure.add_gridspec(lines, COLUMNS)
    places = [grid[divmod(number, COLUMNS)] for number in range(panels)]
    _draw_slices(figure, places.pop(SLICES_AT), *samples)
    for place, view in zip(places, VIEWS, strict=True):
        axes = figure.add_subplot(place)
        axes.set_title(textwrap.fill(view.title(identity), 40), fontsize=10, parse_math=False)
        axes.set(xticks=[], yticks=[])
        if view not in points:
            axes.text(0.5, 0.5, "not trained", ha="center", va="center", transform=axes.transAxes)
            continue
        labels = points[view][view.by]
        scatter(axes, np.asarray(points[view][["x", "y"]]), labels, POINT)
        add_legend(axes, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=8)
    save_figure(figure, path)


def _draw_slices(figure: Figure, place: SubplotSpec, volumes: Tensor, names: list[str]) -> None:
    for row, (volume, name) in enumerate(zip(volumes, names, strict=True)):
        axes = figure.add_subplot(place.subgridspec(len(names), 1)[row])
        stack = volume[0].numpy()
        show_slices(axes, stack[spread_slices(len(stack), SLICES)])
        axes.set_title(f"(d) {name}" if not row else name, fontsize=8, parse_math=False)
