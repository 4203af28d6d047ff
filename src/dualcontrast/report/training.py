"""How training went: every part of the loss, in each stage."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from dualcontrast.methods.plus.prototypes import REPRODUCIBLE
from dualcontrast.report.material import Material
from dualcontrast.report.plots import figure, line, threshold
from dualcontrast.report.section import Missing, Section


class Panel(NamedTuple):
    """A part of the loss."""

    figure: str
    name: str


class Stage(NamedTuple):
    """The epochs of a stage."""

    title: str
    told: str
    total: Panel | None
    panels: list[Panel]


def section(material: Material) -> Section:
    """Return the curves of every part of the loss, stage by stage."""
    anchor, title = "training", "Training"
    parts = _stages(material.log)
    if not parts:
        return Section(anchor, title, missing=(Missing("No whole epoch was trained, so there are no curves."),))
    figures: dict[str, Any] = {}
    stages, best = [], None
    for number, (told, lines) in enumerate(parts, 1):
        first, last = lines[0]["epoch"], lines[-1]["epoch"]
        last_stage = number == len(parts)
        best = _best(lines) if last_stage and material.weights == "best" else None
        panels = []
        for name in sorted({name for entry in lines for name in entry["loss"]}, key=_total_first(lines)):
            key = f"loss-{number}-{name}"
            figures[key] = _curves(name, lines, best if name == "total" else None)
            panels.append(Panel(key, name.replace("_", " ")))
        span = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        name = f"Stage {number}, {span}" if len(parts) > 1 else span.capitalize()
        total = panels.pop(0) if panels[0].name == "total" else None
        stages.append(Stage(name, _told(told), total, panels))
    tried = next((told for told, _ in parts if told.get("prediction_strength")), None)
    if tried:
        figures["numbers"] = _numbers(tried["prediction_strength"], tried["silhouette"])
    context = {"stages": stages, "best": best, "tried": tried, "found_again": REPRODUCIBLE}
    return Section(anchor, title, "training.html", context, figures)


def _stages(log: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return what was logged at the start of every stage, and its epochs; stages without an epoch are left out."""
    stages: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [({}, [])]
    for entry in log:
        if "stage" in entry:
            stages.append((entry, []))
        elif "loss" in entry:
            stages[-1][1].append(entry)
    return [(told, lines) for told, lines in stages if lines]


def _total_first(lines: list[dict[str, Any]]) -> Any:
    """Return the order of parts: the total, then as they were logged."""
    order = list(lines[-1]["loss"])
    return lambda name: (name != "total", order.index(name) if name in order else len(order))


def _best(lines: list[dict[str, Any]]) -> int | None:
    """Return the epoch of the lowest validation loss."""
    validated = [(entry["validation"]["total"], entry["epoch"]) for entry in lines if entry.get("validation")]
    return min((one for one in validated if math.isfinite(one[0])), default=(None, None))[1]


def _curves(name: str, lines: list[dict[str, Any]], best: int | None) -> dict[str, Any]:
    """Draw a part of the loss on the images that train and on those held out."""
    marker = {"mode": "lines+markers", "marker": {"size": 5}} if len(lines) < 3 else {}
    traces = []
    for kind, colour, told in (("loss", "var(--text)", "training"), ("validation", "var(--class-6)", "held out")):
        known = [entry for entry in lines if name in entry.get(kind, {})]
        if known:
            epochs, values = [entry["epoch"] for entry in known], [entry[kind][name] for entry in known]
            dash = {"dash": "solid" if kind == "loss" else "dot"}
            traces.append(line(epochs, values, told, colour, line=dash, **marker))
            if best is not None and kind == "validation":
                lowest = values[epochs.index(best)]
                ring = {"size": 11, "symbol": "circle-open", "color": colour, "line": {"width": 2}}
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "markers",
                        "x": [best],
                        "y": [lowest],
                        "marker": ring,
                        "hoverinfo": "skip",
                    }
                )
    whole = {"tickformat": "d", **({"dtick": 1} if len(lines) <= 8 else {"nticks": 6})}
    return figure(traces, "epoch", xaxis=whole, yaxis={"nticks": 5})


def _told(told: dict[str, Any]) -> str:
    if "clusters" not in told:
        return ""
    count = told["clusters"]
    return f"It began with {count} cluster{'s' * (count != 1)} of the content codes."


def _numbers(strengths: dict[str, float], silhouettes: dict[str, float]) -> dict[str, Any]:
    """Draw how well each number of clusters was found again, and how far apart those lie that were."""
    traces = [
        line([int(number) for number in told], list(told.values()), name, colour, mode=mode, marker={"size": size})
        for told, name, colour, mode, size in (
            (strengths, "prediction strength", "var(--text)", "lines+markers", 6),
            (silhouettes, "silhouette", "var(--class-6)", "markers", 9),
        )
    ]
    return figure(
        traces,
        "clusters",
        yaxis={"range": [0, 1.05]},
        xaxis={"tickformat": "d"},
        showlegend=True,
        shapes=[threshold(REPRODUCIBLE)],
    )
