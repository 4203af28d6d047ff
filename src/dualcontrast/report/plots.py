"""Figures for plotly.js, as JSON.

Colours are named as in the style sheet, such as `var(--content)`; the page replaces them by those of its theme.
Arrays are stored as plotly.js reads them: their type, and their bytes in base 64.
"""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from dualcontrast.figures.drawing import PALETTE, colours_of

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | bool | None"
Trace: TypeAlias = Mapping[str, Json]
Figure: TypeAlias = Mapping[str, Json]


def encoded(array: np.ndarray) -> dict[str, Json]:
    """Encode a one-dimensional array for plotly.js: its type, and its bytes in base 64."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": plain.dtype.str[1:], "bdata": base64.b64encode(plain.tobytes()).decode()}


def finite(value: Json) -> Json:
    """Replace NaN and infinite numbers by None, which is drawn as a gap."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compressed(text: str) -> str:
    """Compress a text, in base 64; the page decompresses it with the browser's DecompressionStream."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def class_colours(classes: int) -> list[str]:
    """Choose a colour for each class: ten of the style sheet that can be told apart, or else a continuous map."""
    from matplotlib.colors import to_hex

    if classes <= len(PALETTE):
        return [f"var(--class-{number})" for number in range(classes)]
    return [to_hex(colour) for colour in colours_of(classes)]


def line(
    x: Sequence[float],
    y: Sequence[float],
    name: str,
    colour: str,
    *,
    line: Mapping[str, Json] | None = None,
    mode: str = "lines",
    marker: Mapping[str, Json] | None = None,
) -> Trace:
    """Create a trace of a line."""
    style: Mapping[str, Json] = {"color": colour, "width": 2, **(line or {})}
    trace: dict[str, Json] = {"type": "scatter", "mode": mode, "x": x, "y": y, "name": name, "line": style}
    return trace if marker is None else {**trace, "marker": marker}


def threshold(y: float) -> Mapping[str, Json]:
    """Create a dotted horizontal line, one of a layout's `shapes`."""
    style: Mapping[str, Json] = {"color": "var(--muted)", "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": style}


def figure(
    traces: Sequence[Trace],
    x_title: str,
    y_title: str = "",
    *,
    xaxis: Mapping[str, Json] | None = None,
    yaxis: Mapping[str, Json] | None = None,
    **layout: Json,
) -> Figure:
    """Create a figure of lines with named axes."""
    axis = {"showgrid": True, "zeroline": False, "automargin": True, "fixedrange": True}
    return {
        "data": traces,
        "layout": {
            "margin": {"l": 44, "r": 8, "t": 8, "b": 36},
            "showlegend": False,
            "hovermode": "x unified",
            "xaxis": {**axis, "showgrid": False, "title": {"text": x_title}, **(xaxis or {})},
            "yaxis": {**axis, "title": {"text": y_title}, **(yaxis or {})},
            **layout,
        },
    }
