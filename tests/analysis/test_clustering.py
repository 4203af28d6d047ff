from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.codes import run_with_codes

from dualcontrast.analysis.agreement import Agreement
from dualcontrast.analysis.clustering import cluster
from dualcontrast.analysis.clusters import Parent, read_clusters
from dualcontrast.errors import DualContrastWarning, RunError
from dualcontrast.runs import RunFolder

COUNT = 90


def codes_of(labels: np.ndarray, seed: int, distance: float = 9.0) -> np.ndarray:
    return distance * np.eye(3, 4)[labels] + np.random.default_rng(seed).normal(size=(len(labels), 4))


IDENTITY = np.repeat([0, 0, 1], COUNT // 3)  # 60 and 30
STATE = np.where(IDENTITY == 0, np.arange(COUNT) % 3 == 0, 0).astype(int)  # the first has states of 20 and 40


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    names, states = np.array(["spike", "fas"])[IDENTITY], np.array(["shut", "open"])[STATE]
    return run_with_codes(
        tmp_path / "run",
        codes_of(IDENTITY, 0),
        codes_of(STATE, 1),
        split="train",
        content=names,
        transformation=states,
    )


def test_clusters_of_content_then_of_transformation_within(run: RunFolder) -> None:
    done = cluster(run)
    assert list(done.table) == [
        "row", "content_cluster", "content_probability", "transformation_cluster", "transformation_probability"
    ]  # fmt: skip
    np.testing.assert_array_equal(done.table["row"], np.arange(50, 140))
    np.testing.assert_array_equal(done.table["content_cluster"], IDENTITY + 1)  # the larger is the first
    np.testing.assert_array_equal(done.table["transformation_cluster"], STATE + 1)
    assert done.sizes == {1: [40, 20], 2: [30]}
    assert done.units == [(1, 1), (1, 2), (2, 1)]
    assert done.rows_of(1, 2).tolist() == (np.flatnonzero(STATE == 1) + 50).tolist()
    assert done.table["content_probability"].between(0.99, 1).all()


def test_agreement_with_labels(run: RunFolder) -> None:
    done = cluster(run, content=2, transformation=2)
    assert done.agreement == {
        "content": Agreement(1, 1, 1, images=90),
        "transformation": Agreement(1, 1, 1, images=60),
    }
    assert any("adjusted Rand index 1.000" in line for line in done.describe())
    rough = cluster(run, content=1, transformation=1, name="rough").agreement
    assert rough["content"] == Agreement(ari=0.0, nmi=0.0, purity=0.6667, images=90)


def test_a_further_round_within_a_cluster(run: RunFolder) -> None:
    cluster(run, content=2, transformation=1)
    done = cluster(run, within=1, content=2, transformation=1)
    assert done.name == "main-1"
    assert set(done.table["row"]) == set(np.flatnonzero(IDENTITY == 0) + 50)
    assert done.parent == Parent("main", 1)
    third = cluster(run, within="main-1:2", name="third", content=1, transformation=1)
    assert set(third.table["row"]) == set(done.rows_of(2))


def test_without_labels_the_codes_are_drawn(tmp_path: Path) -> None:
    run = run_with_codes(tmp_path / "run", codes_of(IDENTITY, 0)[:, :1], codes_of(STATE, 1), split="train")
    done = cluster(run, content=2, transformation=1)
    assert done.agreement == {}
    with Image.open(run.path / "figures" / "clusters_main.png") as picture:
        assert min(picture.size) > 100


def test_probabilities_of_clusters_as_codes(tmp_path: Path) -> None:
    run = run_with_codes(tmp_path / "run", np.eye(5)[IDENTITY], codes_of(STATE, 1), split="train")
    assert cluster(run).sizes == {1: [40, 20], 2: [30]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"content": 91}, "91 content clusters are too many for 90 images; request fewer"),
        ({"content": 2, "transformation": 31}, "too many for content cluster 2, of 30 images"),
        ({"content": 0}, "0 is not a number of content clusters"),
        ({"transformation": "many"}, "many is not a number of transformation clusters; give 1 or more, or auto"),
        ({"within": "x"}, "x: is not a content cluster; give its number, or NAME:NUMBER"),
        ({"within": 1}, "has no clusters called main; create them with `run.cluster()`"),
        ({"name": "../a"}, "'../a' cannot name clusters"),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence_and_nothing_is_written(
    run: RunFolder, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RunError) as error:
        cluster(run, **options)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (run.path / "clusters").exists()


def test_unknown_clusters_are_refused(run: RunFolder) -> None:
    cluster(run, content=2, transformation=1)
    with pytest.raises(RunError, match="main has no content cluster 3; it has 1 to 2"):
        cluster(run, within=3)
    with pytest.raises(RunError, match=r"has no clusters called mian; did you mean main\?"):
        read_clusters(run, "mian")


def test_fewer_clusters_than_requested_are_warned_of(tmp_path: Path) -> None:
    run = run_with_codes(tmp_path / "run", np.eye(3)[IDENTITY], codes_of(STATE, 1), split="train")
    with pytest.warns(DualContrastWarning, match="90 images, form 2 content clusters instead of 4"):
        assert len(cluster(run, content=4, transformation=1).sizes) == 2
