"""How well probes predict content and transformation from codes and from trivial statistics of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from dualcontrast.evaluation.image_statistics import statistics_of
from dualcontrast.evaluation.probes import PROBES, ProbeResult, Task, probe
from dualcontrast.evaluation.results import (
    ClassScores,
    CodeAccuracies,
    Factor,
    FactorScores,
    Question,
    TransformationScores,
)
from dualcontrast.images import ImageSet
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import SavedCodes

# Each question, and the factor that its labels are of.
QUESTIONS: dict[Question, Factor] = {
    "content": "content",
    "transformation": "transformation",
    "transformation_pooled": "transformation",
}
SEED = 0  # of random draws in scoring; independent of a run's own seed, so that all runs are scored alike
PART_PROBES = ("linear", "knn")


@dataclass(frozen=True)
class FactorResult:
    """How well one probe predicts one factor from either code.

    Attributes
    ----------
    factor : {"content", "transformation"}
        The factor that the labels of the tasks are of.
    tasks : sequence of Task
        One or more; the result is their mean.
    content_results, transformation_results : sequence of ProbeResult
        The probe's result in each task, on the content code and on the transformation code.
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
        """Test accuracy of always predicting the most common training class."""
        return float(np.mean([task.chance() for task in self.tasks]))

    @property
    def converged(self) -> bool:
        """Whether every logistic regression converged."""
        return all(result.converged for result in (*self.content_results, *self.transformation_results))

    @property
    def gap(self) -> float:
        """Accuracy from the factor's own code minus that from the other; negative if the codes are swapped."""
        difference = self.from_content - self.from_transformation
        return difference if self.factor == "content" else -difference

    @property
    def sap(self) -> float:
        """The paper's separated attribute predictability, |gap|; swapped codes score high as well."""
        return abs(self.gap)

    def accuracies(self) -> CodeAccuracies:
        """Round the accuracies from both codes."""
        return CodeAccuracies(
            from_content=round(self.from_content, 4), from_transformation=round(self.from_transformation, 4)
        )

    def scores(self) -> FactorScores:
        """Round all scores."""
        return FactorScores(**self._rounded())

    def transformation_scores(self) -> TransformationScores:
        """Round all scores, and those of each task by its content class."""
        results = zip(self.tasks, self.content_results, self.transformation_results, strict=True)
        by_content = {
            task.content_class: ClassScores(
                from_content=round(content.accuracy, 4),
                from_transformation=round(transformation.accuracy, 4),
                chance=round(task.chance(), 4),
                test_images=content.test_images,
            )
            for task, content, transformation in results
        }
        return TransformationScores(**self._rounded(), by_content=by_content)

    def _rounded(self) -> dict[str, float]:
        names = ("from_content", "from_transformation", "sap", "gap", "chance")
        return {name: round(getattr(self, name), 4) for name in names}


@dataclass(frozen=True)
class CodeScores:
    """Scores of codes by every probe.

    Attributes
    ----------
    content, transformation, transformation_pooled
        Scores of each question by the paper's linear probe; None where there is nothing to predict.
    probes : dict
        Accuracies by question and probe; None where there is nothing to predict.
    not_converged : list of str
        Fits that ran out of steps, as QUESTION.PROBE.
    """

    content: FactorScores | None
    transformation: TransformationScores | None
    transformation_pooled: FactorScores | None
    probes: dict[Question, dict[str, CodeAccuracies] | None]
    not_converged: list[str]


def score_codes(
    codes: SavedCodes,
    tasks: Mapping[Question, Sequence[Task]],
    *,
    seed: int = SEED,
    progress: Progress = silent,
) -> CodeScores:
    """Score codes by every probe.

    Parameters
    ----------
    codes
        Codes and latents of a set of images.
    tasks
        The tasks of each question, from `probes.tasks_of` on the table of the codes.
    seed
        Seed of the probes.
    progress
        Called with the number of probes fitted.
    """
    inputs = {name: (name, codes.content, codes.transformation) for name in PROBES}
    inputs["linear_latent"] = ("linear", codes.content_latent, codes.transformation_latent)
    fits = [(question, name) for question in QUESTIONS if tasks[question] for name in inputs]
    results: dict[Question, dict[str, FactorResult]] = {question: {} for question in QUESTIONS}
    for done, (question, name) in enumerate(fits):
        progress("probing", done, len(fits))
        kind, content, transformation = inputs[name]
        results[question][name] = probe_factor(
            QUESTIONS[question], content, transformation, tasks[question], kind=kind, seed=seed
        )
    progress("probing", len(fits), len(fits))
    content_result, transformation_result, pooled_result = (
        results[question].get("linear") for question in QUESTIONS
    )
    return CodeScores(
        content=content_result.scores() if content_result else None,
        transformation=transformation_result.transformation_scores() if transformation_result else None,
        transformation_pooled=pooled_result.scores() if pooled_result else None,
        probes={
            question: {name: result.accuracies() for name, result in by_probe.items()} or None
            for question, by_probe in results.items()
        },
        not_converged=[f"{question}.{name}" for question, name in fits if not results[question][name].converged],
    )


