"""Figure 5 from end to end on a few subtomograms."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tests.support.benchmarks import make_setup
from tests.support.command import assert_refused, call

from dualcontrast.analysis.embedding import LAYOUTS
from dualcontrast.api import Run
from dualcontrast.benchmarks import figure5 as module
from dualcontrast.benchmarks.figure5 import PanelRow, make_figure5
from dualcontrast.benchmarks.figures import FigureRequest
from dualcontrast.benchmarks.outcome import Outcome
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.star import IDENTITY
from dualcontrast.evaluation.probes import label_numbers

PANELS = "abcefg"  # (d) are slices; the methods of the paper take less time
TRAINED = ["subtomograms spatial_vae", "subtomograms harmony", "subtomograms dualcontrast", "spike harmony"]


def make(star: Path, folder: Path) -> Outcome[PanelRow]:
    return make_figure5(FigureRequest(str(star), budget=0.01, identity="spike"), make_setup(folder))


def test_every_panel_shows_its_code_and_trained_runs_are_used_again(
    star: Path, trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYOUTS, "umap", LAYOUTS["pca"])  # it takes less time
    monkeypatch.setattr(module, "VIEWS", module.VIEWS[: len(PANELS)])
    done = make(star, tmp_path)
    assert trained == TRAINED
    points = pd.read_csv(tmp_path / "out" / "figure5.csv")
    assert "".join(dict.fromkeys(points["panel"])) == PANELS
    rows = dict(zip(PANELS, done.rows, strict=True))
    for letter, row in rows.items():
        shown = points[points["panel"] == letter]
        assert len(shown) == row.images > 0
        of_spike = letter in "egi"
        assert row.by == ("transformation" if of_spike else "content")
        assert set(shown["content"]) == ({"spike"} if of_spike else {"nucleosome", "spike"})
        assert label_numbers(shown, row.by).max() == 1
        assert 0 <= row.accuracy <= 1
    assert rows["e"].panel == "(e) Harmony, c, trained on spike alone"
    with Image.open(tmp_path / "out" / "figure5.png") as picture:
        assert min(picture.size) > 1000
    assert done.summary == [row.describe() for row in done.rows]
    assert done.failures == []
    images = Run(next((tmp_path / "work").glob("spike-harmony-*/"))).images()
    particles = read_particles(star)
    names = images.names()
    assert names is not None
    assert list(names) == list(particles.image_names[particles.labels(IDENTITY) == "spike"])
    assert set(images.table["content"]) == {"spike"}
    trained.clear()
    shutil.rmtree(tmp_path / "out")
    assert make(star, tmp_path).rows == done.rows
    assert trained == []


def test_an_unsuitable_identity_is_refused_before_any_training(star: Path, tmp_path: Path) -> None:
    places = ("--work", tmp_path / "work", "--results", tmp_path / "results", "--out", tmp_path / "out")
    ended = call("benchmark", "figure5", "--subtomograms", star, *places, "--identity", "spikes")
    assert_refused(ended, "has no spikes; did you mean spike?")
    ended = call("benchmark", "figure5", "--subtomograms", star, *places, "--identity", "nucleosome")
    assert_refused(ended, "nucleosome has a single conformation, so there is nothing to colour; choose another")
    assert not list(tmp_path.iterdir())


def test_a_panel_is_described_in_a_line() -> None:
    row = PanelRow("(a) SpatialVAE, c", "spatial_vae", "content", "content", 1200, 0.8765, 0.3333)
    assert (
        row.describe() == f"  {'(a) SpatialVAE, c':<50}  1,200 images, content predicted in 0.876 (chance 0.333)"
    )
    few = PanelRow("(a)", "spatial_vae", "content", "content", 3, None, None)
    assert few.describe() == f"  {'(a)':<50}      3 images"
    assert few.as_dict()["accuracy"] is None
