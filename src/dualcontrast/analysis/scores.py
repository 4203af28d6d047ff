"""Scores of a run: what each code tells of content and of transformation, and how steady it is under T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from dualcontrast import __version__
from dualcontrast.analysis.codes import codes_of, made_with_weights
from dualcontrast.analysis.invariance import images_to_judge, invariance
from dualcontrast.analysis.probes import (
    FIT_AT_MOST,
    NEIGHBOURS,
    PROBES,
    Task,
    content_tasks,
    is_test,
    probe,
    transformation_tasks,
)
from dualcontrast.analysis.swap import describe_swap
from dualcontrast.errors import RunError
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, SavedCodes

Factor = Literal["content", "transformation"]

FACTORS: tuple[Factor, ...] = ("content", "transformation")
SEED = 0  # of draws in scoring; the same whatever a run's own seed, so that runs are scored alike
PROTOCOL = (
    "fitted on the training split, tested on the test split; linear: logistic regression on unscaled codes, "
    "as in the paper; linear_latent: the same on a draw of the latents; "
    f"knn: {NEIGHBOURS} nearest codes, unscaled; mlp: 100 hidden units on standardised codes; "
    f"knn and mlp are fitted on at most {FIT_AT_MOST['mlp']} images"
)


@dataclass(frozen=True)
class FactorScore:
    """How well one factor is told from either code, by one probe.

    Attributes
    ----------
    factor : {"content", "transformation"}
        What is told.
    from_content, from_transformation : float
        Test accuracy from the content code and from the transformation code: D(c|c) and D(c|z) in the paper's
        section 4 for content, D(z|c) and D(z|z) for transformation.
    chance : float
        Test accuracy of the most common training class.
    converged : bool
        Whether every logistic regression came to its optimum.
    """

    factor: Factor
    from_content: float
    from_transformation: float
    chance: float
    converged: bool

    @property
    def gap(self) -> float:
        """The factor's own code less the other one; negative where the codes are the wrong way round."""
        difference = self.from_content - self.from_transformation
        return difference if self.factor == "content" else -difference

    @property
    def sap(self) -> float:
        """The paper's separated attribute predictability, |gap|: it rewards swapped codes as well."""
        return abs(self.gap)


