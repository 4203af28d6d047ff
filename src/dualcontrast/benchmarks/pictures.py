"""Figures of methods side by side: transfer grids, codes in the plane, and maps."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualcontrast.analysis.embedding import read_layout
from dualcontrast.analysis.transfer import grid_of, source_images
from dualcontrast.benchmarks.cells import EMBEDDING
from dualcontrast.figures.drawing import (
    LEGEND_CLASSES,
    add_legend,
    save_figure,
    scatter,
    show_mosaic,
    titled_figure,
    with_sources,
)
from dualcontrast.images import ImageSet
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.methods import method_named
from dualcontrast.runs import RunFolder

COUNT = 10  # images along each side of a grid, one of each digit
GRIDS_PER_ROW, GRID_INCHES = 3, 4.2
METHODS_PER_ROW, CODE_INCHES = 2, 2.8
CODES = ("content", "transformation")
POINT = 3.0
LEGEND_COLUMNS = 5  # per column of methods
MAP_INCHES = 1.5


class Panel(NamedTuple):
    """A map and its caption."""

    density: np.ndarray  # (N, N, N)
    text: str


def draw_transfers(runs: Mapping[str, RunFolder], images: ImageSet, path: Path, title: str) -> list[Path]:
    """Draw figure 3 of the paper for several runs: the same images give content and transformation.

    Parameters
    ----------
    runs
        Trained runs on the same images, by their label in the figure. Methods without a decoder are left out,
        with a note.
    images
        The opened source of these images.
    path
        The PNG file to write.
    title
        The title of the figure.

    Returns
    -------
    list of Path
        The figure; empty if no method has a decoder.
    """
    able = {label: run for label, run in runs.items() if method_named(run.recipe().method.name).has_decoder}
    if not able:
        return []
    columns = min(len(able), GRIDS_PER_ROW)
    text = f"{title}: content from the left-hand columns, transformation from the top rows"
    figure, panels = _panels(text, len(able), columns, max(GRID_INCHES * columns, 7), GRID_INCHES)
    for axes, (label, run) in zip(panels, able.items(), strict=True):
        run.attach(images)
        left, top = source_images(run.images(), COUNT, seed=0)
        show_mosaic(axes, with_sources(*grid_of(run.load_method(), run.images(), left, top)), first_apart=True)
        axes.set_title(label, parse_math=False)
    without = [label for label in runs if label not in able]
    if without:
        figure.supxlabel(textwrap.fill(f"Without a decoder, and so without images: {', '.join(without)}", 120))
    save_figure(figure, path)
    return [path]


def draw_codes(runs: Mapping[str, RunFolder], path: Path, title: str) -> list[Path]:
    """Draw both codes of several runs in the plane, coloured by content, as in figures 5 and 11 of the paper.

    Parameters
    ----------
    runs
        Trained runs on the same images, with embeddings of their codes, by their label in the figure.
    path
        The PNG file to write.
    title
        The title of the figure.

    Returns
    -------
    list of Path
        The figure.
    """
    columns = len(CODES) * min(len(runs), METHODS_PER_ROW)
    text = f"{title}: t-SNE of codes, coloured by content"
    figure, panels = _panels(text, len(CODES) * len(runs), columns, CODE_INCHES * columns, CODE_INCHES)
    contents: list[Hashable] = []
    for axes, (label, code) in zip(panels, itertools.product(runs, CODES), strict=True):
        axes.set_title(textwrap.fill(f"{label}: {code}", 34), fontsize=10, parse_math=False)
        axes.set(xticks=[], yticks=[])
        table = read_layout(runs[label], code, "content", None, EMBEDDING)
        if table is None:
            axes.text(0.5, 0.5, "no embedding", ha="center", va="center", transform=axes.transAxes)
            continue
        scatter(axes, np.asarray(table[["x", "y"]]), table.get("content"), POINT)
        contents = list(table.get("content", []))  # the same in all runs
    if 0 < pd.Series(contents).nunique() <= LEGEND_CLASSES:
        columns_of_legend = LEGEND_COLUMNS * columns // len(CODES)
        add_legend(figure, contents, loc="outside lower center", ncols=columns_of_legend)
    save_figure(figure, path)
    return [path]


def _panels(title: str, count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels in rows of `columns`.

    Parameters
    ----------
    width
        Of the figure, in inches.
    height
        Of a panel, in inches, without its title.
    """
    rows = math.ceil(count / columns)
    figure = titled_figure(title, width, (height + 0.3) * rows + 0.6)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def draw_maps(rows: Sequence[tuple[str, Sequence[Panel]]], columns: int, path: Path, title: str) -> None:
    """Draw maps as projections along y, within a soft sphere, as in figure 6 of the paper.

    Parameters
    ----------
    rows
        The label of each row, and its maps, at most as many as there are columns.
    columns
        Maps in a row.
    path
        The PNG file to write.
    title
        The title of the figure.
    """
    figure = titled_figure(title, MAP_INCHES * columns + 1.6, (MAP_INCHES + 0.45) * len(rows))
    for panels, (label, maps) in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for axes in panels:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        panels[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
        for axes, panel in zip(panels, maps, strict=False):
            masked = panel.density * soft_sphere(len(panel.density)).numpy()
            axes.imshow(masked.sum(axis=1), cmap="gray", origin="lower")
            axes.set_title(panel.text, fontsize=8, parse_math=False)
    save_figure(figure, path)
