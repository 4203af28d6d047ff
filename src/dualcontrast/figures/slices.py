"""Figures of volumes as rows of slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from dualcontrast.figures.drawing import INCHES, save_figure, titled_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTRAST = (0.1, 99.9)  # percentiles of a row's voxels that are drawn black and white
LONGEST_NAME = 32  # characters in a line of a row's name


def draw_slices(
    volumes: Tensor | Sequence[Tensor], names: Sequence[str], path: str | Path, title: str, slices: int = 8
) -> None:
    """Draw each volume as a row of slices along z, as in figures 13, 15 and 16 of the paper.

    The slices are evenly spaced. Their indices, from 0, stand above them where they differ from those of the row
    above. Each row has one contrast, from the 0.1st to the 99.9th percentile of its slices.

    Parameters
    ----------
    volumes
        (N, 1, D, H, W), or N volumes (1, D, H, W) of any sizes.
    names
        One per volume, to the left of its row.
    path
        The PNG to write.
    title
        Stands above the figure.
    slices
        How many slices of a volume are shown; all if it has fewer.
    """
    stacks = [volume.detach().cpu().numpy()[0] for volume in volumes]
    positions = [slice_positions(len(stack), slices) for stack in stacks]
    numbered = [i == 0 or positions[i] != positions[i - 1] for i in range(len(positions))]
    texts = [_shortened(name) for name in names]
    left = 0.4 + 0.07 * max((len(line) for text in texts for line in text.splitlines()), default=0)
    heights = [INCHES * stack.shape[1] / stack.shape[2] for stack in stacks]
    height = sum(heights) + 0.06 * len(stacks) + 0.2 * sum(numbered)
    figure = titled_figure(title, 1.06 * INCHES * slices + left, height)
    rows = figure.subplots(len(stacks), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, stack, shown, text, has_numbers in zip(rows, stacks, positions, texts, numbered, strict=True):
        show_slices(axes, stack[shown])
        axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, parse_math=False)
        if has_numbers:
            _add_indices(axes, shown, stack.shape[2])
    save_figure(figure, path)


def slice_positions(depth: int, slices: int) -> list[int]:
    """Choose evenly spaced slices: the middle one of each of `slices` equal parts of the depth."""
    count = min(depth, slices)
    return [int((i + 0.5) * depth / count) for i in range(count)]


def show_slices(axes: Axes, slices: np.ndarray) -> None:
    """Show slices (n, H, W) side by side on white, in one contrast."""
    low, high = np.percentile(slices, CONTRAST)
    if low == high:  # a very small object on a constant background
        low, high = slices.min(), slices.max()
    gap = np.full((slices.shape[1], _gap(slices.shape[2])), np.nan)
    mosaic = np.hstack([part for picture in slices for part in (picture, gap)][:-1])
    axes.imshow(mosaic, cmap="gray", vmin=low, vmax=high)
    axes.set_anchor("W")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _add_indices(axes: Axes, positions: Sequence[int], width: int) -> None:
    centres = (width - 1) / 2 + np.arange(len(positions)) * (width + _gap(width))
    axes.xaxis.tick_top()
    axes.set_xticks(centres, [f"z = {positions[0]}", *(str(position) for position in positions[1:])], fontsize=8)


def _gap(width: int) -> int:
    return max(1, width // 16)


def _shortened(name: str) -> str:
    """Cut the lines of a name to the length that fits to the left of a row."""
    lines = name.splitlines()
    return "\n".join(line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 3]}..." for line in lines)
