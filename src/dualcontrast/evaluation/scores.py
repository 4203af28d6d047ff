"""Scores of a run: what each code tells of content and of transformation, and how steady it is under T."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from dualcontrast.cryoet.simulation import simulation_of
from dualcontrast.cryoet.star import IDENTITY
from dualcontrast.errors import RunError
from dualcontrast.evaluation.factors import Factor, mean_accuracy, probe_statistics, score_codes, score_parts
from dualcontrast.evaluation.ideal_observer import ideal_observer
from dualcontrast.evaluation.invariance import images_to_judge, invariance
from dualcontrast.evaluation.probes import tasks_of
from dualcontrast.evaluation.swap import describe_swap
from dualcontrast.evaluation.viewpoint import describe_viewpoint, viewpoint_score
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder
from dualcontrast.runs.encoding import codes_of, made_with_weights
from dualcontrast.version import __version__


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
        Told of the images encoded, the probes fitted and the images measured.

    Returns
    -------
    dict
        `content`, `transformation`, `transformation_pooled` and `probes` as `score_codes` gives them;
        `trivial_statistics`: of the same three, the accuracy of a standardised linear probe on trivial
        statistics of the images, or None; `ideal_observer`: the accuracies of `simulated.ideal_observer`, or
        None for images that were not simulated, or have other labels; `viewpoint` as
        `viewpoint.viewpoint_score` gives it, None where no poses are known; `transformation_parts` as
        `factors.score_parts` does; `invariance` as `invariance.invariance` does; `swap`, which transfer adds to
        the same file and which is kept while the weights are; `protocol`.

    Raises
    ------
    RunError
        The run lacks the weights, or there are content labels but no test image has one.
    """
    method, images = run.load_method(weights), run.images()
    codes = codes_of(run, weights, device=device, progress=progress)
    try:
        tasks = tasks_of(codes.table)
    except RunError as error:
        raise RunError(f"{run.path}: {error}") from None
    batch_size = run.recipe().training.batch_size
    scores = score_codes(codes, tasks, progress=progress)
    trivial = probe_statistics(images, tasks, batch_size=batch_size, progress=progress)
    scores["trivial_statistics"] = {
        question: round(mean_accuracy(results), 4) if results else None for question, results in trivial.items()
    }
    scores["protocol"]["not_converged"] += [
        f"trivial_statistics.{question}"
        for question, results in trivial.items()
        if not all(result.converged for result in results)
    ]
    scores["ideal_observer"] = _observed(run, codes.table, progress)
    scores["viewpoint"] = viewpoint_score(codes)
    scores["transformation_parts"] = score_parts(codes.transformation, codes.parts, tasks)
    judged = images_to_judge(images)
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


def describe(scores: dict[str, Any]) -> list[str]:
    """Say in plain sentences what the scores of a run mean, each number with its chance beside it."""
    lines = []
    protocol, steady = scores["protocol"], scores["invariance"]
    if scores["content"] is not None:
        lines += _describe_factor("content", scores["content"], f"of {protocol['test_images']:,} test images")
    elif protocol["classes"] is None:
        lines.append("No content labels are known, so what the codes tell of content is not scored.")
    else:
        lines.append("The training images have fewer than two content labels, so there is no content to tell.")
    if scores["transformation"] is not None:
        where = f"of {protocol['transformation']['test_images']:,} test images, each within its content class"
        lines += _describe_factor("transformation", scores["transformation"], where)
        lines += _describe_pooled(scores["transformation_pooled"], protocol["transformation_pooled"])
    lines += _describe_statistics(scores["trivial_statistics"])
    lines += _describe_observer(scores["ideal_observer"])
    lines += describe_viewpoint(scores["viewpoint"]) if scores["viewpoint"] else []
    lines += _describe_parts(scores.get("transformation_parts") or {})
    lines.append(
        f"The content codes of an image and its view have a mean cosine of {steady['content']:.2f} (random "
        f"pairs {steady['content_chance']:.2f}): nearer to 1 is better, if random pairs are well below."
    )
    lines.append(
        f"Their transformation codes have a mean cosine of {steady['transformation']:.2f} (random pairs "
        f"{steady['transformation_chance']:.2f}): lower is better, since a view changes the transformation."
    )
    return lines + (describe_swap(scores["swap"]) if scores.get("swap") else [])


def _describe_parts(parts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Say what each part of the transformation code tells alone."""
    return [
        f"Of the transformation code, the {part} alone names the "
        + " and the ".join(
            f"{question} right in {percent(scores['linear'])}"
            for question, scores in questions.items()
            if question in ("content", "transformation")
        )
        + "."
        for part, questions in parts.items()
        if questions
    ]


def _describe_factor(factor: Factor, score: dict[str, float], where: str) -> list[str]:
    other = "transformation" if factor == "content" else "content"
    chance = f"{where} (chance {percent(score['chance'])})"
    verdict = "the larger, the better" if score["gap"] >= 0 else f"the {other} code tells the {factor} better"
    return [
        f"The {factor} code names the {factor} label right in {percent(score[f'from_{factor}'])} {chance}: "
        "higher is better.",
        f"The {other} code names the {factor} label right in {percent(score[f'from_{other}'])} {chance}: "
        "nearer to chance is better.",
        f"The gap between the two is {100 * score['gap']:+.1f} points (SAP {score['sap']:.2f}): {verdict}.",
    ]


def _describe_pooled(score: dict[str, float], counts: dict[str, int]) -> list[str]:
    return [
        f"Over all contents at once, with content and transformation as one of {counts['classes']} labels, the "
        f"transformation code is right in {percent(score['from_transformation'])} and the content code in "
        f"{percent(score['from_content'])} of {counts['test_images']:,} test images (chance "
        f"{percent(score['chance'])}): a gap of {100 * score['gap']:+.1f} points."
    ]


def _describe_statistics(accuracies: dict[str, float | None]) -> list[str]:
    told = _told(accuracies)
    if not told:
        return []
    return [
        "A probe on trivial statistics of the images (mean, standard deviation, centre of mass, radial profile) "
        f"names {told}: what is not above that needed no learning."
    ]


def _describe_observer(accuracies: dict[str, Any] | None) -> list[str]:
    if accuracies is None:
        return []
    return [
        f"An ideal observer, who knows every template, pose and CTF, names {_told(accuracies)} (of "
        f"{accuracies['test_images']:,} test images): no code can tell more from such noise."
    ]


def _told(accuracies: dict[str, Any]) -> str:
    """List the accuracies that there are."""
    return ", ".join(
        f"{thing} right in {percent(accuracies[question])}"
        for question, thing in (
            ("content", "the content"),
            ("transformation", "the transformation within each content class"),
            ("transformation_pooled", "both as one label"),
        )
        if accuracies[question] is not None
    )


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"


def _observed(run: RunFolder, table: pd.DataFrame, progress: Progress) -> dict[str, Any] | None:
    """Ask the ideal observer of subtomograms that lie where they were simulated.

    It tells identities, so it is not asked where other labels were taken for content.
    """
    simulation = simulation_of(run.images().source)
    taken = run.config()["data"]["options"].get("labels", IDENTITY)
    if simulation is None or taken != IDENTITY or not {"content", "transformation"} <= set(table):
        return None
    return ideal_observer(simulation, table, progress=progress)


def _kept_swap(run: RunFolder, weights: str) -> dict[str, Any] | None:
    """Return what transfer has stored, unless the weights have changed since."""
    if not made_with_weights(run.scores_path(weights), run, weights):
        return None
    return (run.read_scores(weights) or {}).get("swap")
