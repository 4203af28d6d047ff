"""The first sections of a report: the main findings, and the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dualcontrast.evaluation.probes import is_test
from dualcontrast.evaluation.results import Factor
from dualcontrast.figures.captions import plural
from dualcontrast.figures.sampling import balanced_sample
from dualcontrast.files import JSONObject
from dualcontrast.report.material import Material
from dualcontrast.report.scores import formatted
from dualcontrast.report.section import Section, Unavailable

SAMPLES = 24


class Value(NamedTuple):
    """A number, in the colour of the code that it comes from, if any."""

    text: str
    code: str = "text"


class Finding(NamedTuple):
    """One or two numbers, and their meaning."""

    values: tuple[Value, ...]
    text: str


def findings(material: Material) -> list[Finding]:
    """List the main findings of a run."""
    found = [Finding((Value(f"{len(material):,}"),), material.things)]
    clusters, scores, averages = material.clusters, material.scores, material.averages
    if not isinstance(clusters, Unavailable):
        sizes = clusters.sizes
        parts = sum(len(own) for own in sizes.values())
        how = "found without labels" if clusters.requested.content == "auto" else "as asked for"
        text = f"content cluster{'s' * (len(sizes) != 1)}, {how}"
        if parts > len(sizes):
            text += f"; {parts} of transformation within them"
        if "content" in clusters.agreement:
            text += f"; agreement with the labels (ARI) {clusters.agreement['content'].ari:.2f}"
        found.append(Finding((Value(str(len(sizes))),), text))
    if not isinstance(scores, Unavailable):
        pairs: tuple[tuple[Factor, Factor], ...] = (
            ("content", "transformation"),
            ("transformation", "content"),
        )
        for factor, other in pairs:
            score = scores.of(factor)
            if score is not None:
                values = tuple(Value(formatted(score.from_code(code)), code) for code in (factor, other))
                chance = formatted(score.chance)
                text = f"{factor} predicted from the {factor} code, and from the {other} code (chance {chance})"
                found.append(Finding(values, text))
    if not isinstance(averages, Unavailable):
        best = min(average.resolution for average in averages)
        text = f"resolution of the finest of {plural(len(averages), 'average')}"
        found.append(Finding((Value(f"{best:.0f} Å"),), text))
    return found


def section(material: Material) -> Section:
    """Make the section of the run: its settings and data, and some of its images."""
    missing = []
    if isinstance(material.images, Unavailable):
        missing.append(Unavailable(f"Pictures are left out: {material.images.reason}"))
    samples = []
    if material.thumbnails.sheet is not None:
        pictured = material.codes.table.iloc[material.thumbnails.images]
        chosen = balanced_sample(pictured, SAMPLES, material.options.seed)
        samples = [material.thumbnails.sheet.position(int(number)) for number in chosen]
    context = {"facts": _facts(material), "samples": samples, "volumes": material.are_volumes}
    return Section("run", "What was run", "overview.html", context, missing=tuple(missing))


def _facts(material: Material) -> list[tuple[str, str]]:
    data, recipe, table = material.config.data, material.recipe, material.codes.table
    test = int(is_test(table).sum())
    colours = ", in colour" if material.shape[0] == 3 else ""
    labels = [plural(table[name].nunique(), name) for name in ("content", "transformation") if name in table]
    content, transformation = material.codes.content.shape[1], material.codes.transformation.shape[1]
    codes = f"content {content} numbers, transformation {transformation}"
    if len(material.codes.parts) > 1:
        codes += f" ({' + '.join(f'{name} {size}' for name, size in material.codes.parts.items())})"
    return [
        ("Method", f"{recipe.method.name}, recipe {recipe.name}, preset {recipe.preset}"),
        ("Source", str(data.source or "images in memory")),
        ("Read with", ", ".join(f"{name} {value}" for name, value in data.options.items()) or "no options"),
        ("Images", f"{len(table):,} {material.things} of {material.size}{colours}"),
        ("Labels", f"{', '.join(labels)}: never seen in training" if labels else "none known"),
        ("Split", f"{len(table) - test:,} to train, {test:,} to test" if test else "all to train, none to test"),
        ("Codes", codes),
        ("Training", _length(material.log)),
    ]


def _length(log: Sequence[JSONObject]) -> str:
    """Describe how long the training took."""
    if not log:
        return "no log"
    last = log[-1]
    seconds = last["seconds"]
    length = f"{plural(last['epoch'], 'epoch')}, {last['images_seen']:,} images seen, "
    length += f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    return length + {"minutes": ", as many as asked for", "signal": ", interrupted"}.get(
        last.get("stopped", ""), ""
    )
