"""What the scores of a run were made with: its probes in words, and numbers of images and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dualcontrast.evaluation.probes import FIT_AT_MOST, NEIGHBOURS, Task, is_test, label_numbers
from dualcontrast.evaluation.results import PooledCounts, Question, ScoringProtocol, TransformationCounts
from dualcontrast.version import __version__

PROBES_IN_WORDS = (
    "fitted on the training split, tested on the test split; transformation: within each content class, averaged "
    "over classes; transformation_pooled: content and transformation as one label, over all images; "
    "linear: logistic regression on unscaled codes, as in the paper; linear_latent: the same on a draw of the "
    f"latents; knn: {NEIGHBOURS} nearest codes, unscaled; mlp: 100 hidden units on standardised codes; "
    f"knn and mlp are fitted on at most {FIT_AT_MOST['mlp']} images; trivial_statistics: linear_standardised on "
    "mean, standard deviation, centre of mass and radial profile of each image"
)


def scoring_protocol(
    table: pd.DataFrame,
    tasks: Mapping[Question, Sequence[Task]],
    *,
    weights: str,
    not_converged: list[str],
    seed: int,
    invariance_images: int,
) -> ScoringProtocol:
    """Count the images and classes that a run was scored on.

    Parameters
    ----------
    table
        As of an ImageSet: `split`, and `content` where known.
    tasks
        The tasks of each question, from `probes.tasks_of`.
    weights, not_converged, seed, invariance_images
        As in `ScoringProtocol`.
    """
    labels, test = label_numbers(table, "content"), is_test(table)
    known = labels >= 0
    counted = known if tasks["content"] else np.ones_like(known)
    return ScoringProtocol(
        weights=weights,
        train_images=int(np.sum(counted & ~test)),
        test_images=int(np.sum(counted & test)),
        classes=len(np.unique(labels[known & ~test])) if known.any() else None,
        transformation=_transformation_counts(tasks["transformation"]),
        transformation_pooled=_pooled_counts(tasks["transformation_pooled"]),
        probe=PROBES_IN_WORDS,
        not_converged=not_converged,
        seed=seed,
        invariance_images=invariance_images,
        dualcontrast=__version__,
    )


def _transformation_counts(tasks: Sequence[Task]) -> TransformationCounts | None:
    if not tasks:
        return None
    train, test = _image_counts(tasks)
    return TransformationCounts(content_classes=len(tasks), train_images=train, test_images=test)


def _pooled_counts(tasks: Sequence[Task]) -> PooledCounts | None:
    if not tasks:
        return None
    (task,) = tasks
    train, test = _image_counts(tasks)
    return PooledCounts(classes=len(np.unique(task.labels[task.train])), train_images=train, test_images=test)


def _image_counts(tasks: Sequence[Task]) -> tuple[int, int]:
    """Count the training and the test images of some tasks."""
    return sum(len(task.train) for task in tasks), sum(len(task.test) for task in tasks)
