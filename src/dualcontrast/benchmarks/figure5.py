"""Figure 5 of the paper: codes of subtomograms in the plane, by identity and by conformation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from dualcontrast.analysis.embedding import embed, read_layout
from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.figures import FigureRequest, run_folder, train_cells
from dualcontrast.benchmarks.outcome import Outcome, Value
from dualcontrast.benchmarks.rows import TABLE1
from dualcontrast.benchmarks.runner import Setup
from dualcontrast.benchmarks.worker import EMBEDDED, is_trained
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.star import IDENTITY, write_particles
from dualcontrast.errors import RecipeError
from dualcontrast.evaluation.probes import probe, tasks_of
from dualcontrast.figures.drawing import add_legend, save_figure, scatter, titled_figure
from dualcontrast.figures.sampling import balanced_sample
from dualcontrast.figures.slices import show_slices, slice_positions
from dualcontrast.files import write_text
from dualcontrast.images import open_images
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, prepared_images
from dualcontrast.runs.encoding import codes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

ALONE = "harmony"  # the method that is also trained on one identity alone
SAMPLES, SLICES, SLICES_AT = 4, 8, 3  # (d)
COLUMNS, INCHES, POINT = 3, 3.6, 4.0

Code = Literal["content", "transformation"]


class View(NamedTuple):
    """What a panel shows: a code of a method, of some images, coloured by a label."""

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
        """Return the title of the panel."""
        title = f"({self.letter}) {TABLE1[self.method].label}, {'c' if self.code == 'content' else 'z'}"
        if self.alone:
            return f"{title}, trained on {identity} alone"
        return f"{title}, {identity}" if self.of_identity else title


# The letters are those of the paper, up to (f); (d) shows slices. The paper describes (g); (h) and (i) are ours.
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


@dataclass(frozen=True)
class PanelRow:
    """The numbers of a panel: how well a linear probe predicts its colours from its code.

    Attributes
    ----------
    panel, method, code, by : str
        The title of the panel, the method, the code that is laid out, and the label that colours it.
    images : int
        Images in the panel.
    accuracy, chance : float or None
        Test accuracy of the probe, and its chance level; None if there are too few images.
    """

    panel: str
    method: str
    code: Code
    by: Code
    images: int
    accuracy: float | None
    chance: float | None

    def describe(self) -> str:
        """Write the numbers as a line."""
        line = f"  {self.panel:<50} {self.images:>6,} images"
        if self.accuracy is None:
            return line
        return f"{line}, {self.by} predicted in {self.accuracy:.3f} (chance {self.chance:.3f})"

    def as_dict(self) -> dict[str, Value]:
        """Convert the numbers to plain values."""
        return asdict(self)


def make_figure5(request: FigureRequest, setup: Setup, progress: Progress = silent) -> Outcome[PanelRow]:
    """Make figure 5: train what is not trained yet, embed the codes of test images by UMAP, and show subtomograms.

    The methods are those of Table 1, with its run folders; Harmony is trained once more, on one identity alone.

    Parameters
    ----------
    request
        The simulation, and how the methods are trained.
    setup
        Folders and devices.
    progress
        Called as cells and embeddings finish.

    Raises
    ------
    DualContrastError
        The STAR file does not belong to a simulation, or the simulation has no such identity; see also `make_plan`
        and `embed`.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM; another call resumes.
    """
    _require_conformations(request)
    cells = request.cells([view.method for view in VIEWS])
    alone = _cell_alone(cells[ALONE], request, setup.work)
    failures = train_cells([*cells.values(), alone], setup, progress)
    runs = {view: run_folder(alone if view.alone else cells[view.method], setup) for view in VIEWS}
    points = {view: _embedding(run, view, request, progress) for view, run in runs.items() if is_trained(run)}
    rows = [_row(view, runs[view], len(table), request) for view, table in points.items()]
    files = []
    if points:
        files = [setup.out / "figure5.csv", setup.out / "figure5.png"]
        panels = [table.assign(panel=view.letter) for view, table in points.items()]
        write_text(files[0], pd.concat(panels).to_csv(index=False))
        _draw(points, _samples(request), request.identity, files[1])
    return Outcome(rows, [row.describe() for row in rows], files, failures)


def _require_conformations(request: FigureRequest) -> None:
    states = request.simulation().settings.states
    if sum(state.identity == request.identity for state in states) < 2:
        raise RecipeError(
            f"{request.star}: {request.identity} has a single conformation, so there is nothing to colour; choose "
            "another `identity`"
        )


def _cell_alone(cell: Cell, request: FigureRequest, work: Path) -> Cell:
    """Make the cell of a method on the subtomograms of one identity, and write their STAR file."""
    particles = read_particles(request.star)
    chosen = particles.labels(IDENTITY) == request.identity
    star = work / f"{request.identity}-{cell.digest}.star"
    write_particles(star, particles.table[chosen], particles.optics, particles.others)
    options = {**cell.options, "datadir": str(Path(request.star).resolve().parent)}
    images = prepared_images(open_images(star, **options), request.limit, request.seed)
    return replace(
        cell,
        table="figure5",
        data=request.identity,
        source=str(star.resolve()),
        options=options,
        data_digest=images.digest(),
    )


def _embedding(run: RunFolder, view: View, request: FigureRequest, progress: Progress) -> pd.DataFrame:
    """Embed a code in the plane; return the points with the rows and labels of their images."""
    only = request.identity if view.of_identity else None
    embed(run, code=view.code, by=view.by, only=only, limit=EMBEDDED, seed=request.seed, progress=progress)
    points = read_layout(run, view.code, view.by, only, "umap")
    assert points is not None
    return points


def _row(view: View, run: RunFolder, images: int, request: FigureRequest) -> PanelRow:
    """Measure how well a linear probe predicts the colours of a panel from its code."""
    codes = codes_of(run)
    tasks = tasks_of(codes.table)[view.by]
    within = request.identity if view.of_identity else ""
    task = next((task for task in tasks if task.content_class == within), None)  # None if there are too few images
    return PanelRow(
        panel=view.title(request.identity),
        method=view.method,
        code=view.code,
        by=view.by,
        images=images,
        accuracy=round(probe("linear", getattr(codes, view.code), task).accuracy, 4) if task else None,
        chance=round(task.chance(), 4) if task else None,
    )


def _samples(request: FigureRequest) -> tuple[Tensor, list[str]]:
    """Read subtomograms of different states, (n, 1, N, N, N), unbinned, and their names."""
    images = open_images(request.star)
    chosen = balanced_sample(images.table, SAMPLES, request.seed)
    shown = images.table.iloc[chosen]
    names = [f"{row.content} {row.transformation}" for row in shown.itertuples()]
    return images.read(chosen), names


def _draw(
    points: Mapping[View, pd.DataFrame], samples: tuple[Tensor, list[str]], identity: str, path: Path
) -> None:
    """Draw the panels in the order of their letters; (d) shows slices."""
    panels = len(VIEWS) + 1
    lines = math.ceil(panels / COLUMNS)
    title = "UMAP of the codes of test images, and slices of subtomograms along z"
    figure = titled_figure(title, COLUMNS * INCHES, lines * (INCHES + 0.7))
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
        show_slices(axes, stack[slice_positions(len(stack), SLICES)])
        axes.set_title(f"(d) {name}" if not row else name, fontsize=8, parse_math=False)
