"""Scores of a run: how well each code predicts content and transformation, and how little T changes it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch

from dualcontrast.cryoet.simulation import simulation_of
from dualcontrast.cryoet.star import IDENTITY
from dualcontrast.errors import RunError
from dualcontrast.evaluation.factors import SEED, mean_accuracy, probe_statistics, score_codes, score_parts
from dualcontrast.evaluation.ideal_observer import ideal_observer
from dualcontrast.evaluation.invariance import invariance, invariance_images
from dualcontrast.evaluation.probes import tasks_of
from dualcontrast.evaluation.protocol import scoring_protocol
from dualcontrast.evaluation.results import (
    Factor,
    FactorScores,
    ObserverScores,
    PooledCounts,
    Question,
    Scores,
    SwapScores,
)
from dualcontrast.evaluation.swap import describe_swap
from dualcontrast.evaluation.viewpoint import describe_viewpoint, viewpoint_score
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder
from dualcontrast.runs.encoding import codes_of, made_with_weights


def evaluate(
    run: RunFolder,
    *,
    weights: str = "best",
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> Scores:
    """Score a run, and write the scores into its folder.

    Parameters
    ----------
    run
        A trained run.
    weights
        "best", "last" or "epoch-N".
    device
        Where images are encoded.
    progress
        Called with the number of images encoded, of probes fitted and of images measured.

    Returns
    -------
    Scores
        All scores. A swap score that `transfer` wrote is kept as long as the weights are the same.

    Raises
    ------
    RunError
        The run does not have the weights, or there are content labels but no labelled test images.
    """
    method, images = run.load_method(weights), run.images()
    codes = codes_of(run, weights, device=device, progress=progress)
    try:
        tasks = tasks_of(codes.table)
    except RunError as error:
        raise RunError(f"{run.path}: {error}") from None
    batch_size = run.recipe().training.batch_size
    of_codes = score_codes(codes, tasks, progress=progress)
    trivial = probe_statistics(images, tasks, batch_size=batch_size, progress=progress)
    not_converged = [
        f"trivial_statistics.{question}"
        for question, results in trivial.items()
        if not all(result.converged for result in results)
    ]
    viewed = invariance_images(images)
    scores = Scores(
        content=of_codes.content,
        transformation=of_codes.transformation,
        transformation_pooled=of_codes.transformation_pooled,
        probes=of_codes.probes,
        trivial_statistics={
            question: round(mean_accuracy(results), 4) if results else None
            for question, results in trivial.items()
        },
        ideal_observer=_ideal_observer(run, codes.table, progress),
        viewpoint=viewpoint_score(codes),
        transformation_parts=score_parts(codes.transformation, codes.parts, tasks),
        invariance=invariance(method, viewed, batch_size=batch_size, device=device),
        swap=read_swap(run, weights),
        protocol=scoring_protocol(
            codes.table,
            tasks,
            weights=weights,
            not_converged=of_codes.not_converged + not_converged,
            seed=SEED,
            invariance_images=len(viewed),
        ),
    )
    run.write_scores(scores.to_json(), weights)
    return scores


def read_scores(run: RunFolder, weights: str = "best") -> Scores | None:
    """Read the scores from a run folder; None if there are none, or only those of `transfer`.

    Raises
    ------
    RunError
        They are damaged.
    """
    stored = run.read_scores(weights)
    if stored is None or "protocol" not in stored:
        return None
    try:
        return Scores.from_json(stored)
    except RunError as error:
        raise _damaged(run, weights, error) from None


def read_swap(run: RunFolder, weights: str = "best") -> SwapScores | None:
    """Read the swap score from a run folder; None if there is none, or if the weights are newer.

    Raises
    ------
    RunError
        It is damaged.
    """
    stored = run.read_scores(weights) if made_with_weights(run.scores_path(weights), run, weights) else None
    if stored is None or stored.get("swap") is None:
        return None
    try:
        return SwapScores.from_json(stored["swap"])
    except RunError as error:
        raise _damaged(run, weights, error) from None


def describe(scores: Scores) -> list[str]:
    """Describe the scores of a run in plain sentences, each number with its chance level."""
    lines = []
    protocol, cosines = scores.protocol, scores.invariance
    if scores.content is not None:
        lines += _describe_factor("content", scores.content, f"of {protocol.test_images:,} test images")
    elif protocol.classes is None:
        lines.append("No content labels are known, so the content is not scored.")
    else:
        lines.append("The training images have fewer than two content labels, so the content is not scored.")
    if scores.transformation is not None and protocol.transformation is not None:
        where = f"of {protocol.transformation.test_images:,} test images, each within its content class"
        lines += _describe_factor("transformation", scores.transformation, where)
    if scores.transformation_pooled is not None and protocol.transformation_pooled is not None:
        lines += _describe_pooled(scores.transformation_pooled, protocol.transformation_pooled)
    lines += _describe_statistics(scores.trivial_statistics)
    lines += _describe_observer(scores.ideal_observer)
    lines += describe_viewpoint(scores.viewpoint) if scores.viewpoint else []
    lines += _describe_parts(scores.transformation_parts or {})
    lines.append(
        f"The content codes of an image and its view have a mean cosine of {cosines.content:.2f} (random pairs "
        f"{cosines.content_chance:.2f}): nearer to 1 is better, if random pairs are well below."
    )
    lines.append(
        f"Their transformation codes have a mean cosine of {cosines.transformation:.2f} (random pairs "
        f"{cosines.transformation_chance:.2f}): lower is better, since a view changes the transformation."
    )
    return lines + (describe_swap(scores.swap) if scores.swap else [])


def percent(share: float) -> str:
    """Format a share in percent."""
    return f"{100 * share:.1f} %"


def _describe_factor(factor: Factor, score: FactorScores, where: str) -> list[str]:
    other: Factor = "transformation" if factor == "content" else "content"
    chance = f"{where} (chance {percent(score.chance)})"
    verdict = "the larger, the better" if score.gap >= 0 else f"the {other} code predicts the {factor} better"
    return [
        f"The {factor} code predicts the {factor} label of {percent(score.from_code(factor))} {chance}: higher is "
        "better.",
        f"The {other} code predicts the {factor} label of {percent(score.from_code(other))} {chance}: nearer to "
        "chance is better.",
        f"The gap between the two is {100 * score.gap:+.1f} points (SAP {score.sap:.2f}): {verdict}.",
    ]


def _describe_pooled(score: FactorScores, counts: PooledCounts) -> list[str]:
    return [
        f"Over all contents at once, with content and transformation as one of {counts.classes} labels, the "
        f"transformation code predicts the label of {percent(score.from_transformation)} and the content code "
        f"that of {percent(score.from_content)} of {counts.test_images:,} test images (chance "
        f"{percent(score.chance)}): a gap of {100 * score.gap:+.1f} points."
    ]


def _describe_statistics(accuracies: Mapping[Question, float | None]) -> list[str]:
    listed = _listed(accuracies)
    if not listed:
        return []
    return [
        "A probe on trivial statistics of the images (mean, standard deviation, centre of mass, radial profile) "
        f"reaches {listed}: a score no higher than this needed no learning."
    ]


def _describe_observer(scores: ObserverScores | None) -> list[str]:
    if scores is None:
        return []
    accuracies: dict[Question, float | None] = {
        "content": scores.content,
        "transformation": scores.transformation,
        "transformation_pooled": scores.transformation_pooled,
    }
    return [
        f"An ideal observer, who knows every template, pose and CTF, reaches {_listed(accuracies)} (of "
        f"{scores.test_images:,} test images): at this noise, no code can do better."
    ]


def _describe_parts(parts: Mapping[str, Mapping[Question, Mapping[str, float]]]) -> list[str]:
    """Describe the accuracy of each part of the transformation code alone."""
    described = []
    for part, questions in parts.items():
        known = [question for question in questions if question != "transformation_pooled"]
        if known:
            listed = " and ".join(
                f"{percent(questions[question]['linear'])} for the {question}" for question in known
            )
            described.append(f"Of the transformation code, the {part} alone reaches {listed}.")
    return described


def _listed(accuracies: Mapping[Question, float | None]) -> str:
    """List the accuracies that are known."""
    names: dict[Question, str] = {
        "content": "the content",
        "transformation": "the transformation within each content class",
        "transformation_pooled": "both as one label",
    }
    known = [(name, accuracies.get(question)) for question, name in names.items()]
    return ", ".join(f"{percent(share)} for {name}" for name, share in known if share is not None)


def _ideal_observer(run: RunFolder, table: pd.DataFrame, progress: Progress) -> ObserverScores | None:
    """Score an ideal observer on simulated subtomograms.

    It predicts identities, so there is no score if other labels were taken as content.
    """
    simulation = simulation_of(run.images().source)
    labels = run.config().data.options.get("labels", IDENTITY)
    if simulation is None or labels != IDENTITY or not {"content", "transformation"} <= set(table):
        return None
    return ideal_observer(simulation, table, progress=progress)


def _damaged(run: RunFolder, weights: str, error: RunError) -> RunError:
    return RunError(f"{run.scores_path(weights)}: damaged ({error}); remove it, and make it again with evaluate")
