"""Figure 6 from end to end on a few subtomograms."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tests.support.benchmarks import make_setup
from tests.support.command import assert_refused, call
from tests.support.maps import cluster_average

from dualcontrast.analysis.clusters import Numbers, read_clusters
from dualcontrast.api import Run
from dualcontrast.benchmarks import figure6 as module
from dualcontrast.benchmarks.figure6 import METHODS, Figure6Request, MapRow, Strip, make_figure6
from dualcontrast.benchmarks.outcome import Outcome
from dualcontrast.maps import relion
from dualcontrast.maps.cluster_average import ClusterAverage, StateComparison

LABELS = ["SpatialVAE", "Harmony", "DualContrast"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relion, "installed", lambda: False)  # built in, it takes less time
    monkeypatch.setattr(module, "MAPS", 2)


def make(star: Path, folder: Path) -> Outcome[MapRow]:
    return make_figure6(Figure6Request(str(star), budget=0.01), make_setup(folder))


def test_every_map_is_named_and_existing_maps_are_used_again(
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
    for label, group in further.groupby("method"):
        number = int(group["within"].iloc[0].removeprefix("cluster "))
        first = whole[(whole["method"] == label) & whole["map"].str.contains(f"content{number}_")]
        # Clusters of one subtomogram have no map.
        assert group["particles"].sum() <= int(first["particles"].iloc[0]) <= group["particles"].sum() + 2
    assert set(table["identity"]) <= {"nucleosome", "spike"}
    assert table["correlation"].between(-1, 1).all()
    for path in table["map"]:
        assert Path(path).is_file()
    with Image.open(tmp_path / "out" / "figure6.png") as picture:
        assert min(picture.size) > 400
    assert len(done.summary) == len(done.rows) == len(table)
    assert [row.map for row in done.rows] == list(table["map"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("averages/**/*.mrc")}
    trained.clear()
    shutil.rmtree(tmp_path / "out")
    assert make(star, tmp_path).rows == done.rows
    assert trained == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("averages/**/*.mrc")}
    run = Run(next((tmp_path / "work").glob("subtomograms-harmony-*")))
    assert read_clusters(run, "figure6").requested == Numbers(content=2, transformation=1)


def test_the_cluster_that_is_divided_further_is_the_most_like_an_identity(tmp_path: Path) -> None:
    def unit(number: int, nucleosome: float, spike: float) -> ClusterAverage:
        return cluster_average(
            number,
            StateComparison("nucleosome", "2pyo", 0.5, nucleosome, resolution=20.0, fsc=()),
            StateComparison("spike", "6vxx", 0.5, spike, resolution=20.0, fsc=()),
        )

    strip = Strip("harmony", "content", "", tmp_path, [unit(1, 0.6, 0.9), unit(3, 0.8, 0.95), unit(4, 0.7, 0.5)])
    assert module._most_like(strip, "nucleosome") == 3
    assert module._most_like(strip, "spike") == 3


def test_an_unknown_identity_is_refused_before_any_training(star: Path, tmp_path: Path) -> None:
    places = ("--work", tmp_path / "work", "--results", tmp_path / "results", "--out", tmp_path / "out")
    ended = call("benchmark", "figure6", "--subtomograms", star, *places, "--identity", "nucleosom")
    assert_refused(ended, "has no nucleosom; did you mean nucleosome?")
    assert not list(tmp_path.iterdir())


def test_a_map_is_described_in_a_line() -> None:
    row = MapRow(
        method="Harmony",
        code="content",
        within="cluster 2",
        map="a.mrc",
        particles=1200,
        identity="spike",
        conformation="open",
        correlation=0.9123,
        resolution=30.0,
        share=0.75,
        most_common="spike open",
        share_of_most_common=0.75,
        halves_resolution=None,
        how="builtin",
    )
    start = f"  {'Harmony, content within cluster 2':<45}  1,200"
    assert row.describe() == f"{start}  most like spike open (0.912), which 75 % of them are"
    assert list(row.as_dict())[:5] == ["method", "code", "within", "map", "particles"]


def test_aligned_clusters_have_a_name_of_their_own() -> None:
    assert Figure6Request("a.star").name == "figure6"
    assert Figure6Request("a.star", align=True).name == "figure6-aligned"
