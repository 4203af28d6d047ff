"""How well content and transformation are told from either code, and from trivial statistics of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import pandas as pd

from dualcontrast.evaluation.image_statistics import statistics_of
from dualcontrast.evaluation.probes import (
    FIT_AT_MOST,
    NEIGHBOURS,
    PROBES,
    ProbeResult,
    Task,
    is_test,
    label_numbers,
    probe,
)
from dualcontrast.images import ImageSet
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import SavedCodes

Factor = Literal["content", "transformation"]

# What is asked of the codes, and the factor that it is asked of.
QUESTIONS: dict[str, Factor] = {
    "content": "content",
    "transformation": "transformation",
    "transformation_pooled": "transformation",
}
SEED = 0  # of draws in scoring; the same whatever a run's own seed, so that runs are scored alike
PART_PROBES = ("linear", "knn")
PROTOCOL = (
    "fitted on the training split, tested on the test split; transformation: within each content class, averaged "
    "over classes; transformation_pooled: content and transformation as one label, over all images; "
    "linear: logistic regression on unscaled codes, as in the paper; linear_latent: the same on a draw of the "
    f"latents; knn: {NEIGHBOURS} nearest codes, unscaled; mlp: 100 hidden units on standardised codes; "
    f"knn and mlp are fitted on at most {FIT_AT_MOST['mlp']} images; trivial_statistics: linear_standardised on "
    "mean, standard deviation, centre of mass and radial profile of each image"
)


@dataclass(frozen=True)
class FactorScore:
    """How well one factor is told from either code, by one probe.

    Attributes
    ----------
    factor : {"content", "transformation"}
        What is told.
    tasks : sequence of Task
        One or more, which the score is the mean of.
    content_results, transformation_results : sequence of ProbeResult
        What the probe achieved in each task, on the content code and on the transformation code.
    """

    factor: Factor
    tasks: Sequence[Task]
    content_results: Sequence[ProbeResult]
    transformation_results: Sequence[ProbeResult]

    @property
    def from_content(self) -> float:
        """Test accuracy from the content code: D(c|c) of the paper's section 4, or D(z|c)."""
        return mean_accuracy(self.content_results)

    @property
    def from_transformation(self) -> float:
        """Test accuracy from the transformation code: D(c|z) of the paper's section 4, or D(z|z)."""
        return mean_accuracy(self.transformation_results)

    @property
    def chance(self) -> float:
        """Test accuracy of the most common training class."""
        return float(np.mean([task.chance() for task in self.tasks]))

    @property
    def converged(self) -> bool:
        """Whether every logistic regression came to its optimum."""
        return all(result.converged for result in (*self.content_results, *self.transformation_results))

    @property
    def gap(self) -> float:
        """The factor's own code less the other one; negative where the codes are the wrong way round."""
        difference = self.from_content - self.from_transformation
        return difference if self.factor == "content" else -difference

    @property
    def sap(self) -> float:
        """The paper's separated attribute predictability, |gap|: it rewards swapped codes as well."""
        return abs(self.gap)


