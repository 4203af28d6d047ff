from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dualcontrast.analysis.clusters import agreement_of, cluster, read_clusters
from dualcontrast.errors import DualContrastWarning, RunError
from dualcontrast.files import write_json
from dualcontrast.runs import RunFolder, SavedCodes, write_codes

COUNT = 90


def run_with(folder: Path, contents: np.ndarray, transformations: np.ndarray, **columns: Any) -> RunFolder:
    """Make a run that has codes; its weights are older, and never read."""
    run = RunFolder(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    run.weights_path("best").touch()
    table = pd.DataFrame({"row": np.arange(len(contents)) + 50, **columns})
    codes = contents.astype(np.float32), transformations.astype(np.float32)
    write_codes(run.codes_folder(), SavedCodes(*codes, *codes, table))
    return run


def codes_of(labels: np.ndarray, seed: int, distance: float = 9.0) -> np.ndarray:
    return distance * np.eye(3, 4)[labels] + np.random.default_rng(seed).normal(size=(len(labels), 4))


IDENTITY = np.repeat([0, 0, 1], COUNT // 3)  # 60 and 30
STATE = np.where(IDENTITY == 0, np.arange(COUNT) % 3 == 0, 0).astype(int)  # the first has states of 20 and 40


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    names, states = np.array(["spike", "fas"])[IDENTITY], np.array(["shut", "open"])[STATE]
    return run_with(
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
    assert done.described["sizes"] == {"1": [40, 20], "2": [30]}
    assert done.units == [(1, 1), (1, 2), (2, 1)]
    assert done.rows_of(1, 2).tolist() == (np.flatnonzero(STATE == 1) + 50).tolist()
    assert done.table["content_probability"].between(0.99, 1).all()


def test_what_is_written_is_read_again(run: RunFolder) -> None:
    done = cluster(run, name="first")
    again = read_clusters(run, "first")
    pd.testing.assert_frame_equal(again.table, done.table)
    assert again.described == done.described == json.loads((run.path / "clusters" / "first.json").read_text())
    assert again.units == done.units
    with Image.open(run.path / "figures" / "clusters_first.png") as picture:
        assert min(picture.size) > 100


def test_a_table_is_never_there_with_what_is_told_of_another(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(run, content=2, transformation=1)

    def killed(path: Path, value: Any) -> None:
        write_json(path, value)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("dualcontrast.analysis.clusters.write_json", killed)
        cluster(run, content=3, transformation=1)
    with pytest.raises(RunError, match="has no clusters called main; make them with"):
        read_clusters(run)
    assert len(cluster(run, content=3, transformation=1).described["sizes"]) == 3
    assert len(read_clusters(run).described["sizes"]) == 3


def test_agreement_with_labels(run: RunFolder) -> None:
    whole = {"ari": 1.0, "nmi": 1.0, "purity": 1.0}
    done = cluster(run, content=2, transformation=2)
    assert done.described["agreement"] == {
        "content": {**whole, "images": 90},
        "transformation": {**whole, "images": 60},
    }
    assert any("adjusted Rand index of 1.000" in line for line in done.describe())
    rough = cluster(run, content=1, transformation=1, name="rough").described["agreement"]
    assert rough["content"] == {"ari": 0.0, "nmi": 0.0, "purity": pytest.approx(2 / 3, abs=1e-4), "images": 90}


def test_agreement_leaves_out_images_without_a_label() -> None:
    table = pd.DataFrame({"content_cluster": [1, 1, 2, 2, 2], "transformation_cluster": [1, 1, 1, 2, 2]})
    labels = pd.DataFrame({"content": ["a", None, "b", "b", None], "transformation": ["x", "y", "x", "y", "y"]})
    found = agreement_of(table, labels)
    assert found["content"] == {"ari": 1.0, "nmi": 1.0, "purity": 1.0, "images": 3}
    # The first cluster is one group of two states, and the second is right: weighted by their images.
    assert found["transformation"]["purity"] == pytest.approx((2 * 0.5 + 3 * 1) / 5)
    assert found["transformation"]["images"] == 5
    assert agreement_of(table, pd.DataFrame(index=range(5))) == {}


def test_a_further_round_within_a_cluster(run: RunFolder) -> None:
    cluster(run, content=2, transformation=1)
    done = cluster(run, within=1, content=2, transformation=1)
    assert done.name == "main-1"
    assert set(done.table["row"]) == set(np.flatnonzero(IDENTITY == 0) + 50)
    assert done.described["within"] == {"clusters": "main", "content_cluster": 1}
    third = cluster(run, within="main-1:2", name="third", content=1, transformation=1)
    assert set(third.table["row"]) == set(done.rows_of(2))


def test_without_labels_the_codes_are_drawn(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", codes_of(IDENTITY, 0)[:, :1], codes_of(STATE, 1), split="train")
    done = cluster(run, content=2, transformation=1)
    assert done.described["agreement"] == {}
    with Image.open(run.path / "figures" / "clusters_main.png") as picture:
        assert min(picture.size) > 100


def test_probabilities_of_clusters_as_codes(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", np.eye(5)[IDENTITY], codes_of(STATE, 1), split="train")
    assert cluster(run).described["sizes"] == {"1": [40, 20], "2": [30]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"content": 91}, "91 content clusters are too many for 90 images; ask for fewer"),
        ({"content": 2, "transformation": 31}, "too many for content cluster 2, of 30 images"),
        ({"content": 0}, "0 is no number of content clusters"),
        ({"transformation": "many"}, "many is no number of transformation clusters; give 1 or more, or auto"),
        ({"within": "x"}, "x: no content cluster; give its number, or NAME:NUMBER"),
        ({"within": 1}, "has no clusters called main; make them with dualcontrast cluster"),
        ({"name": "../a"}, "'../a' is no name for clusters"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_writes_nothing(
    run: RunFolder, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RunError) as error:
        cluster(run, **options)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert not (run.path / "clusters").exists()


def test_a_cluster_that_is_not_there(run: RunFolder) -> None:
    cluster(run, content=2, transformation=1)
    with pytest.raises(RunError, match="main has no content cluster 3; it has 1 to 2"):
        cluster(run, within=3)
    with pytest.raises(RunError, match=r"has no clusters called mian; did you mean main\?"):
        read_clusters(run, "mian")


def test_fewer_clusters_than_were_asked_for_are_told(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", np.eye(3)[IDENTITY], codes_of(STATE, 1), split="train")
    with pytest.warns(DualContrastWarning, match="90 images, make 2 content clusters in place of 4"):
        assert len(cluster(run, content=4, transformation=1).described["sizes"]) == 2


def test_clusters_older_than_the_weights_or_damaged_are_refused(run: RunFolder) -> None:
    cluster(run, content=2, transformation=1)
    (run.path / "clusters" / "main.json").write_text("{")
    with pytest.raises(RunError, match=r"main\.csv: damaged; make it again"):
        read_clusters(run)
    cluster(run, content=2, transformation=1)
    run.weights_path("best").write_bytes(b"new")
    with pytest.raises(RunError, match="older than the run's weights; make it again"):
        read_clusters(run)
