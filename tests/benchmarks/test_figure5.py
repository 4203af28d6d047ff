"""Figure 5 from end to end on a few subtomograms: runs of Table 1 and of one identity alone, and their codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tests.support.command import assert_refused, call

from dualcontrast.analysis.embedding import LAYOUTS
from dualcontrast.api import Run
from dualcontrast.benchmarks import figure5 as module
from dualcontrast.benchmarks.figure5 import Figure5, figure5
from dualcontrast.benchmarks.simulations import OfSimulation
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.star import IDENTITY
from dualcontrast.evaluation.probes import label_numbers

PANELS = "abcefg"  # (d) are slices; the methods of the paper take less time
TRAINED = ["subtomograms spatial_vae", "subtomograms harmony", "subtomograms dualcontrast", "spike harmony"]


def make(star: Path, folder: Path) -> Figure5:
    places = {name: folder / name for name in ("results", "work", "out")}
    return figure5(OfSimulation(str(star), budget=0.01, identity="spike"), device="cpu", **places)


def test_every_panel_shows_its_code_and_what_is_there_is_not_made_again(
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
        own = points[points["panel"] == letter]
        assert len(own) == row["images"] > 0
        of_spike = letter in "egi"
        assert row["by"] == ("transformation" if of_spike else "content")
        assert set(own["content"]) == ({"spike"} if of_spike else {"nucleosome", "spike"})
        assert label_numbers(own, row["by"]).max() == 1
        assert 0 <= row["accuracy"] <= 1
    assert rows["e"]["panel"] == "(e) Harmony, c, trained on spike alone"
    with Image.open(tmp_path / "out" / "figure5.png") as picture:
        assert min(picture.size) > 1000
    assert len(done.describe(lambda path: path)) == len(PANELS) + 2
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


def test_an_identity_that_is_not_there_is_refused_before_anything_is_trained(star: Path, tmp_path: Path) -> None:
    places = ("--work", tmp_path / "work", "--results", tmp_path / "results", "--out", tmp_path / "out")
    ended = call("benchmark", "figure5", "--subtomograms", star, *places, "--identity", "spikes")
    assert_refused(ended, "has no spikes; did you mean spike?")
    ended = call("benchmark", "figure5", "--subtomograms", star, *places, "--identity", "nucleosome")
    assert_refused(ended, "nucleosome has a single conformation, so that there is nothing to colour; name another")
    assert not list(tmp_path.iterdir())