def score_codes(
    codes: SavedCodes,
    tasks: Mapping[str, Sequence[Task]],
    *,
    seed: int = SEED,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score codes by every probe.

    Parameters
    ----------
    codes
        Codes and latents of a set of images.
    tasks
        What to tell, as `probes.tasks_of` makes it of the codes' table.
    seed
        Of the probes.
    progress
        Told of the probes fitted.

    Returns
    -------
    dict
        `content`, `transformation` and `transformation_pooled`: `from_content`, `from_transformation`, `sap`,
        `gap` and `chance` by the paper's linear probe, or None where there is nothing to tell. The second is
        the mean over content classes, of which `by_content` has, by name, `from_content`,
        `from_transformation`, `chance` and `test_images`. `probes`: by these three and by probe,
        `from_content` and `from_transformation`. `protocol`: numbers of images and classes, and probes whose
        fit did not converge. Numbers are rounded to 4 digits.
    """
    inputs = {name: (name, codes.content, codes.transformation) for name in PROBES}
    inputs["linear_latent"] = ("linear", codes.content_latent, codes.transformation_latent)
    wanted = [(question, name) for question in QUESTIONS if tasks[question] for name in inputs]
    scores: dict[str, dict[str, FactorScore]] = {question: {} for question in QUESTIONS}
    for done, (question, name) in enumerate(wanted):
        progress("probing", done, len(wanted))
        kind, content, transformation = inputs[name]
        scores[question][name] = score_factor(
            QUESTIONS[question], content, transformation, tasks[question], kind=kind, seed=seed
        )
    progress("probing", len(wanted), len(wanted))
    linear = {question: _summary(score["linear"]) if score else None for question, score in scores.items()}
    if linear["transformation"] is not None:
        linear["transformation"]["by_content"] = _by_content(scores["transformation"]["linear"])
    return {
        **linear,
        "probes": {
            question: {name: _accuracies(score) for name, score in by_probe.items()} or None
            for question, by_probe in scores.items()
        },
        "protocol": {
            **_content_counts(codes.table, tasks["content"]),
            "transformation": _transformation_counts(tasks["transformation"]),
            "transformation_pooled": _pooled_counts(tasks["transformation_pooled"]),
            "probe": PROTOCOL,
            "not_converged": [
                f"{question}.{name}" for question, name in wanted if not scores[question][name].converged
            ],
            "seed": seed,
        },
    }


def score_factor(
    factor: Factor,
    content: np.ndarray,
    transformation: np.ndarray,
    tasks: Sequence[Task],
    *,
    kind: str = "linear",
    seed: int = SEED,
) -> FactorScore:
    """Tell a factor from either code by one kind of probe, averaged over tasks.

    Parameters
    ----------
    factor
        What the labels of the tasks are.
    content, transformation
        The codes, (N, d_c) and (N, d_z).
    tasks
        One or more, as `probes.tasks_of` makes them.
    kind
        One of `probes.PROBES`.
    seed
        Of the probes.
    """
    return FactorScore(
        factor, tasks, probe_each(kind, content, tasks, seed), probe_each(kind, transformation, tasks, seed)
    )


def score_parts(
    transformation: np.ndarray, parts: Mapping[str, int], tasks: Mapping[str, Sequence[Task]], *, seed: int = SEED
) -> dict[str, dict[str, dict[str, float]]] | None:
    """Score the parts of a transformation code, each alone.

    Parameters
    ----------
    transformation
        (N, d_z).
    parts
        The length of each part, in order.
    tasks
        As `probes.tasks_of` makes them.
    seed
        Of the probes.

    Returns
    -------
    dict or None
        By part and question, the mean accuracy of the probes of `PART_PROBES`; None where there is one part.
    """
    if len(parts) < 2:
        return None
    ends = np.cumsum(list(parts.values()))
    codes = dict(zip(parts, np.split(transformation, ends[:-1], axis=1), strict=True))
    return {
        part: {
            question: {kind: round(mean_accuracy(probe_each(kind, code, asked, seed)), 4) for kind in PART_PROBES}
            for question, asked in tasks.items()
            if asked
        }
        for part, code in codes.items()
    }


def probe_statistics(
    images: ImageSet,
    tasks: Mapping[str, Sequence[Task]],
    *,
    batch_size: int = 500,
    seed: int = SEED,
    progress: Progress = silent,
) -> dict[str, list[ProbeResult]]:
    """Probe trivial statistics of the images for what the codes are asked; see `statistics`.

    Parameters
    ----------
    images
        The images that the tasks are of; only those in some task are read.
    tasks
        As `probes.tasks_of` makes them.
    batch_size
        Images in memory at a time.
    seed
        Of the probes.
    progress
        Told of the images measured.

    Returns
    -------
    dict
        For each question, what the standardised linear probe achieved in each of its tasks.
    """
    of_tasks = np.zeros(len(images), dtype=bool)
    for task in chain.from_iterable(tasks.values()):
        of_tasks[task.train] = of_tasks[task.test] = True
    if not of_tasks.any():
        return {question: [] for question in tasks}
    measured = statistics_of(images.select(np.flatnonzero(of_tasks)), batch_size=batch_size, progress=progress)
    statistics = np.zeros((len(images), measured.shape[1]), dtype=measured.dtype)
    statistics[of_tasks] = measured
    return {
        question: probe_each("linear_standardised", statistics, asked, seed) for question, asked in tasks.items()
    }


def probe_each(kind: str, inputs: np.ndarray, tasks: Sequence[Task], seed: int) -> list[ProbeResult]:
    """Return what a probe achieves in each of several tasks, (N, d) inputs being those of them all."""
    return [probe(kind, inputs, task, seed) for task in tasks]


def mean_accuracy(results: Sequence[ProbeResult]) -> float:
    """Return the mean test accuracy over tasks, each counting alike."""
    return float(np.mean([result.accuracy for result in results]))


def _accuracies(score: FactorScore) -> dict[str, float]:
    return {
        "from_content": round(score.from_content, 4),
        "from_transformation": round(score.from_transformation, 4),
    }


def _summary(score: FactorScore) -> dict[str, Any]:
    return {
        **_accuracies(score),
        "sap": round(score.sap, 4),
        "gap": round(score.gap, 4),
        "chance": round(score.chance, 4),
    }


def _by_content(score: FactorScore) -> dict[str, dict[str, float]]:
    """Return the score within each content class, by the class's name."""
    parts = zip(score.tasks, score.content_results, score.transformation_results, strict=True)
    return {
        task.within: {
            "from_content": round(content.accuracy, 4),
            "from_transformation": round(transformation.accuracy, 4),
            "chance": round(task.chance(), 4),
            "test_images": content.test_images,
        }
        for task, content, transformation in parts
    }


def _content_counts(table: pd.DataFrame, tasks: Sequence[Task]) -> dict[str, int | None]:
    """Return the numbers of images that content was scored on, of all where it was not, and of classes."""
    labels, test = label_numbers(table, "content"), is_test(table)
    known = labels >= 0
    counted = known if tasks else np.ones_like(known)
    return {
        "train_images": int(np.sum(counted & ~test)),
        "test_images": int(np.sum(counted & test)),
        "classes": len(np.unique(labels[known & ~test])) if known.any() else None,
    }


def _transformation_counts(tasks: Sequence[Task]) -> dict[str, int] | None:
    return {"content_classes": len(tasks), **_image_counts(tasks)} if tasks else None


def _pooled_counts(tasks: Sequence[Task]) -> dict[str, int] | None:
    if not tasks:
        return None
    (task,) = tasks
    return {"classes": len(np.unique(task.labels[task.train])), **_image_counts(tasks)}


def _image_counts(tasks: Sequence[Task]) -> dict[str, int]:
    return {
        "train_images": sum(len(task.train) for task in tasks),
        "test_images": sum(len(task.test) for task in tasks),
    }
