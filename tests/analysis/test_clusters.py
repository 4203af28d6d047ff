"""The files of clusters keep their format: other programs, and runs of earlier versions, depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.support.codes import run_with_codes

from dualcontrast.analysis.agreement import Agreement
from dualcontrast.analysis.clusters import (
    COLUMNS,
    Candidates,
    Clusters,
    Numbers,
    Parent,
    read_clusters,
    write_clusters,
)
from dualcontrast.analysis.mixtures import Candidate
from dualcontrast.errors import RunError
from dualcontrast.files import write_json
from dualcontrast.runs import RunFolder

STORED = {
    "name": "first",
    "within": {"clusters": "main", "content_cluster": 1},
    "weights": "best",
    "seed": 3,
    "asked": {"content": 2, "transformation": "auto"},
    "images": 4,
    "sizes": {"1": [2, 1], "2": [1]},
    "tried": {
        "content": [],
        "transformation": {
            "1": [{"clusters": 1, "bic": 5.5, "smallest": 3, "ari": 1.0, "weakest": 1.0}],
            "2": [],
        },
    },
    "agreement": {"content": {"ari": 1.0, "nmi": 0.9, "purity": 1.0, "images": 4}},
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return run_with_codes(tmp_path / "run", np.zeros((4, 2)), np.zeros((4, 2)))


@pytest.fixture
def clusters() -> Clusters:
    columns = [[50, 51, 52, 53], [1, 1, 2, 1], [0.9] * 4, [1, 2, 1, 1], [0.8] * 4]
    return Clusters(
        name="first",
        table=pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))),
        parent=Parent("main", 1),
        weights="best",
        seed=3,
        requested=Numbers(content=2, transformation="auto"),
        sizes={1: [2, 1], 2: [1]},
        candidates=Candidates([], {1: [Candidate(1, 5.5, 3, 1.0, 1.0)], 2: []}),
        agreement={"content": Agreement(1.0, 0.9, 1.0, 4)},
    )


def test_what_is_written_is_read_again(run: RunFolder, clusters: Clusters) -> None:
    path = write_clusters(run, clusters)
    assert path == run.path / "clusters" / "first.csv"
    assert json.loads((run.path / "clusters" / "first.json").read_text()) == clusters.as_json() == STORED
    again = read_clusters(run, "first")
    pd.testing.assert_frame_equal(again.table, clusters.table)
    assert again.as_json() == STORED
    assert again.candidates == clusters.candidates
    assert again.parent == clusters.parent


def test_units_and_rows_are_those_of_the_table(clusters: Clusters) -> None:
    assert clusters.units == [(1, 1), (1, 2), (2, 1)]
    assert clusters.rows_of(1).tolist() == [50, 51, 53]
    assert clusters.rows_of(1, 2).tolist() == [51]
    assert clusters.rows_of(3).tolist() == []


def test_clusters_are_described_in_sentences(clusters: Clusters) -> None:
    assert clusters.describe() == [
        "4 images in 2 content clusters:",
        "  1: 3, in 2 transformation clusters of 2 + 1",
        "  2: 1",
        "Agreement with the content labels: adjusted Rand index 1.000, normalised mutual information 0.900, "
        "purity 1.000 (4 images).",
    ]


def test_a_table_never_stands_beside_the_json_of_another(
    run: RunFolder, clusters: Clusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clusters(run, clusters)

    def killed(path: Path, value: Any) -> None:
        write_json(path, value)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("dualcontrast.analysis.clusters.write_json", killed)
        write_clusters(run, clusters)
    with pytest.raises(RunError, match=r"has no clusters called first; create them with `run\.cluster\(\)`"):
        read_clusters(run, "first")
    write_clusters(run, clusters)
    assert read_clusters(run, "first").sizes == clusters.sizes


def test_an_unknown_name_is_answered_with_the_nearest(run: RunFolder, clusters: Clusters) -> None:
    write_clusters(run, clusters)
    with pytest.raises(RunError, match=r"has no clusters called frist; did you mean first\?"):
        read_clusters(run, "frist")


@pytest.mark.parametrize("missing", [None, *STORED])
def test_a_damaged_json_is_refused(run: RunFolder, clusters: Clusters, missing: str | None) -> None:
    path = write_clusters(run, clusters).with_suffix(".json")
    if missing is None:
        path.write_text("{")
    else:
        path.write_text(json.dumps({key: value for key, value in STORED.items() if key != missing}))
        if missing in ("name", "images"):  # the table has them
            assert read_clusters(run, "first").sizes == clusters.sizes
            return
    with pytest.raises(
        RunError, match=r"first\.csv: is damaged; create it again with `run\.cluster\(name=\"first\"\)`"
    ):
        read_clusters(run, "first")


def test_a_damaged_table_is_refused(run: RunFolder, clusters: Clusters) -> None:
    path = write_clusters(run, clusters)
    path.write_text(path.read_text().replace("0.9", "x"))
    with pytest.raises(RunError, match="is damaged"):
        read_clusters(run, "first")


def test_clusters_older_than_the_weights_are_refused(run: RunFolder, clusters: Clusters) -> None:
    write_clusters(run, clusters)
    run.weights_path("best").write_bytes(b"new")
    with pytest.raises(RunError, match="is older than the run's weights; create it again"):
        read_clusters(run, "first")
