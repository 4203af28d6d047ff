"""Figures of pairs, transfers and embeddings, and what all figures share; matplotlib draws them as PNG."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from dualcontrast.errors import MethodError
from dualcontrast.files import atomic_write
from dualcontrast.methods import Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
INCHES = 0.8  # side of an image in a mosaic
NARROWEST = 5.0  # inches; leaves room for a title
# Ten colours that can be told apart with any colour vision: M. A. Petroff, arXiv:2107.02270.
PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"]
PALETTE += ["#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
UNKNOWN = "#dddddd"
LEGEND_CLASSES = 20

Colour = str | tuple[float, float, float, float]
Labels = Sequence[object] | pd.Series | np.ndarray  # one per point


def picture_of(image: Tensor) -> np.ndarray:
    """Convert an image to the form that imshow takes; a volume is shown by its central slice along z.

    Parameters
    ----------
    image
        A picture (C, H, W), clipped to [0, 1], or a volume (C, D, H, W) of any range.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) for three channels, else (H, W), the mean over channels. Values are in [0, 1]; the slice of a
        volume is scaled from its minimum to its maximum.
    """
    pixels = image.detach().cpu().numpy().astype(np.float64)
    if pixels.ndim == 4:
        pixels = pixels[:, pixels.shape[1] // 2]
        pixels -= pixels.min()
        pixels /= pixels.max() or 1
    pixels = pixels.clip(0, 1)
    return np.asarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels.mean(axis=0))


def draw_pairs(pairs: Sequence[Pair], path: str | Path, count: int = 8) -> None:
    """Draw the pairs that a method contrasts, as in figures 2 and 9 of the paper: one pair per column.

    Parameters
    ----------
    pairs
        The kinds of pairs that `Method.pairs` returns.
    path
        The PNG to write.
    count
        Number of pairs of each kind.

    Raises
    ------
    MethodError
        There are no pairs.
    """
    if not pairs:
        raise MethodError("the method makes no contrastive pairs; choose one that does, such as dualcontrast")
    columns = min(count, len(pairs[0].first))
    width = max(INCHES * columns + 0.7, NARROWEST)
    figure = new_figure(width, (2 * INCHES + 0.5) * len(pairs))
    for axes, pair in zip(figure.subplots(len(pairs), 1, squeeze=False)[:, 0], pairs, strict=True):
        height = show_mosaic(axes, [pair.first[:count], pair.second[:count]])
        axes.set_yticks([height / 4, 3 * height / 4], ["first", "second"])
        axes.set_title(textwrap.fill(pair.name, int(11 * width)), fontsize=11, parse_math=False)
    save_figure(figure, path)


def draw_transfer_grid(
    grid: Tensor, content_images: Tensor, transformation_images: Tensor, path: str | Path, title: str
) -> None:
    """Draw a grid of transfers, as in figure 3 of the paper: one content per row, one transformation per column.

    Parameters
    ----------
    grid
        (n, m, C, spatial...): image (i, j) has the content of the i-th content image and the transformation of
        the j-th transformation image.
    content_images, transformation_images
        The images that the codes come from, (n, C, spatial...) for the left-hand column and (m, C, spatial...)
        for the top row.
    path
        The PNG to write.
    title
        Stands above the figure.
    """
    rows = with_sources(grid, content_images, transformation_images)
    figure = new_figure(max(INCHES * len(rows[0]) + 0.5, NARROWEST), max(INCHES * len(rows) + 0.9, 3.6))
    axes = figure.subplots()
    show_mosaic(axes, rows, first_apart=True)
    axes.set_title(title, parse_math=False)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("transformation from the top row")
    axes.set_ylabel("content from the left-hand column")
    save_figure(figure, path)


def with_sources(grid: Tensor, content_images: Tensor, transformation_images: Tensor) -> list[list[Tensor | None]]:
    """Add the images that gave the codes to a grid of transfers, as its first row and first column."""
    rows: list[list[Tensor | None]] = [[None, *transformation_images]]
    return rows + [[content, *row] for content, row in zip(content_images, grid, strict=True)]


def draw_embedding(points: np.ndarray, labels: Labels | None, path: str | Path, title: str) -> None:
    """Draw points in the plane, coloured by label.

    Up to ten classes have colours that can be told apart with any colour vision; more share a continuous map.
    With more than twenty, the figure states their number instead of a legend. Missing labels are grey.

    Parameters
    ----------
    points
        (N, 2).
    labels
        One per point, or None.
    path
        The PNG to write.
    title
        Stands above the figure.
    """
    figure = new_figure(7.0, 5.5)
    axes = figure.subplots()
    axes.set_title(title, parse_math=False)
    scatter(axes, points, labels, np.clip(20_000 / max(len(points), 1), 5, 40))
    if labels is not None:
        classes = pd.Series(labels).nunique()
        if classes > LEGEND_CLASSES:
            axes.set_xlabel(f"{classes} classes, one colour each")
        else:
            add_legend(axes, labels, loc="upper left", bbox_to_anchor=(1, 1))
    save_figure(figure, path)


def scatter(axes: Axes, points: np.ndarray, labels: Labels | None, size: float) -> None:
    """Show points in the plane, coloured by label; those without a label are grey."""
    numbers, names = pd.factorize(pd.Series(np.zeros(len(points)) if labels is None else labels), sort=True)
    colours = [*colours_of(len(names)), UNKNOWN]
    order = np.random.default_rng(0).permutation(len(points))  # so that no class covers the others
    chosen = [colours[number] for number in numbers[order]]
    axes.scatter(points[order, 0], points[order, 1], s=size, c=chosen, linewidths=0)
    axes.set_aspect("equal", "datalim")
    axes.set(xticks=[], yticks=[])


def draw_counts(
    counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], path: str | Path, title: str
) -> None:
    """Draw counts as a table; a cell is the darker, the larger its share of the row.

    Parameters
    ----------
    counts
        (n, m).
    rows, columns
        Their names.
    path
        The PNG to write.
    title
        Stands above the figure.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [textwrap.shorten(name, 24, placeholder="...") for name in columns]
    width = max(0.5 * len(columns) + 0.08 * max(map(len, rows)) + 1.0, 5.0)
    figure = new_figure(width, 0.3 * len(rows) + 0.07 * max(map(len, names)) + 1.0)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    figure.suptitle(textwrap.fill(title, int(11 * width)), parse_math=False)
    axes.set_xticks(range(len(columns)), names, rotation=90, parse_math=False)
    axes.set_yticks(range(len(rows)), rows)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    save_figure(figure, path)


