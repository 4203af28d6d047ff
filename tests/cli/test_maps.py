"""The verbs cluster, average and export: their options, and what they print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile
from PIL import Image
from tests.support.command import assert_refused, call
from tests.support.maps import cluster_average, untrained_run
from tests.support.particles import angles_and_origins, write_particles_of
from tests.support.runs import small_run

from dualcontrast.analysis.clusters import read_clusters
from dualcontrast.api import Run
from dualcontrast.maps.average import Averages
from dualcontrast.maps.refinement import Search

ArgumentsOf = Callable[..., dict[str, Any]]
COUNT = 30
UNITS = ["content1_transformation1", "content1_transformation2", "content2_transformation1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a run on noise with poses, whose codes are the identity and the conformation."""
    folder, rng = tmp_path_factory.mktemp("maps"), np.random.default_rng(0)
    spike = np.arange(COUNT) % 3 > 0
    opened = spike & (np.arange(COUNT) % 2 == 0)
    columns = angles_and_origins(rng.uniform(0, 90, (COUNT, 3)), np.zeros((COUNT, 3)))
    labels = {"dualcontrastIdentity": np.where(spike, "spike", "nucleosome")}
    star = write_particles_of(rng.normal(size=(COUNT, 8, 8, 8)), folder / "data", **columns, **labels)
    made = untrained_run(folder / "run", star)
    made.keep_codes(
        8 * np.eye(4)[spike.astype(int)] + 0.1 * rng.normal(size=(COUNT, 4)),
        8 * np.eye(3)[opened.astype(int)] + 0.1 * rng.normal(size=(COUNT, 3)),
    )
    assert call("cluster", made.path, "--content", 2, "--quiet").status == 0
    return made.path


# ---- cluster


def test_options_of_cluster_reach_the_run(arguments_of: ArgumentsOf) -> None:
    words = ("--content", "3", "--weights", "last", "--datadir", "b", "--device", "cpu", "--seed", 4)
    given = arguments_of("cluster", "run", *words, "--within", "main:2", "--name", "again")
    del given["progress"]
    assert given == {
        "arguments": (),
        "content": 3,
        "transformation": "auto",
        "within": "main:2",
        "name": "again",
        "weights": "last",
        "seed": 4,
        "datadir": Path("b"),
        "device": "cpu",
    }


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("-3", -3), ("auto", "auto"), ("1.5", "1.5"), ("", "")])
def test_digits_are_a_number_of_clusters(text: str, number: int | str, arguments_of: ArgumentsOf) -> None:
    given = arguments_of("cluster", "run", "--content", text, "--transformation", text)
    assert (given["content"], given["transformation"]) == (number, number)


def test_cluster_describes_what_it_found_and_what_comes_next(run: Path) -> None:
    options = ("--name", "again", "--content", 2, "--transformation", "auto")
    lines = call("cluster", run, *options).out.splitlines()
    assert lines[:3] == [
        "30 images in 2 content clusters:",
        "  1: 20, in 2 transformation clusters of 10 + 10",
        "  2: 10",
    ]
    assert lines[3].startswith("Agreement with the content labels: adjusted Rand index 1.000")
    table, figure = run / "clusters" / "again.csv", run / "figures" / "clusters_again.png"
    assert lines[-2] == f"Clusters: {table}; look at: {figure}"
    assert lines[-1] == f"Next: dualcontrast average {run} --clusters again"
    assert table.is_file()
    with Image.open(figure) as picture:
        assert min(picture.size) > 100


def test_cluster_in_json_is_the_stored_file_with_its_paths(run: Path) -> None:
    printed = json.loads(call("cluster", run, "--content", 1, "--transformation", 2, "--name", "j", "--json").out)
    assert printed.pop("clusters") == str(run / "clusters" / "j.csv")
    assert printed.pop("figure") == str(run / "figures" / "clusters_j.png")
    assert printed == json.loads((run / "clusters" / "j.json").read_text())
    assert printed["asked"] == {"content": 1, "transformation": 2}


def test_a_further_round_is_named_after_its_cluster(run: Path) -> None:
    words = ("cluster", run, "--within", 1, "--content", 1, "--transformation", 2, "--json", "--quiet")
    assert json.loads(call(*words).out)["sizes"] == {"1": [10, 10]}
    assert read_clusters(Run(run), "main-1").parent is not None
    assert (run / "figures" / "clusters_main-1.png").is_file()


# ---- average


def test_options_of_average_reach_the_run(arguments_of: ArgumentsOf) -> None:
    words = ("--clusters", "a", "--with", "builtin", "--align", "--iterations", 2, "--degrees", 30, "--seed", 5)
    given = arguments_of("average", "run", *words, "--datadir", "b", "--overwrite")
    del given["progress"]
    assert given == {
        "arguments": (),
        "clusters": "a",
        "by": "builtin",
        "align": True,
        "search": Search(2, 30.0, 5),
        "datadir": Path("b"),
        "overwrite": True,
    }
    given = arguments_of("average", "run")
    assert (given["clusters"], given["by"], given["align"], given["overwrite"]) == ("main", "auto", False, False)
    assert given["search"] == Search()


