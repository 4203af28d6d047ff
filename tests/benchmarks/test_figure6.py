"""Figure 6 from end to end on a few subtomograms: runs of Table 1, clusters, maps named by the truth."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from tests.support.command import assert_refused, call
from tests.support.maps import cluster_average

from dualcontrast.analysis.clusters import read_clusters
from dualcontrast.api import Run
from dualcontrast.benchmarks import figure6 as module
from dualcontrast.benchmarks.figure6 import METHODS, Asked, Figure6, Strip, figure6
from dualcontrast.maps import relion
from dualcontrast.maps.cluster_average import ClusterAverage, StateComparison

LABELS = ["SpatialVAE", "Harmony", "DualContrast"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relion, "installed", lambda: False)  # built in, it takes less time
    monkeypatch.setattr(module, "MAPS", 2)


def make(star: Path, folder: Path, **changes: Any) -> Figure6:
    places = {name: folder / name for name in ("results", "work", "out")}
    return figure6(Asked(str(star), budget=0.01, **changes), device="cpu", **places)


def test_every_map_is_named_and_what_is_there_is_not_made_again(
    star: Path, trained: list[str], tmp_path: Path
) -> None:
    done = make(star, tmp_path)
    assert sorted(trained) == sorted(f"subtomograms {method}" for method in METHODS)
    table = pd.read_csv(tmp_path / "out" / "figure6.csv", keep_default_na=False)
    whole = table[table["within"] == ""]
    assert list(dict.fromkeys(whole["method"])) == LABELS
    assert set(whole["code"]) == {"content"}
    assert (whole.groupby("method")["particles"].sum() == 420).all()
    further = table[table["within"] != ""]
    assert list(dict.fromkeys(zip(further["method"], further["code"], strict=True))) == [
        ("Harmony", "content"),
        ("DualContrast", "transformation"),
    ]
    for label, own in further.groupby("method"):
        number = int(own["within"].iloc[0].removeprefix("cluster "))
        first = whole[(whole["method"] == label) & whole["map"].str.contains(f"content{number}_")]
        # Clusters of one are no maps.
        assert own["particles"].sum() <= int(first["particles"].iloc[0]) <= own["particles"].sum() + 2
    assert set(table["identity"]) <= {"nucleosome", "spike"}
    assert table["correlation"].between(-1, 1).all()
    for path in table["map"]:
        assert Path(path).is_file()
    with Image.open(tmp_path / "out" / "figure6.png") as picture:
        assert min(picture.size) > 400
    words = done.describe(lambda path: path)
    assert len(words) == len(table) + 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("averages/**/*.mrc")}
    trained.clear()
    shutil.rmtree(tmp_path / "out")
    assert make(star, tmp_path).rows == done.rows
    assert trained == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("averages/**/*.mrc")}
    run = Run(next((tmp_path / "work").glob("subtomograms-harmony-*")))
    assert read_clusters(run, "figure6").described["asked"] == {"content": 2, "transformation": 1}


def test_the_cluster_that_is_sorted_further_is_the_most_like_an_identity(tmp_path: Path) -> None:
    def unit(number: int, nucleosome: float, spike: float) -> ClusterAverage:
        return cluster_average(
            number,
            StateComparison("nucleosome", "2pyo", 0.5, nucleosome, resolution=20.0, fsc=()),
            StateComparison("spike", "6vxx", 0.5, spike, resolution=20.0, fsc=()),
        )

    strip = Strip("harmony", "content", "", tmp_path, [unit(1, 0.6, 0.9), unit(3, 0.8, 0.95), unit(4, 0.7, 0.5)])
    assert module._most_like(strip, "nucleosome") == 3
    assert module._most_like(strip, "spike") == 3


def test_an_identity_that_is_not_there_is_refused_before_anything_is_trained(star: Path, tmp_path: Path) -> None:
    places = ("--work", tmp_path / "work", "--results", tmp_path / "results", "--out", tmp_path / "out")
    ended = call("benchmark", "figure6", "--subtomograms", star, *places, "--identity", "nucleosom")
    assert_refused(ended, "has no nucleosom; did you mean nucleosome?")
    assert not list(tmp_path.iterdir())
