"""The scores: each a figure on a scale with chance drawn in, and what it means."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
QUESTIONS = {
    "content": "content",
    "transformation": "transformation, within each content",
    "transformation_pooled": "both as one label",
}


def told(value: float, unit: str = "%") -> str:
    """Return a score in words: in percent, or to two places, without a sign of zero."""
    if math.isnan(value):
        return "not known"
    return percent(value) if unit == "%" else f"{round(value, 2) + 0:.2f}"


def place(value: float) -> float | None:
    """Return where on the scale from 0 to 1 a score is drawn; None where it is not known."""
    return None if math.isnan(value) else min(max(value, 0.0), 1.0)


class Mark(NamedTuple):
    """A place on the scale of a score to compare with."""

    kind: str  # chance, trivial or ideal: how it is drawn
    name: str
    value: float

    @property
    def place(self) -> float | None:
        """Where it is drawn."""
        return place(self.value)


class Row(NamedTuple):
    """A score."""

    name: str
    code: str  # content or transformation: its colour
    value: float
    meaning: str
    marks: tuple[Mark, ...]
    unit: str = "%"

    @property
    def text(self) -> str:
        """The value as it is told."""
        return told(self.value, self.unit)

    @property
    def place(self) -> float | None:
        """Where it is drawn."""
        return place(self.value)


class Group(NamedTuple):
    """Scores of one question, on one scale from 0 to 1."""

    title: str
    lead: str
    rows: list[Row]

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """The marks of all rows: how they are drawn, what they are, and where."""
        places: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            for mark in row.marks:
                places.setdefault((mark.kind, mark.name), []).append(told(mark.value, row.unit))
        return [(kind, name, " and ".join(dict.fromkeys(values))) for (kind, name), values in places.items()]


def section(material: Material) -> Section:
    """Return every score on its scale."""
    anchor, title, scores = "scores", "Scores", material.scores
    if isinstance(scores, Unavailable):
        lack = Unavailable(scores.reason, material.command("evaluate"))
        return Section(anchor, title, missing=(lack,))
    missing = []
    groups: list[Group] = []
    if "protocol" not in scores:  # transfer alone has written
        missing.append(Unavailable("The codes are not scored yet.", material.command("evaluate")))
    else:
        groups += [*_factor(scores, "content"), *_factor(scores, "transformation"), *_viewpoint(scores)]
        groups.append(_invariance(scores["invariance"]))
        if scores["content"] is None:
            missing.append(
                Unavailable("No content labels are known, so what the codes tell of content is not scored.")
            )
    if scores.get("swap"):
        groups.append(_swap(scores["swap"], scores.get("content")))
    elif _may_swap(scores):
        missing.append(Unavailable("Hybrids are not judged yet.", material.command("transfer")))
    context = {
        "groups": groups,
        "probes": _probes(scores),
        "parts": _parts(scores.get("transformation_parts")),
        "by_content": _by_content(scores.get("transformation")),
    }
    return Section(anchor, title, "scores.html", context, missing=tuple(missing))


def _may_swap(scores: dict[str, Any]) -> bool:
    return scores.get("content") is not None


def _factor(scores: dict[str, Any], factor: str) -> list[Group]:
    """Return what the two codes tell of a factor."""
    score = scores[factor]
    if score is None:
        return []
    other = "transformation" if factor == "content" else "content"
    marks = _marks(scores, factor)
    protocol = scores["protocol"] if factor == "content" else scores["protocol"]["transformation"]
    where = "" if factor == "content" else ", within each content, averaged"
    lead = (
        f"A linear probe reads the {factor} label from either code{where}: fitted on {protocol['train_images']:,} "
        f"images, tested on {protocol['test_images']:,} others."
    )
    if not math.isnan(score["gap"]):
        lead += f" The gap is {100 * score['gap']:+.1f} points (SAP {told(score['sap'], '')}); "
        lead += "the larger, the better." if score["gap"] >= 0 else f"the {other} code tells the {factor} better."
    rows = [
        Row(f"{factor} code", factor, score[f"from_{factor}"], "should know it: higher is better", marks),
        Row(
            f"{other} code", other, score[f"from_{other}"], "should not know it: nearer to chance is better", marks
        ),
    ]
    return [Group(f"Which {factor}?", lead, rows)]


def _marks(scores: dict[str, Any], factor: str) -> tuple[Mark, ...]:
    """Return what the scores of a factor are compared with."""
    marks = [Mark("chance", "chance: always the most common label", scores[factor]["chance"])]
    trivial = (scores.get("trivial_statistics") or {}).get(factor)
    if trivial is not None:
        marks.append(Mark("trivial", "trivial statistics of the images: what needs no learning", trivial))
    ideal = (scores.get("ideal_observer") or {}).get(factor)
    if ideal is not None:
        marks.append(Mark("ideal", "an ideal observer, who knows templates, poses and CTF", ideal))
    return tuple(marks)


def _viewpoint(scores: dict[str, Any]) -> list[Group]:
    score = scores.get("viewpoint")
    if score is None:
        return []
    marks = (Mark("chance", "chance: always the mean direction", 0.0),)
    lead = (
        "The share of the variance of the viewing direction (R²) that a linear map of a code tells, within each "
        "object; below 0 it is worse than the mean direction."
    )
    meanings = {
        "transformation": "should know it: higher is better",
        "content": "should not know it: lower is better",
    }
    rows = [
        Row(f"{code} code", code, score[f"from_{code}"], meaning, marks, "R²")
        for code, meaning in meanings.items()
    ]
    return [Group("Seen from where?", lead, rows)]


def _invariance(steady: dict[str, float]) -> Group:
    lead = "The mean cosine of the code of an image and the code of its view T(x), by which training contrasts."
    meanings = {
        "content": "a view keeps the content: nearer to 1 is better, if random pairs are well below",
        "transformation": "a view changes the transformation: lower is better",
    }
    rows = [
        Row(
            f"{code} code",
            code,
            steady[code],
            meaning,
            (Mark("chance", "pairs of random images", steady[f"{code}_chance"]),),
            "cosine",
        )
        for code, meaning in meanings.items()
    ]
    return Group("Steady under views?", lead, rows)


def _swap(swap: dict[str, Any], content: dict[str, Any] | None) -> Group:
    """Return what hybrids keep; the chance of a content is known once contents are scored."""
    lead = (
        f"{swap['hybrids']:,} hybrids are decoded from the content code of one image and the transformation code "
        f"of another. A classifier of real images, right on {told(swap['classifier_real'])} of them and on "
        f"{told(swap['classifier_reconstructed'])} of reconstructions, tells what they show. The "
        f"transformation code makes {100 * swap['transformation_effect']:.0f} % of the difference between two "
        "images."
    )
    again = (
        Mark(
            "ideal",
            "the classifier on reconstructions: hybrids can hardly do better",
            swap["classifier_reconstructed"],
        ),
    )
    guessed = (
        (Mark("chance", "chance of a content: always the most common label", content["chance"]),)
        if content
        else ()
    )
    chance = (Mark("chance", "chance of a transformation", swap["transformation_kept_chance"]),)
    rows = [
        Row(
            "content kept",
            "content",
            swap["content_kept"],
            "shows the content of its content image: higher is better",
            (*guessed, *again),
        ),
        Row(
            "content of the other",
            "transformation",
            swap["content_of_z_source"],
            "shows the content of its transformation image: lower is better",
            (),
        ),
        Row(
            "transformation kept",
            "transformation",
            swap["transformation_kept"],
            "encoded again, is nearest to its transformation image: higher is better",
            chance,
        ),
    ]
    return Group("Do hybrids keep both?", lead, rows)


def _probes(scores: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return, for each question, what every probe read from either code."""
    tables = []
    for question, title in QUESTIONS.items():
        by_probe = (scores.get("probes") or {}).get(question)
        if by_probe:
            rows = [
                (PROBES.get(name, name), told(score["from_content"]), told(score["from_transformation"]))
                for name, score in by_probe.items()
            ]
            tables.append((title, rows))
    return tables


def _parts(parts: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """Return what the linear probe read from each part of the transformation code: content, transformation."""

    def read(questions: dict[str, Any], question: str) -> str:
        return told(questions[question]["linear"]) if question in questions else "not known"

    return [
        (part, read(questions, "content"), read(questions, "transformation"))
        for part, questions in (parts or {}).items()
        if questions
    ]


def _by_content(score: dict[str, Any] | None) -> list[tuple[str, str, str, str]]:
    return [
        (name, *(told(own[key]) for key in ("from_content", "from_transformation", "chance")))
        for name, own in ((score or {}).get("by_content") or {}).items()
    ]