def test_average_describes_its_maps(run: Path) -> None:
    lines = call("average", run, "--with", "builtin").out.splitlines()
    folder, figure = run / "averages" / "main", run / "figures" / "averages_main.png"
    assert lines[0] == f"3 averages: {folder}"
    counts = (10, 10, 10)
    for line, unit, count in zip(lines[1:4], UNITS, counts, strict=True):
        assert line.startswith(f"  {unit}: {count} particles, ")
        assert line.endswith(" A (builtin)")
    assert lines[4:] == [f"Look at: {figure}"]
    assert figure.is_file()
    printed = json.loads(call("average", run, "--with", "builtin", "--json").out)
    assert (printed["averages"], printed["figure"]) == (str(folder), str(figure))
    assert printed["clusters"] == [json.loads((folder / f"{unit}.json").read_text()) for unit in UNITS]


def test_average_says_how_relion_was_called(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    clusters = [cluster_average(1), cluster_average(2, commands=("relion_refine --i a.star",))]
    made = Averages(tmp_path / "averages", clusters, tmp_path / "a.png")
    monkeypatch.setattr(Run, "average", lambda *_, **__: made)
    lines = call("average", run).out.splitlines()
    assert lines[0] == "2 averages: averages"
    assert lines[1:3] == made.describe()
    assert lines[3:] == ["Look at: a.png", "RELION was called with: averages/commands.txt"]
    assert json.loads(call("average", run, "--json").out)["clusters"] == [one.to_json() for one in clusters]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("average", "--with", "eman"), "unknown program eman"),
        (("average", "--clusters", "none"), "has no clusters called none; "),
        (("average", "--iterations", 0), "average: invalid value for '--iterations'"),
        (("average", "--degrees", 100), "average: invalid value for '--degrees'"),
        (("cluster", "--content", 37), "37 content clusters are too many for 30 images"),
        (("cluster", "--content", "some"), "some is not a number of content clusters"),
        (("export", "--join", "no.star"), "no.star: no such STAR file"),
    ],
)
def test_bad_options_are_refused(words: tuple[object, ...], sentence: str, run: Path) -> None:
    verb, *options = words
    assert_refused(call(verb, run, *options), sentence)


# ---- export


def test_options_of_export_reach_the_run(arguments_of: ArgumentsOf) -> None:
    words = ("--clusters", "a", "--per-class", "--join", "b.star", "--datadir", "c", "--device", "cpu")
    given = arguments_of("export", "run", *words, "--overwrite")
    del given["progress"]
    assert given == {
        "arguments": (),
        "clusters": "a",
        "per_class": True,
        "join": Path("b.star"),
        "datadir": Path("c"),
        "overwrite": True,
        "device": "cpu",
    }


def test_export_says_where_paths_start_and_refuses_to_overwrite(run: Path) -> None:
    folder = run / "export" / "main"
    lines = call("export", run, "--overwrite").out.splitlines()
    assert lines == [
        f"30 rows with their codes and clusters: {folder / 'particles.star'}",
        f"Paths in it start from {run.parent / 'data'}, as before: call RELION there.",
    ]
    lines = call("export", run, "--overwrite", "--per-class").out.splitlines()
    classes = ["class001", "class001_transformation1", "class001_transformation2", "class002"]
    assert lines[2:] == [
        f"Classes: {', '.join(f'{name}.star' for name in classes)}",
        f"Their rows by number, from 0: {', '.join(f'{name}.txt' for name in classes)}",
    ]
    assert_refused(call("export", run), "replace it with --overwrite")
    assert len(starfile.read(folder / "particles.star")["particles"]) == COUNT


def test_export_in_json_lists_its_files(run: Path) -> None:
    printed = json.loads(call("export", run, "--overwrite", "--per-class", "--json").out)
    assert (printed["rows"], printed["left_out"], printed["not_joined"]) == (30, 0, 0)
    assert printed["files"][0] == str(run / "export" / "main" / "particles.star")
    assert printed["files"][1:]
    assert printed["indices"]
    assert all(Path(path).is_file() for path in printed["files"] + printed["indices"])


def test_export_counts_what_has_no_cluster(run: Path) -> None:
    assert read_clusters(Run(run), "main").sizes == {1: [10, 10], 2: [10]}
    words = ("cluster", run, "--within", "main:1", "--content", 1, "--transformation", 1, "--name", "part")
    assert call(*words, "--quiet").status == 0
    lines = call("export", run, "--clusters", "part", "--overwrite").out.splitlines()
    assert lines[0].startswith("20 rows with their codes and clusters: ")
    assert lines[1] == "10 rows have no cluster and are left out."


def test_clusters_of_pictures_lead_to_the_report_since_they_have_no_averages(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"epochs": 1}})
    ended = call("cluster", run.path, "--content", 2, "--transformation", 1, "--name", "two", "--device", "cpu")
    assert ended.status == 0, ended.err
    assert ended.out.endswith(f"Next: dualcontrast report {run.path} --clusters two\n")
