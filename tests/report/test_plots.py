from __future__ import annotations

import base64
import gzip
import math

import numpy as np
import pytest

from dualcontrast.report.plots import class_colours, compressed, encoded, figure, finite, line, threshold


@pytest.mark.parametrize(
    ("dtype", "name"), [("<f4", "f4"), (">f4", "f4"), (np.int32, "i4"), (np.uint8, "u1"), (np.int16, "i2")]
)
def test_arrays_are_encoded_with_their_type_in_little_endian_order(dtype: str, name: str) -> None:
    array = np.array([0, 1, 2, 100], dtype)
    found = encoded(array[::2])
    assert found["dtype"] == name
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(str(found["bdata"])), f"<{name}"), [0, 2])


def test_numbers_that_are_not_finite_become_gaps() -> None:
    value = {"y": [1.0, math.nan, [math.inf]], "name": "nan", "flag": True, "count": 3}
    assert finite(value) == {"y": [1.0, None, [None]], "name": "nan", "flag": True, "count": 3}


def test_text_is_compressed_in_the_same_way_each_time() -> None:
    text = "resolution in Å " * 100
    assert gzip.decompress(base64.b64decode(compressed(text))).decode() == text
    assert compressed(text) == compressed(text)
    assert len(compressed(text)) < len(text) / 10


def test_up_to_ten_classes_have_colours_of_the_style_sheet() -> None:
    assert class_colours(3) == ["var(--class-0)", "var(--class-1)", "var(--class-2)"]
    many = class_colours(11)
    assert len(set(many)) == 11
    assert all(colour.startswith("#") for colour in many)


def test_a_line_has_a_colour_and_only_the_options_that_are_given() -> None:
    plain = line([1, 2], [3, 4], "loss", "red")
    assert plain == {
        "type": "scatter",
        "mode": "lines",
        "x": [1, 2],
        "y": [3, 4],
        "name": "loss",
        "line": {"color": "red", "width": 2},
    }
    styled = line([1], [3], "loss", "red", line={"dash": "dot", "width": 1}, mode="markers", marker={"size": 5})
    assert styled["line"] == {"color": "red", "width": 1, "dash": "dot"}
    assert (styled["mode"], styled["marker"]) == ("markers", {"size": 5})


def test_a_figure_names_its_axes_and_takes_more_of_the_layout() -> None:
    layout = figure([], "epoch", "loss", xaxis={"dtick": 1}, yaxis={"zeroline": True}, shapes=[threshold(0.5)])[
        "layout"
    ]
    assert isinstance(layout, dict)
    assert layout["xaxis"]["title"] == {"text": "epoch"}
    assert (layout["xaxis"]["dtick"], layout["xaxis"]["zeroline"]) == (1, False)
    assert (layout["yaxis"]["title"], layout["yaxis"]["zeroline"]) == ({"text": "loss"}, True)
    assert (layout["shapes"][0]["y0"], layout["shapes"][0]["y1"]) == (0.5, 0.5)
