"""Figures for plotly.js, as plain values.

Colours are named as in the style sheet, such as `var(--content)`; the page puts in those of the light or the dark
theme. Arrays go as plotly.js takes them: their type, and their bytes in base 64.
"""

from __future__ import annotations

import base64
import gzip
import math
from typing import Any

import numpy as np

from dualcontrast.figures.drawing import PALETTE, colours_of


def typed(array: np.ndarray) -> dict[str, str]:
    """Return a one-dimensional array as plotly.js takes it: its type, and its bytes in base 64."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": plain.dtype.str[1:], "bdata": base64.b64encode(plain.tobytes()).decode()}


def finite(value: Any) -> Any:
    """Return plain values with None, which is drawn as a gap, for each number that is none."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def packed(text: str) -> str:
    """Return a text compressed, in base 64; the page unpacks it by the browser's own DecompressionStream."""
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def class_colours(classes: int) -> list[str]:
    """Return a colour for each class: of the style sheet's ten, told apart by anybody, or of a continuous map."""
    from matplotlib.colors import to_hex

    if classes <= len(PALETTE):
        return [f"var(--class-{number})" for number in range(classes)]
    return [to_hex(colour) for colour in colours_of(classes)]


def line(x: Any, y: Any, name: str, colour: str, **more: Any) -> dict[str, Any]:
    """Return a trace of a line."""
    style = {"color": colour, "width": 2, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": style, **more}


def threshold(y: float) -> dict[str, Any]:
    """Return a dotted line across a figure, one of its layout's `shapes`."""
    style = {"color": "var(--muted)", "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": style}


def figure(traces: list[dict[str, Any]], x_title: str, y_title: str = "", **layout: Any) -> dict[str, Any]:
    """Return a figure of lines, its axes named."""
    axis = {"showgrid": True, "zeroline": False, "automargin": True, "fixedrange": True}
    return {
        "data": traces,
        "layout": {
            "margin": {"l": 44, "r": 8, "t": 8, "b": 36},
            "showlegend": False,
            "hovermode": "x unified",
            "xaxis": {**axis, "showgrid": False, "title": {"text": x_title}, **layout.pop("xaxis", {})},
            "yaxis": {**axis, "title": {"text": y_title}, **layout.pop("yaxis", {})},
            **layout,
        },
    }
