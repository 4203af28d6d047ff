"""Training curves: every part of the loss in each stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dualcontrast.files import JSONObject
from dualcontrast.methods.plus.prototypes import REPRODUCIBLE
from dualcontrast.report.material import Material
from dualcontrast.report.plots import Figure, Trace, figure, line, threshold
from dualcontrast.report.section import Section, Unavailable

Entry = JSONObject  # a line of the log


@dataclass(frozen=True)
class LoggedStage:
    """What was logged at the start of a stage, and of its epochs."""

    start: Entry
    epochs: list[Entry]


@dataclass(frozen=True)
class Panel:
    """A part of the loss: the name of its figure, and its own."""

    figure: str
    name: str


@dataclass(frozen=True)
class Stage:
    """The curves of a stage: the total loss, and its parts."""

    title: str
    clusters: str
    total: Panel | None
    panels: list[Panel]


@dataclass(frozen=True)
class Content:
    """What the section shows.

    Attributes
    ----------
    stages : list of Stage
        The curves.
    best : int or None
        The epoch of the weights, if they are those of the lowest validation loss.
    has_numbers : bool
        Whether numbers of clusters were compared.
    threshold : float
        The prediction strength that a number of clusters needs.
    """

    stages: list[Stage]
    best: int | None
    has_numbers: bool
    threshold: float


def section(material: Material) -> Section:
    """Show the curves of every part of the loss, stage by stage."""
    anchor, title = "training", "Training"
    logged = _stages(material.log)
    if not logged:
        return Section(anchor, title, missing=(Unavailable("No epoch was completed, so there are no curves."),))
    best = _best(logged[-1].epochs) if material.options.weights == "best" else None
    figures: dict[str, Figure] = {}
    stages = []
    for number, stage in enumerate(logged, 1):
        name = f"Stage {number}, {_span(stage.epochs)}" if len(logged) > 1 else _span(stage.epochs).capitalize()
        panels = []
        for part in sorted({part for entry in stage.epochs for part in entry["loss"]}, key=_total_first(stage)):
            key = f"loss-{number}-{part}"
            marked = best if part == "total" and number == len(logged) else None
            figures[key] = _curves(part, stage.epochs, marked)
            panels.append(Panel(key, part.replace("_", " ")))
        total = panels.pop(0) if panels[0].name == "total" else None
        stages.append(Stage(name, _clusters(stage.start), total, panels))
    compared = next((stage.start for stage in logged if stage.start.get("prediction_strength")), None)
    if compared:
        figures["numbers"] = _numbers(compared["prediction_strength"], compared["silhouette"])
    content = Content(stages, best, compared is not None, REPRODUCIBLE)
    return Section(anchor, title, "training.html", content, figures)


def _stages(log: list[Entry]) -> list[LoggedStage]:
    """Divide the log into stages; stages without an epoch are left out."""
    stages = [LoggedStage({}, [])]
    for entry in log:
        if "stage" in entry:
            stages.append(LoggedStage(entry, []))
        elif "loss" in entry:
            stages[-1].epochs.append(entry)
    return [stage for stage in stages if stage.epochs]


def _span(epochs: list[Entry]) -> str:
    first, last = epochs[0]["epoch"], epochs[-1]["epoch"]
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"


def _total_first(stage: LoggedStage) -> Callable[[str], tuple[bool, int]]:
    """Return a sort key: the total first, then the parts in the order of the log."""
    order = list(stage.epochs[-1]["loss"])
    return lambda part: (part != "total", order.index(part) if part in order else len(order))


def _best(epochs: list[Entry]) -> int | None:
    """Find the epoch of the lowest validation loss."""
    validated = [(entry["validation"]["total"], entry["epoch"]) for entry in epochs if entry.get("validation")]
    return min((one for one in validated if math.isfinite(one[0])), default=(None, None))[1]


def _curves(part: str, epochs: list[Entry], best: int | None) -> Figure:
    """Draw a part of the loss on training and held-out images, with a ring at the best epoch."""
    few = len(epochs) < 3
    traces = []
    for kind, colour, name in (("loss", "var(--text)", "training"), ("validation", "var(--class-6)", "held out")):
        known = [entry for entry in epochs if part in entry.get(kind, {})]
        if not known:
            continue
        x, y = [entry["epoch"] for entry in known], [entry[kind][part] for entry in known]
        dash = {"dash": "solid" if kind == "loss" else "dot"}
        mode, marker = ("lines+markers", {"size": 5}) if few else ("lines", None)
        traces.append(line(x, y, name, colour, line=dash, mode=mode, marker=marker))
        if best is not None and kind == "validation":
            traces.append(_ring(best, y[x.index(best)], colour))
    ticks = {"dtick": 1} if len(epochs) <= 8 else {"nticks": 6}
    return figure(traces, "epoch", xaxis={"tickformat": "d", **ticks}, yaxis={"nticks": 5})


def _ring(x: int, y: float, colour: str) -> Trace:
    ring: Trace = {"size": 11, "symbol": "circle-open", "color": colour, "line": {"width": 2}}
    return {"type": "scatter", "mode": "markers", "x": [x], "y": [y], "marker": ring, "hoverinfo": "skip"}


def _clusters(start: Entry) -> str:
    if "clusters" not in start:
        return ""
    count = start["clusters"]
    return f"It started with {count} cluster{'s' * (count != 1)} of the content codes."


def _numbers(strengths: Mapping[str, float], silhouettes: Mapping[str, float]) -> Figure:
    """Draw the prediction strength and the silhouette of each number of clusters."""
    traces = [
        line(
            [int(number) for number in scores],
            list(scores.values()),
            name,
            colour,
            mode=mode,
            marker={"size": size},
        )
        for scores, name, colour, mode, size in (
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