def probe_factor(
    factor: Factor,
    content: np.ndarray,
    transformation: np.ndarray,
    tasks: Sequence[Task],
    *,
    kind: str = "linear",
    seed: int = SEED,
) -> FactorResult:
    """Predict a factor from either code by one kind of probe.

    Parameters
    ----------
    factor
        The factor that the labels of the tasks are of.
    content, transformation
        The codes, (N, d_c) and (N, d_z).
    tasks
        One or more, from `probes.tasks_of`.
    kind
        One of `probes.PROBES`.
    seed
        Seed of the probes.
    """
    return FactorResult(
        factor, tasks, probe_each(kind, content, tasks, seed), probe_each(kind, transformation, tasks, seed)
    )


def score_parts(
    transformation: np.ndarray,
    parts: Mapping[str, int],
    tasks: Mapping[Question, Sequence[Task]],
    *,
    seed: int = SEED,
) -> dict[str, dict[Question, dict[str, float]]] | None:
    """Score each part of a transformation code alone.

    Parameters
    ----------
    transformation
        (N, d_z).
    parts
        The length of each part, in order.
    tasks
        The tasks of each question, from `probes.tasks_of`.
    seed
        Seed of the probes.

    Returns
    -------
    dict or None
        By part and question, the mean accuracy of each probe of `PART_PROBES`; None for fewer than two parts.
    """
    if len(parts) < 2:
        return None
    ends = np.cumsum(list(parts.values()))
    codes = dict(zip(parts, np.split(transformation, ends[:-1], axis=1), strict=True))
    return {
        part: {
            question: {kind: round(mean_accuracy(probe_each(kind, code, some, seed)), 4) for kind in PART_PROBES}
            for question, some in tasks.items()
            if some
        }
        for part, code in codes.items()
    }


def probe_statistics(
    images: ImageSet,
    tasks: Mapping[Question, Sequence[Task]],
    *,
    batch_size: int = 500,
    seed: int = SEED,
    progress: Progress = silent,
) -> dict[Question, list[ProbeResult]]:
    """Answer the same questions from trivial statistics of the images; see `image_statistics`.

    Parameters
    ----------
    images
        The images of the tasks; only those that a task contains are read.
    tasks
        The tasks of each question, from `probes.tasks_of`.
    batch_size
        Images in memory at a time.
    seed
        Seed of the probes.
    progress
        Called with the number of images measured.

    Returns
    -------
    dict
        By question, the result of the standardised linear probe in each task.
    """
    needed = np.zeros(len(images), dtype=bool)
    for task in chain.from_iterable(tasks.values()):
        needed[task.train] = needed[task.test] = True
    if not needed.any():
        return {question: [] for question in tasks}
    measured = statistics_of(images.select(np.flatnonzero(needed)), batch_size=batch_size, progress=progress)
    statistics = np.zeros((len(images), measured.shape[1]), dtype=measured.dtype)
    statistics[needed] = measured
    return {
        question: probe_each("linear_standardised", statistics, some, seed) for question, some in tasks.items()
    }


def probe_each(kind: str, inputs: np.ndarray, tasks: Sequence[Task], seed: int) -> list[ProbeResult]:
    """Run one kind of probe on each of several tasks; the inputs, (N, d), are those of all images."""
    return [probe(kind, inputs, task, seed) for task in tasks]


def mean_accuracy(results: Sequence[ProbeResult]) -> float:
    """Average the test accuracy over tasks, each with the same weight."""
    return float(np.mean([result.accuracy for result in results]))