def colours_of(classes: int) -> list[Colour]:
    """Choose a colour for each class: ten that can be told apart, or else steps of a continuous map."""
    from matplotlib import colormaps

    if classes <= len(PALETTE):
        return [*PALETTE[:classes]]
    return [(r, g, b, a) for r, g, b, a in colormaps["turbo"](np.linspace(0.03, 0.97, classes)).tolist()]


def add_legend(where: Axes | Figure, labels: Labels, **options: Any) -> None:
    """Add a legend of the colours that `scatter` gives to labels; `options` are those of matplotlib's legend."""
    from matplotlib.lines import Line2D

    numbers, names = pd.factorize(pd.Series(labels), sort=True)
    texts = [textwrap.shorten(str(name), 24, placeholder="...") for name in names]
    texts += ["unknown"] * bool((numbers < 0).any())
    colours = [*colours_of(len(names)), UNKNOWN][: len(texts)]
    handles = [Line2D([], [], linestyle="", marker="o", color=colour) for colour in colours]
    legend = where.legend(handles, texts, frameon=False, handlelength=1, handletextpad=0.3, **options)
    for text in legend.get_texts():
        text.set_parse_math(False)


def show_mosaic(axes: Axes, rows: Sequence[Sequence[Tensor | None] | Tensor], first_apart: bool = False) -> int:
    """Show images side by side on white, None as a blank, and return the mosaic's height in pixels.

    With `first_apart`, the gap after the first row and the first column is wider.
    """
    pictures = [[None if image is None else _coloured(image) for image in row] for row in rows]
    height, width = next(p.shape[:2] for row in pictures for p in row if p is not None)
    gap = max(1, max(height, width) // 16)
    apart = 2 * gap if first_apart else 0
    mosaic = np.ones((len(rows) * (height + gap) - gap + apart, len(pictures[0]) * (width + gap) - gap + apart, 3))
    for i, row in enumerate(pictures):
        top = i * (height + gap) + (apart if i else 0)
        for j, picture in enumerate(row):
            left = j * (width + gap) + (apart if j else 0)
            if picture is not None:
                mosaic[top : top + height, left : left + width] = picture
    axes.imshow(mosaic)
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return len(mosaic)


def _coloured(image: Tensor) -> np.ndarray:
    """Convert an image to a picture (H, W, 3)."""
    picture = picture_of(image)
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


def new_figure(width: float, height: float) -> Figure:
    """Create a figure of a size in inches, independent of any window and global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, completely or not at all."""
    with atomic_write(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box replaces the letter
        figure.savefig(temporary)


def titled_figure(title: str, width: float, height: float) -> Figure:
    """Create a figure with a title above its panels, which take `width` by `height` inches."""
    wide = max(width, NARROWEST)
    text = wrapped(title, int(11 * wide))
    figure = new_figure(wide, height + 0.2 * text.count("\n") + 0.35)
    figure.suptitle(text, parse_math=False, fontsize=11)
    return figure


def wrapped(text: str, width: int) -> str:
    """Wrap each line of a text."""
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())
