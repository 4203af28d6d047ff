"""The figure of averages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tests.support.maps import cluster_average

from dualcontrast.cryoet.mrc import write_volume
from dualcontrast.maps.cluster_average import StateComparison
from dualcontrast.maps.figure import draw_averages


def test_a_row_is_drawn_for_each_average(tmp_path: Path) -> None:
    state = StateComparison("spike", "open", 0.75, 0.9, 20.0, (1.0, 0.6, 0.3, 0.2, 0.1))
    averages = [cluster_average(1, state), cluster_average(2)]
    for number, average in enumerate(averages):
        volume = np.random.default_rng(number).normal(size=(8, 8, 8)).astype(np.float32)
        write_volume(tmp_path / f"{average.name}.mrc", volume, 10.0)
    heights = []
    for count in (1, 2):
        draw_averages(tmp_path, averages[:count], tmp_path / "figure.png", "Averages")
        with Image.open(tmp_path / "figure.png") as picture:
            heights.append(picture.size[1])
    assert heights[1] > 1.5 * heights[0]