def evaluate(
    run: RunFolder,
    *,
    weights: str = "best",
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score a run, and write the scores into its folder.

    Parameters
    ----------
    run
        A run that has been trained.
    weights
        Which of its weights.
    device
        Where images are encoded.
    progress
        Told of the images encoded and the probes fitted.

    Returns
    -------
    dict
        `content`, `transformation` and `probes` as `score_codes` gives them; `invariance` as
        `invariance.invariance` does; `swap`, which transfer adds to the same file and which is kept while the
        weights are; `protocol`.

    Raises
    ------
    RunError
        The run lacks the weights, or has labels that cannot be scored: of a single class, or without a test
        image.
    """
    method, images = run.load_method(weights), run.images()
    codes = codes_of(run, weights, device=device, progress=progress)
    try:
        scores = score_codes(codes, progress=progress)
    except RunError as error:
        raise RunError(f"{run.path}: {error}") from None
    judged = images_to_judge(images)
    batch_size = run.recipe().training.batch_size
    scores["invariance"] = invariance(method, judged, batch_size=batch_size, device=device)
    scores["swap"] = _kept_swap(run, weights)
    scores["protocol"] = {
        "weights": weights,
        **scores.pop("protocol"),
        "invariance_images": len(judged),
        "dualcontrast": __version__,
    }
    run.write_scores(scores, weights)
    return scores


def score_codes(codes: SavedCodes, *, seed: int = SEED, progress: Progress = silent) -> dict[str, Any]:
    """Score codes by every probe.

    Returns
    -------
    dict
        `content` and `transformation`: `from_content`, `from_transformation`, `sap`, `gap` and `chance` by
        the paper's linear probe, or None where there is nothing to tell; `probes`: by factor and probe,
        `from_content` and `from_transformation`; `protocol`: numbers of images and classes, and probes whose
        fit did not converge. Numbers are rounded to 4 digits.

    Raises
    ------
    RunError
        Labels of a single class, or no test image.
    """
    tasks = {"content": content_tasks(codes.table), "transformation": transformation_tasks(codes.table)}
    inputs = {name: (name, codes.content, codes.transformation) for name in PROBES}
    inputs["linear_latent"] = ("linear", codes.content_latent, codes.transformation_latent)
    wanted = [(factor, name) for factor in FACTORS if tasks[factor] for name in inputs]
    scores: dict[str, dict[str, FactorScore]] = {factor: {} for factor in FACTORS}
    for done, (factor, name) in enumerate(wanted):
        progress("probing", done, len(wanted))
        kind, content, transformation = inputs[name]
        scores[factor][name] = score_factor(factor, content, transformation, tasks[factor], kind=kind, seed=seed)
    progress("probing", len(wanted), len(wanted))
    return {
        **{factor: _summary(scores[factor]["linear"]) if scores[factor] else None for factor in FACTORS},
        "probes": {
            factor: {name: _accuracies(score) for name, score in scores[factor].items()} or None
            for factor in FACTORS
        },
        "protocol": {
            **_counts(codes.table, tasks["content"]),
            "transformation": _transformation_counts(tasks["transformation"]),
            "probe": PROTOCOL,
            "not_converged": [f"{factor}.{name}" for factor, name in wanted if not scores[factor][name].converged],
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
        One or more, as `content_tasks` and `transformation_tasks` make them.
    kind
        One of `probes.PROBES`.
    seed
        Of the probes.
    """
    by_content = [probe(kind, content, task, seed) for task in tasks]
    by_transformation = [probe(kind, transformation, task, seed) for task in tasks]
    return FactorScore(
        factor=factor,
        from_content=float(np.mean([result.accuracy for result in by_content])),
        from_transformation=float(np.mean([result.accuracy for result in by_transformation])),
        chance=float(np.mean([task.chance() for task in tasks])),
        converged=all(result.converged for result in by_content + by_transformation),
    )


def describe(scores: dict[str, Any]) -> list[str]:
    """Say in plain sentences what the scores of a run mean, each number with its chance beside it."""
    lines = []
    protocol, steady = scores["protocol"], scores["invariance"]
    if scores["content"] is None:
        lines.append("No content labels are known, so what the codes tell of content is not scored.")
    else:
        where = f"of {protocol['test_images']:,} test images"
        lines += _describe_factor("content", scores["content"], where)
    if scores["transformation"] is not None:
        counts = protocol["transformation"]
        where = f"of {counts['test_images']:,} test images, each within its content class"
        lines += _describe_factor("transformation", scores["transformation"], where)
    lines.append(
        f"The content codes of an image and its view have a mean cosine of {steady['content']:.2f} (random "
        f"pairs {steady['content_chance']:.2f}): nearer to 1 is better, if random pairs are well below."
    )
    lines.append(
        f"Their transformation codes have a mean cosine of {steady['transformation']:.2f} (random pairs "
        f"{steady['transformation_chance']:.2f}): lower is better, since a view changes the transformation."
    )
    return lines + (describe_swap(scores["swap"]) if scores.get("swap") else [])


def _describe_factor(factor: Factor, score: dict[str, float], where: str) -> list[str]:
    other = "transformation" if factor == "content" else "content"
    chance = f"{where} (chance {_percent(score['chance'])})"
    verdict = "the larger, the better" if score["gap"] >= 0 else f"the {other} code tells the {factor} better"
    return [
        f"The {factor} code names the {factor} label right in {_percent(score[f'from_{factor}'])} {chance}: "
        "higher is better.",
        f"The {other} code names the {factor} label right in {_percent(score[f'from_{other}'])} {chance}: "
        "nearer to chance is better.",
        f"The gap between the two is {100 * score['gap']:+.1f} points (SAP {score['sap']:.2f}): {verdict}.",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _accuracies(score: FactorScore) -> dict[str, float]:
    return {
        "from_content": round(score.from_content, 4),
        "from_transformation": round(score.from_transformation, 4),
    }


def _summary(score: FactorScore) -> dict[str, float]:
    return {
        **_accuracies(score),
        "sap": round(score.sap, 4),
        "gap": round(score.gap, 4),
        "chance": round(score.chance, 4),
    }


def _counts(table: pd.DataFrame, tasks: Sequence[Task]) -> dict[str, int | None]:
    """Return the numbers of images and classes that content was scored on; of all images without labels."""
    if not tasks:
        test = int(is_test(table).sum())
        return {"train_images": len(table) - test, "test_images": test, "classes": None}
    (task,) = tasks
    classes = len(np.unique(task.labels[task.train]))
    return {"train_images": len(task.train), "test_images": len(task.test), "classes": classes}


def _transformation_counts(tasks: Sequence[Task]) -> dict[str, int] | None:
    if not tasks:
        return None
    return {
        "content_classes": len(tasks),
        "train_images": sum(len(task.train) for task in tasks),
        "test_images": sum(len(task.test) for task in tasks),
    }


def _kept_swap(run: RunFolder, weights: str) -> dict[str, Any] | None:
    """Return what transfer has stored, unless the weights have changed since."""
    if not made_with_weights(run.scores_path(weights), run, weights):
        return None
    return (run.read_scores(weights) or {}).get("swap")
