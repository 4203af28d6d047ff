"""Pictures of methods side by side: grids of transfers, codes in the plane, and maps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

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
GRIDS_A_ROW, GRID_INCHES = 3, 4.2
METHODS_A_ROW, CODE_INCHES = 2, 2.8
CODES = ("content", "transformation")
POINT = 3.0
LEGEND_COLUMNS = 5  # for each column of methods
MAP_INCHES = 1.5


class Panel(NamedTuple):
    """A map, and what is said of it."""

    density: np.ndarray  # (N, N, N)
    text: str


def draw_transfers(runs: Mapping[str, RunFolder], images: ImageSet, path: Path, title: str) -> list[Path]:
    """Draw figure 3 of the paper for several runs, with the same images giving content and transformation.

    Parameters
    ----------
    runs
        Trained runs on the same images, by what they are called in the picture. Those whose method makes no images
        are left out, with a word.
    images
        The source of these images, opened.
    path
        The PNG to write.
    title
        Stands above all.

    Returns
    -------
    list of Path
        The picture; nothing where there was nothing to draw.
    """
    able = {label: run for label, run in runs.items() if method_named(run.recipe().method.name).has_decoder}
    if not able:
        return []
    columns = min(len(able), GRIDS_A_ROW)
    rows = math.ceil(len(able) / columns)
    text = f"{title}: content from the left-hand columns, transformation from the top rows"
    figure = titled_figure(text, max(GRID_INCHES * columns, 7), (GRID_INCHES + 0.3) * rows + 0.6)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (label, run) in zip(panels, able.items(), strict=False):
        run.attach(images)
        left, top = source_images(run.images(), COUNT, seed=0)
        show_mosaic(axes, with_sources(*grid_of(run.load_method(), run.images(), left, top)), first_apart=True)
        axes.set_title(label, parse_math=False)
    for axes in panels[len(able) :]:
        axes.set_axis_off()
    silent = [label for label in runs if label not in able]
    if silent:
        figure.supxlabel(textwrap.fill(f"Without images, since without a decoder: {', '.join(silent)}", 120))
    save_figure(figure, path)
    return [path]


def draw_codes(runs: Mapping[str, RunFolder], path: Path, title: str) -> list[Path]:
    """Draw both codes of several runs in the plane, coloured by content, as figures 5 and 11 of the paper.

    Parameters
    ----------
    runs
        Trained runs on the same images, with embeddings of their codes, by what they are called in the picture.
    path
        The PNG to write.
    title
        Stands above all.

    Returns
    -------
    list of Path
        The picture.
    """
    columns = min(len(runs), METHODS_A_ROW)
    rows = math.ceil(len(runs) / columns)
    text = f"{title}: t-SNE of codes, coloured by content"
    figure = titled_figure(text, 2 * columns * CODE_INCHES, (CODE_INCHES + 0.3) * rows + 0.6)
    panels = figure.subplots(rows, 2 * columns, squeeze=False).ravel()
    places = iter(panels)
    contents: list[Any] = []
    for label, run in runs.items():
        for code in CODES:
            axes = next(places)
            axes.set_title(textwrap.fill(f"{label}: {code}", 34), fontsize=10, parse_math=False)
            table = read_layout(run, code, "content", None, EMBEDDING)
            axes.set(xticks=[], yticks=[])
            if table is None:
                axes.text(0.5, 0.5, "cannot be laid out", ha="center", va="center", transform=axes.transAxes)
                continue
            scatter(axes, np.asarray(table[["x", "y"]]), table.get("content"), POINT)
            contents = list(table.get("content", []))  # those of the same images in all runs
    for axes in places:
        axes.set_axis_off()
    if 0 < pd.Series(contents).nunique() <= LEGEND_CLASSES:
        add_legend(figure, contents, loc="outside lower center", ncols=LEGEND_COLUMNS * columns)
    save_figure(figure, path)
    return [path]


def draw_maps(rows: Sequence[tuple[str, Sequence[Panel]]], columns: int, path: Path, title: str) -> None:
    """Draw maps as projections along y of what is within a sphere, as figure 6 of the paper.

    Parameters
    ----------
    rows
        What each row is called, and its maps, at most so many as there are columns.
    columns
        Maps a row.
    path
        The PNG to write.
    title
        Stands above all.
    """
    figure = titled_figure(title, MAP_INCHES * columns + 1.6, (MAP_INCHES + 0.45) * len(rows))
    for panels, (label, maps) in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for axes in panels:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        panels[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
        for axes, one in zip(panels, maps, strict=False):
            axes.imshow(
                (one.density * soft_sphere(len(one.density)).numpy()).sum(axis=1), cmap="gray", origin="lower"
            )
            axes.set_title(one.text, fontsize=8, parse_math=False)
    save_figure(figure, path)
