"""Fixtures of the tests of figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from dualcontrast.figures import drawing, show, slices, surfaces


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are saved."""
    saved: list[Figure] = []
    save = drawing.save_figure

    def collect(figure: Figure, path: Path) -> None:
        saved.append(figure)
        save(figure, path)

    for module in (drawing, show, slices, surfaces):
        monkeypatch.setattr(module, "save_figure", collect)
    return saved
