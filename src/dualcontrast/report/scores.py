"""The scores, each on a scale with its chance level and a sentence on its meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dualcontrast.evaluation.results import (
    CodeAccuracies,
    Factor,
    FactorScores,
    InvarianceScores,
    Question,
    Scores,
    SwapScores,
    TransformationScores,
    ViewpointScores,
)
from dualcontrast.evaluation.scores import percent
from dualcontrast.report.material import Material
from dualcontrast.report.section import Section, Unavailable

PROBES = {
    "linear": "linear, as in the paper",
    "linear_standardised": "linear, codes standardised",
    "linear_latent": "linear, on a draw of the latents",
    "knn": "10 nearest neighbours",
    "mlp": "MLP of 100 hidden units",
}
QUESTIONS: dict[Question, str] = {
    "content": "content",
    "transformation": "transformation, within each content",
    "transformation_pooled": "both as one label",
}


def formatted(value: float, unit: str = "%") -> str:
    """Format a score: in percent, or to two places and without a sign of zero."""
    if math.isnan(value):
        return "not known"
    return percent(value) if unit == "%" else f"{round(value, 2) + 0:.2f}"


def position(value: float) -> float | None:
    """Return the position of a score on the scale from 0 to 1; None if it is not known."""
    return None if math.isnan(value) else min(max(value, 0.0), 1.0)


class Mark(NamedTuple):
    """A value to compare a score with, marked on its scale."""

    kind: str  # chance, trivial or ideal; its style
    name: str
    value: float

    @property
    def place(self) -> float | None:
        """Its position on the scale."""
        return position(self.value)


class Row(NamedTuple):
    """A score."""

    name: str
    code: Factor  # its colour
    value: float
    meaning: str
    marks: tuple[Mark, ...]
    unit: str = "%"

    @property
    def text(self) -> str:
        """The formatted value."""
        return formatted(self.value, self.unit)

    @property
    def place(self) -> float | None:
        """Its position on the scale."""
        return position(self.value)


class Group(NamedTuple):
    """Scores on one scale from 0 to 1."""

    title: str
    lead: str
    rows: list[Row]

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """The legend of the marks of all rows: kind, name and values."""
        legend: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            for mark in row.marks:
                legend.setdefault((mark.kind, mark.name), []).append(formatted(mark.value, row.unit))
        return [(kind, name, " and ".join(dict.fromkeys(values))) for (kind, name), values in legend.items()]


def section(material: Material) -> Section:
    """Make the section of the scores."""
    anchor, title, scores, swap = "scores", "Scores", material.scores, material.swap
    if isinstance(scores, Unavailable):
        absent = [Unavailable(scores.reason, material.command("evaluate"))]
        if swap is None:
            return Section(anchor, title, missing=tuple(absent))
        tables: dict[str, list[str]] = {"probes": [], "parts": [], "by_content": []}
        return Section(
            anchor, title, "scores.html", {"groups": [_swap(swap, None)], **tables}, missing=tuple(absent)
        )
    absent = []
    if scores.content is None:
        absent.append(Unavailable("No content labels are known, so the content is not scored."))
    elif swap is None:
        absent.append(Unavailable("Hybrids are not scored yet.", material.command("transfer")))
    context = {
        "groups": [
            *_factor(scores, "content"),
            *_factor(scores, "transformation"),
            *([_viewpoint(scores.viewpoint)] if scores.viewpoint else []),
            _invariance(scores.invariance),
            *([_swap(swap, scores.content)] if swap else []),
        ],
        "probes": _probes(scores.probes),
        "parts": _parts(scores.transformation_parts or {}),
        "by_content": _by_content(scores.transformation),
    }
    return Section(anchor, title, "scores.html", context, missing=tuple(absent))


def _factor(scores: Scores, factor: Factor) -> list[Group]:
    """Group the accuracies of a factor from both codes."""
    score = scores.of(factor)
    protocol = scores.protocol if factor == "content" else scores.protocol.transformation
    if score is None or protocol is None:
        return []
    other: Factor = "transformation" if factor == "content" else "content"
    marks = _marks(scores, factor, score)
    where = "" if factor == "content" else ", within each content, averaged"
    lead = (
        f"A linear probe predicts the {factor} label from either code{where}: fitted on "
        f"{protocol.train_images:,} images, tested on {protocol.test_images:,} others."
    )
    if not math.isnan(score.gap):
        lead += f" The gap is {100 * score.gap:+.1f} points (SAP {formatted(score.sap, '')}); "
        lead += "the larger, the better." if score.gap >= 0 else f"the {other} code predicts the {factor} better."
    rows = [
        Row(f"{factor} code", factor, score.from_code(factor), "should know it: higher is better", marks),
        Row(
            f"{other} code", other, score.from_code(other), "should not know it: nearer to chance is better", marks
        ),
    ]
    return [Group(f"Which {factor}?", lead, rows)]


def _marks(scores: Scores, factor: Factor, score: FactorScores) -> tuple[Mark, ...]:
    """List the values to compare the scores of a factor with."""
    marks = [Mark("chance", "chance: always the most common label", score.chance)]
    trivial = scores.trivial_statistics.get(factor)
    if trivial is not None:
        marks.append(Mark("trivial", "trivial statistics of the images: needs no learning", trivial))
    observer = scores.ideal_observer
    ideal = None if observer is None else observer.content if factor == "content" else observer.transformation
    if ideal is not None:
        marks.append(Mark("ideal", "an ideal observer, who knows templates, poses and CTF", ideal))
    return tuple(marks)


def _viewpoint(score: ViewpointScores) -> Group:
    marks = (Mark("chance", "chance: always the mean direction", float(score.chance)),)
    lead = (
        "The share of the variance of the viewing direction (R²) that a linear map of a code explains, within "
        "each object; below 0, it is worse than the mean direction."
    )
    rows = [
        Row(
            "transformation code",
            "transformation",
            score.from_transformation,
            "should know it: higher is better",
            marks,
            "R²",
        ),
        Row("content code", "content", score.from_content, "should not know it: lower is better", marks, "R²"),
    ]
    return Group("Seen from where?", lead, rows)


def _invariance(cosines: InvarianceScores) -> Group:
    lead = "The mean cosine of the code of an image and the code of its view T(x), which training contrasts."
    by_chance = "pairs of random images"
    rows = [
        Row(
            "content code",
            "content",
            cosines.content,
            "a view keeps the content: nearer to 1 is better, if random pairs are well below",
            (Mark("chance", by_chance, cosines.content_chance),),
            "cosine",
        ),
        Row(
            "transformation code",
            "transformation",
            cosines.transformation,
            "a view changes the transformation: lower is better",
            (Mark("chance", by_chance, cosines.transformation_chance),),
            "cosine",
        ),
    ]
    return Group("Unchanged by views?", lead, rows)


def _swap(swap: SwapScores, content: FactorScores | None) -> Group:
    """Group the scores of hybrids; the chance level of the content is that of its probe."""
    lead = (
        f"{swap.hybrids:,} hybrids are decoded from the content code of one image and the transformation code of "
        "another, and classified by a classifier of real images. It is right on "
        f"{formatted(swap.classifier_real)} of real images and on {formatted(swap.classifier_reconstructed)} of "
        f"reconstructions. The transformation code makes {100 * swap.transformation_effect:.0f} % of the "
        "difference between two images."
    )
    limit = Mark(
        "ideal",
        "the classifier on reconstructions: hybrids can hardly do better",
        swap.classifier_reconstructed,
    )
    chance_of_content = (
        (Mark("chance", "chance of a content: always the most common label", content.chance),) if content else ()
    )
    chance_of_transformation = Mark("chance", "chance of a transformation", swap.transformation_kept_chance)
    rows = [
        Row(
            "content kept",
            "content",
            swap.content_kept,
            "shows the content of its content image: higher is better",
            (*chance_of_content, limit),
        ),
        Row(
            "content of the other",
            "transformation",
            swap.content_of_z_source,
            "shows the content of its transformation image: lower is better",
            (),
        ),
        Row(
            "transformation kept",
            "transformation",
            swap.transformation_kept,
            "encoded again, is nearest to its transformation image: higher is better",
            (chance_of_transformation,),
        ),
    ]
    return Group("Do hybrids keep both?", lead, rows)


def _probes(
    probes: Mapping[Question, Mapping[str, CodeAccuracies] | None],
) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Tabulate the accuracies of every probe, for each question: probe, from content, from transformation."""
    return [
        (
            title,
            [(PROBES.get(name, name), *_formatted(accuracies)) for name, accuracies in (by_probe or {}).items()],
        )
        for question, title in QUESTIONS.items()
        if (by_probe := probes.get(question))
    ]


def _parts(parts: Mapping[str, Mapping[Question, Mapping[str, float]]]) -> list[tuple[str, str, str]]:
    """Tabulate the accuracies of a linear probe on each part of the transformation code, for both factors."""
    factors: Iterable[Factor] = ("content", "transformation")
    rows = []
    for part, by_question in parts.items():
        if by_question:
            content, transformation = (
                formatted(by_question[factor]["linear"]) if factor in by_question else "not known"
                for factor in factors
            )
            rows.append((part, content, transformation))
    return rows


def _by_content(score: TransformationScores | None) -> list[tuple[str, str, str, str]]:
    """Tabulate the scores within each content: name, from content, from transformation, chance."""
    by_content = score.by_content if score else {}
    return [(name, *_formatted(scores), formatted(scores.chance)) for name, scores in by_content.items()]


def _formatted(accuracies: CodeAccuracies) -> tuple[str, str]:
    return formatted(accuracies.from_content), formatted(accuracies.from_transformation)
