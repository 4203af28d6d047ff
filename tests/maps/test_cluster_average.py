"""The numbers of an average, and CLUSTER.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.support.maps import cluster_average

from dualcontrast.errors import RunError
from dualcontrast.maps.cluster_average import (
    ClusterFiles,
    ClusterId,
    StateComparison,
    read_average,
    rows_digest,
    write_average,
)

CLOSED = StateComparison("spike", "closed", 0.25, 0.8, 30.0, (1.0, 0.5))
OPEN = StateComparison("spike", "open", 0.75, 0.9, 20.0, (1.0, 0.6))


def test_json_is_read_as_written(tmp_path: Path) -> None:
    average = cluster_average(3, CLOSED, OPEN, commands=("relion_refine --i x",))
    write_average(tmp_path / "x.json", average)
    assert read_average(tmp_path / "x.json", ClusterId(3, 1)) == average
    stored = json.loads((tmp_path / "x.json").read_text())
    assert (stored["cluster"], stored["content_cluster"]) == ("content3_transformation1", 3)
    assert stored["truth"][1]["fsc"] == [1.0, 0.6]
    assert stored["made_from"]["with"] == "builtin"


def test_files_of_earlier_versions_lack_the_numbers_of_the_cluster(tmp_path: Path) -> None:
    stored = cluster_average(3).to_json()
    del stored["content_cluster"], stored["transformation_cluster"]
    (tmp_path / "x.json").write_text(json.dumps(stored))
    assert read_average(tmp_path / "x.json", ClusterId(3, 1)) == cluster_average(3)


@pytest.mark.parametrize("text", ["{", "{}", '{"truth": 3}'])
def test_damaged_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match=r"x\.json: damaged; remove it, and average again"):
        read_average(tmp_path / "x.json", ClusterId(1, 1))
    assert read_average(tmp_path / "y.json", ClusterId(1, 1)) is None


def test_how_names_the_programs() -> None:
    assert cluster_average(1).how == "builtin"
    average = cluster_average(1, CLOSED, OPEN, poses="builtin", averaged_by="relion_reconstruct")
    assert average.how == "poses by builtin, average by relion_reconstruct"
    assert average.best_match == OPEN
    assert average.describe().endswith("; most like spike open, correlation 0.900")
    np.testing.assert_allclose(average.frequencies, np.arange(5) / 80)


def test_commands_name_the_final_folder(tmp_path: Path) -> None:
    files = ClusterFiles(ClusterId(1, 2), tmp_path / ".main.new", tmp_path / "main")
    star = str(files.path(".star").resolve())
    assert files.finally_named(star) == f"{tmp_path.resolve()}/main/content1_transformation2.star"
    assert files.make_relion_folder().is_dir()


def test_the_digest_ignores_the_order_of_rows() -> None:
    assert rows_digest(np.array([3, 1])) == rows_digest(np.array([1, 3])) != rows_digest(np.array([1, 2]))
