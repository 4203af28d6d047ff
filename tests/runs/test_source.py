"""The source of a run's images, also after it was moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.folders import untrained_folder
from tests.support.maps import untrained_run
from tests.support.particles import write_particles_of

from dualcontrast.errors import RunError, SourceError
from dualcontrast.runs import RunFolder
from dualcontrast.runs.source import attached


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Make a run on a STAR file in a folder of the project, with paths relative to the project."""
    volumes = np.random.default_rng(0).normal(size=(24, 16, 16, 16)).astype(np.float32)
    star = write_particles_of(volumes, tmp_path / "project")
    (tmp_path / "project" / "job").mkdir()
    star = star.rename(tmp_path / "project" / "job" / star.name)
    return untrained_run(tmp_path / "run", star, datadir=tmp_path / "project", bin=2)


def test_a_source_that_was_not_moved_is_opened_as_in_training(run: RunFolder, tmp_path: Path) -> None:
    source = attached(run)
    assert source.path == str(tmp_path / "project" / "job" / "particles.star")
    assert source.options == {"datadir": str(tmp_path / "project"), "bin": 2}
    assert source.is_star
    assert len(source.images) == 24
    assert source.box == 16  # of the files, not of the binned images
    assert len(run.images()) == 24


def test_a_moved_project_is_found_by_its_new_folder(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "project").rename(tmp_path / "moved")
    with pytest.raises(SourceError, match=r"looked for at .*particles\.star; put them back, or give their folder"):
        attached(run)
    source = attached(run, tmp_path / "moved")
    assert source.path == str(tmp_path / "moved" / "job" / "particles.star")
    assert source.options["datadir"] == str(tmp_path / "moved")


def test_all_candidates_are_named_if_none_exists(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "project").rename(tmp_path / "moved")
    with pytest.raises(SourceError, match=r"project/job/particles\.star and .*other/job/.* and .*other/particles"):
        attached(run, tmp_path / "other")


def test_other_images_at_the_same_path_are_refused(run: RunFolder, tmp_path: Path) -> None:
    others = np.random.default_rng(1).normal(size=(24, 16, 16, 16)).astype(np.float32)
    write_particles_of(others, tmp_path / "project")
    with pytest.raises(RunError, match="not the images that"):
        attached(run)


def test_images_in_memory_have_no_source(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="trained on images in memory, which have no rows to go back to"):
        attached(untrained_folder(tmp_path / "run"))
