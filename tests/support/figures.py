"""What tests of figures share."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text


def assert_inside(figure: Figure, texts: list[Text]) -> None:
    """Check that texts lie within a figure."""
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Make a smooth ball, 0.5 at its surface; shape and centre are (z, y, x)."""
    z, y, x = np.indices(shape)
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    return (1 / (1 + np.exp(np.clip(2 * (distance - radius), -50, 50)))).astype(np.float32)
