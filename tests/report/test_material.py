from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.support.report import figures_of, page_of
from tests.support.runs import SMALL, small_run

import dualcontrast
from dualcontrast.api import Run
from dualcontrast.errors import RunError, SourceError
from dualcontrast.settings import merged


def test_what_is_missing_comes_with_the_command_that_creates_it(scored: Run) -> None:
    done = scored.report(how="pca")
    page = done.path.read_text(encoding="utf-8")
    assert done.left_out
    assert f"dualcontrast cluster {scored.path}" in page
    assert f"dualcontrast transfer {scored.path}" in page


def test_a_run_that_is_only_encoded_has_a_report(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"epochs": 1}})
    with pytest.raises(RunError, match=r"not encoded yet; call `run\.encode\(\)`"):
        run.report()
    run.encode()
    done = run.report(how="pca")
    assert done.left_out == {
        "Scores": f"The codes are not scored yet: dualcontrast evaluate {run.path}",
        "Clusters": f"The codes are not clustered yet: dualcontrast cluster {run.path}",
    }
    page = page_of(done.path)
    assert f"Run dualcontrast evaluate {run.path}" in page.texts["scores"]
    assert "averages" not in page.texts
    run.transfer()
    assert "not scored yet" in run.report(how="pca").left_out["Scores"]
    assert "Do hybrids keep both?" in page_of(done.path).texts["scores"]
    assert "Which content?" not in page_of(done.path).texts["scores"]


def test_codes_and_scores_older_than_the_weights_are_not_shown(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copy = Run.open(tmp_path / "run")
    os.utime(copy.weights_path("best"))
    with pytest.raises(RunError, match=r"its codes are older than its weights; call `run\.encode"):
        copy.report()
    copy.encode()
    left_out = copy.report(how="pca").left_out
    assert left_out["Scores"] == f"The scores are older than the weights: dualcontrast evaluate {copy.path}"
    assert "older than the run's weights" in left_out["Clusters"]


def test_a_report_shows_the_command_that_creates_it_again(run: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(run.path, tmp_path / "run"))
    run.cluster(name="two", content=2, transformation=1)
    page = page_of(run.report(how="pca", clusters="two", seed=3, limit=100).path)
    again = f"dualcontrast report {run.path} --clusters two --how pca --limit 100 --seed 3"
    assert again in page.texts["provenance"]
    assert f"Show them with dualcontrast report {run.path} --clusters NAME" in page.texts["clusters"]


def test_without_its_source_a_report_has_no_pictures(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    settings = merged(SMALL, {"training": {"epochs": 1, "limit": None, "batch_size": 20}})
    run = dualcontrast.train(
        tmp_path / "images.npy", out=tmp_path / "run", recipe="mnist", settings=settings, device="cpu"
    )
    run.encode()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "images.npy").rename(tmp_path / "elsewhere" / "images.npy")
    moved = dualcontrast.load(run.path)
    done = moved.report(how="pca")
    assert "its images are no longer there, looked for at" in done.left_out["What was run"]
    assert done.left_out["Transfer"] == (
        "Hybrids are decoded from images, which cannot be read; give their folder with --datadir."
    )
    drawn = figures_of(done.path)["embeddings"]
    assert drawn["sheet"] is None
    assert len(drawn["rows"]) == drawn["pictured"] == 60
    found = dualcontrast.load(run.path).report(how="pca", datadir=tmp_path / "elsewhere")
    assert set(found.left_out) == {"Scores", "Clusters"}
    with pytest.raises(SourceError, match="its images are no longer there"):
        dualcontrast.load(run.path).report(how="pca", datadir=tmp_path)


def test_images_in_memory_have_pictures_as_long_as_they_exist(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((60, 3, 20, 28)).astype(np.float32)
    settings = {"training": {"epochs": 1, "batch_size": 20}}
    run = dualcontrast.train(pixels, out=tmp_path / "run", settings=settings, device="cpu")
    run.encode()
    assert set(run.report(how="pca").left_out) == {"Scores", "Clusters"}
    sheet = figures_of(run.report_path())["embeddings"]["sheet"]
    assert (sheet["width"], sheet["height"]) == (28, 20)
    assert "trained on images in memory" in dualcontrast.load(run.path).report(how="pca").left_out["What was run"]
