from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.support.maps import CodedRun
from tests.support.report import figures_of, page_of

from dualcontrast.api import Run
from dualcontrast.errors import DualContrastWarning


def test_averages_are_shown_with_the_most_similar_true_map(maps: CodedRun) -> None:
    done = maps.report(how="pca")
    assert set(done.left_out) == {"Scores", "Training"}
    assert done.size < 10_000_000
    text = page_of(done.path).texts["averages"]
    assert "content 1, transformation 1 12 particles, 42 Å; most like spike" in text
    assert text.count("Poses as stated, averaged by the built-in averager.") == 3
    assert "in boxes of 16 voxels of 21 Å" in text
    drawn = figures_of(done.path)
    names = [f"content{content}_transformation{part}" for content, part in ((1, 1), (1, 2), (2, 1))]
    assert [f"surface-{name}" in drawn for name in names] == [True] * 3
    unit = json.loads((maps.averages_folder("main") / f"{names[0]}.json").read_text())
    assert drawn["fsc"]["data"][0]["y"] == unit["fsc"]


def test_averages_of_earlier_clusters_are_not_shown(maps: CodedRun) -> None:
    maps.cluster(name="other", content=2, transformation=1)
    left_out = maps.report(how="pca", clusters="other").left_out
    assert left_out["Averages"].endswith(f"dualcontrast average {maps.path} --clusters other")
    maps.average(clusters="other", by="builtin")
    assert "Averages" not in maps.report(how="pca", clusters="other").left_out
    maps.cluster(name="other", content=1, transformation=3)
    left_out = maps.report(how="pca", clusters="other").left_out
    command = f"dualcontrast average {maps.path} --clusters other --overwrite"
    assert left_out["Averages"].endswith(f": {command}")


def test_a_deleted_average_is_reported_with_the_command_that_creates_it(maps: CodedRun, tmp_path: Path) -> None:
    for ending in ("mrc", "star"):
        copy = Run(shutil.copytree(maps.path, tmp_path / ending))
        gone = copy.averages_folder("main") / f"content1_transformation1.{ending}"
        gone.unlink()
        left_out = copy.report(how="pca").left_out
        command = f"dualcontrast average {copy.path} --overwrite"
        assert left_out["Averages"].startswith(f"{gone}: ")
        assert left_out["Averages"].endswith(f": {command}")
        assert left_out["Continue in RELION"].endswith(f"references for refinement, are missing: {command}")


def test_a_cluster_of_one_image_needs_no_average(maps: CodedRun, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(maps.path, tmp_path / "run"))
    copy.cluster(name="odd", content=2, transformation=1)
    path = copy.clusters_path("odd")
    table = pd.read_csv(path)
    table.loc[0, "transformation_cluster"] = 9
    table.to_csv(path, index=False)
    with pytest.warns(DualContrastWarning, match="has a single image"):
        copy.average(clusters="odd", by="builtin")
    left_out = copy.report(how="pca", clusters="odd").left_out
    assert left_out["Averages"] == "1 of 3 clusters holds a single image, which cannot be averaged."
