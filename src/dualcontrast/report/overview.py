"""The head of a report, with what was found, and what was run on what."""

from __future__ import annotations

from typing import Any, NamedTuple

from dualcontrast.evaluation.probes import is_test
from dualcontrast.figures.show import counted, spread
from dualcontrast.report.material import Material
from dualcontrast.report.scores import told
from dualcontrast.report.section import Missing, Section

SAMPLES = 24


class Value(NamedTuple):
    """A figure, in the colour of the code that it is read from, if of any."""

    text: str
    code: str = "text"


class Finding(NamedTuple):
    """One figure or two, and what they say."""

    values: tuple[Value, ...]
    text: str


def findings(material: Material) -> list[Finding]:
    """Return the essential findings of a run."""
    found = [Finding((Value(f"{len(material):,}"),), material.things)]
    clusters, scores, averages = material.clusters, material.scores, material.averages
    if not isinstance(clusters, Missing):
        sizes = clusters.described["sizes"]
        parts = sum(len(own) for own in sizes.values())
        how = "found without labels" if clusters.described["asked"]["content"] == "auto" else "as asked for"
        text = f"content cluster{'s' * (len(sizes) != 1)}, {how}"
        if parts > len(sizes):
            text += f"; {parts} of transformation within them"
        if "content" in clusters.described["agreement"]:
            text += f"; agreement with the labels (ARI) {clusters.described['agreement']['content']['ari']:.2f}"
        found.append(Finding((Value(str(len(sizes))),), text))
    if not isinstance(scores, Missing):
        for factor, other in (("content", "transformation"), ("transformation", "content")):
            score = scores.get(factor)
            if score is not None:
                values = tuple(Value(told(score[f"from_{code}"]), code) for code in (factor, other))
                chance = told(score["chance"])
                text = f"{factor} told from the {factor} code, and from the {other} code (chance {chance})"
                found.append(Finding(values, text))
    if not isinstance(averages, Missing):
        best = min(average.resolution for average in averages)
        text = f"resolution of the finest of {counted(len(averages), 'average')}"
        found.append(Finding((Value(f"{best:.0f} Å"),), text))
    return found


def section(material: Material) -> Section:
    """Return what was run on what, and some of the images."""
    missing = []
    if isinstance(material.images, Missing):
        missing.append(Missing(f"Pictures are left out: {material.images.sentence}"))
    samples = []
    if material.sheet is not None:
        chosen = spread(material.codes.table.iloc[material.pictured], SAMPLES, material.seed)
        samples = [material.sheet.position(int(place)) for place in chosen]
    context = {"facts": _facts(material), "samples": samples, "volumes": material.are_volumes}
    return Section("run", "What was run", "overview.html", context, missing=tuple(missing))


def _facts(material: Material) -> list[tuple[str, str]]:
    data, recipe, table = material.config["data"], material.recipe, material.codes.table
    test = int(is_test(table).sum())
    colours = ", in colour" if material.shape[0] == 3 else ""
    labels = [counted(table[name].nunique(), name) for name in ("content", "transformation") if name in table]
    content, transformation = material.codes.content.shape[1], material.codes.transformation.shape[1]
    codes = f"content {content} numbers, transformation {transformation}"
    if len(material.codes.parts) > 1:
        codes += f" ({' + '.join(f'{name} {size}' for name, size in material.codes.parts.items())})"
    return [
        ("Method", f"{recipe.method.name}, recipe {recipe.name}, preset {recipe.preset}"),
        ("Source", str(data["source"] or "images in memory")),
        ("Read with", ", ".join(f"{name} {value}" for name, value in data["options"].items()) or "no options"),
        ("Images", f"{len(table):,} {material.things} of {material.size}{colours}"),
        ("Labels", f"{', '.join(labels)}: never seen in training" if labels else "none known"),
        ("Split", f"{len(table) - test:,} to train, {test:,} to test" if test else "all to train, none to test"),
        ("Codes", codes),
        ("Training", _length(material.log)),
    ]


def _length(log: list[dict[str, Any]]) -> str:
    if not log:
        return "no log"
    last = log[-1]
    seconds = last["seconds"]
    told = f"{counted(last['epoch'], 'epoch')}, {last['images_seen']:,} images seen, "
    told += f"{seconds:.0f} seconds" if seconds < 60 else f"{seconds / 60:.1f} minutes"
    return told + {"minutes": ", as many as asked for", "signal": ", interrupted"}.get(last.get("stopped", ""), "")
