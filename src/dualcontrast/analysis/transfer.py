"""Transfer: hybrids with the content of one image and the transformation of another, and their swap score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.results import SwapScores
from dualcontrast.evaluation.swap import can_swap, describe_swap, require_decoder, swap_score
from dualcontrast.figures.drawing import draw_transfer_grid
from dualcontrast.images import ImageSet
from dualcontrast.methods import Batch, Codes, Method
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder
from dualcontrast.runs.encoding import inference, made_with_weights


@dataclass(frozen=True)
class Transfer:
    """A grid of transfers.

    Attributes
    ----------
    grid : Tensor
        (n, m, C, spatial...): image (i, j) has the content of the i-th content image and the transformation
        of the j-th transformation image.
    content_rows, transformation_rows : tuple of int
        Rows, in the source, of the images that give content (n) and transformation (m).
    figure : pathlib.Path
        The PNG of the grid.
    swap : SwapScores or None
        The swap score, as `swap_score` returns it; None if the labels do not suffice.
    """

    grid: Tensor
    content_rows: tuple[int, ...]
    transformation_rows: tuple[int, ...]
    figure: Path
    swap: SwapScores | None

    def describe(self) -> list[str]:
        """Describe the swap score, one sentence per line."""
        if self.swap is None:
            return ["No swap score: its classifier needs content labels of two classes."]
        return describe_swap(self.swap)


def transfer_grid(method: Method, contents: Batch, transformations: Batch) -> Tensor:
    """Decode every content code with every transformation code.

    Parameters
    ----------
    method
        A method in evaluation mode, on the device of the batches.
    contents, transformations
        The n images that give content, and the m that give transformation, from `method.batches`.

    Returns
    -------
    Tensor
        decode(c_i, z_j) at (i, j), (n, m, C, spatial...).

    Raises
    ------
    MethodError
        The method has no decoder.
    """
    require_decoder(method)
    with torch.no_grad():
        content = method.encode(contents).content
        transformation = method.encode(transformations).transformation
        n, m = len(content), len(transformation)
        images = method.decode(Codes(content.repeat_interleave(m, dim=0), transformation.repeat(n, 1)))
    return images.reshape(n, m, *images.shape[1:])


def transfer(
    run: RunFolder,
    *,
    weights: str = "best",
    count: int = 10,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> Transfer:
    """Draw figure 3 of the paper for a run, and add the swap score to its scores if labels suffice.

    Parameters
    ----------
    run
        A trained run.
    weights
        Which of its weights.
    count
        Largest number of images that give content, and of those that give transformation.
    seed
        Seed of the choice of images and of the swap score.
    device
        Where to compute.
    progress
        Called while the classifier is trained and images are swapped.

    Returns
    -------
    Transfer
        The grid, its source images, its figure and the swap score.

    Raises
    ------
    MethodError
        The run's method has no decoder.
    RunError, SourceError
        The run does not have the weights, or its images are missing or have changed.
    """
    method = run.load_method(weights)
    require_decoder(method)
    images = run.images()
    left, top = source_images(images, count, seed)
    grid, content_images, transformation_images = grid_of(method, images, left, top, seed=seed, device=device)
    figure = run.figure_path("transfer", weights)
    title = f"Transfer by {run.recipe().method.name}"
    draw_transfer_grid(grid, content_images, transformation_images, figure, title)
    swap = None
    if can_swap(images):
        swap = swap_score(method, images, seed=seed, device=device, progress=progress)
        _add_to_scores(run, weights, swap)
    rows = images.table["row"]
    return Transfer(grid, tuple(rows.iloc[left].tolist()), tuple(rows.iloc[top].tolist()), figure, swap)


def grid_of(
    method: Method,
    images: ImageSet,
    left: np.ndarray,
    top: np.ndarray,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode a grid of transfers between images of a set; also return its source images.

    Parameters
    ----------
    method
        A trained method with a decoder; it is left on `device`, in its present mode.
    images
        The set.
    left, top
        Positions in the set of the images that give content (n) and transformation (m).
    seed
        Seed of random draws in the method, if any.
    device
        Where to compute.
    """
    with inference(method, device, seed):
        (contents,) = method.batches(images.select(left), len(left), device)
        (transformations,) = method.batches(images.select(top), len(top), device)
        grid = transfer_grid(method, contents, transformations)
    return grid.cpu(), contents.images.cpu(), transformations.images.cpu()


def source_images(images: ImageSet, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose test images that give content, and others that give transformation, at most `count` of each.

    With content labels, they are one image of each class, in the order of the classes. Without test images, any
    image may be chosen.

    Returns
    -------
    tuple of numpy.ndarray
        Positions in `images`. The second are the same as the first if no other images are left.
    """
    rng = np.random.default_rng(seed)
    test = is_test(images.table)
    order = rng.permutation(np.flatnonzero(test if test.any() else ~test))
    classes = _class_numbers(images.table)[order]
    if (classes < 0).all():
        first, second = order[:count], order[count : 2 * count]
    else:
        chosen = rng.permutation(np.unique(classes[classes >= 0]))[:count]
        order, classes = order[np.isin(classes, chosen)], classes[np.isin(classes, chosen)]
        taken = np.unique(classes, return_index=True)[1]
        order, classes, first = np.delete(order, taken), np.delete(classes, taken), order[taken]
        second = order[np.unique(classes, return_index=True)[1]]
    return first, second if len(second) else first


def _class_numbers(table: pd.DataFrame) -> np.ndarray:
    """Assign numbers to content classes, in the order of their labels, -1 where unknown, (N,)."""
    if "content" not in table:
        return np.full(len(table), -1)
    return np.asarray(pd.factorize(table["content"], sort=True)[0])


def _add_to_scores(run: RunFolder, weights: str, swap: SwapScores) -> None:
    """Add the swap score to the other scores, unless those are of earlier weights."""
    current = made_with_weights(run.scores_path(weights), run, weights)
    scores = run.read_scores(weights) if current else None
    run.write_scores({**(scores or {}), "swap": swap.to_json()}, weights)
