"""Which program finds poses, and which reconstructs maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import starfile
from tests.support.maps import untrained_run
from tests.support.particles import angles_and_origins, write_particles_of

from dualcontrast.analysis.clusters import cluster
from dualcontrast.errors import RunError
from dualcontrast.images import open_images
from dualcontrast.maps import backend_choice, relion
from dualcontrast.maps.average import average
from dualcontrast.maps.backend_choice import BackendChoice
from dualcontrast.maps.builtin_backend import BuiltinBackend
from dualcontrast.maps.particles import select_particles
from dualcontrast.maps.relion_backend import RelionBackend
from dualcontrast.runs.source import Source


def test_an_old_relion_is_not_given_premultiplied_particles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    star = write_particles_of(np.random.default_rng(0).normal(size=(6, 8, 8, 8)), tmp_path / "data")
    blocks = starfile.read(star)
    blocks["optics"] = blocks["optics"].assign(rlnCtfDataAreCtfPremultiplied=1)
    starfile.write(blocks, star)
    run = untrained_run(tmp_path / "run", star)
    run.keep_codes(np.zeros((6, 2)), np.zeros((6, 2)))
    cluster(run)
    monkeypatch.setattr(relion, "installed", lambda: True)
    monkeypatch.setattr(relion, "takes_premultiplied", lambda: False)
    with pytest.raises(RunError, match="multiplied by their CTF, which the installed RELION does"):
        average(run, by="relion")
    assert not run.averages_folder("main").exists()


def test_odd_boxes_are_not_given_to_relion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    columns = angles_and_origins(rng.uniform(-90, 90, (6, 3)), np.zeros((6, 3)))
    run = untrained_run(tmp_path / "run", write_particles_of(rng.normal(size=(6, 9, 9, 9)), tmp_path, **columns))
    run.keep_codes(np.zeros((6, 2)), np.zeros((6, 2)))
    cluster(run)
    monkeypatch.setattr(relion, "installed", lambda: True)
    with pytest.raises(RunError, match="boxes of 9 voxels are odd, and RELION takes only even ones"):
        average(run, by="relion")
    assert [unit.averaged_by for unit in average(run).clusters] == ["builtin"]


def test_auto_gives_relion_small_clusters_that_it_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    star = write_particles_of(np.random.default_rng(0).normal(size=(6, 8, 8, 8)), tmp_path)
    images = open_images(star)
    particles = select_particles(images, np.arange(6), 0)
    source = Source(str(star), {"datadir": str(tmp_path)}, images)
    choice = BackendChoice.of("auto", source, images)
    monkeypatch.setattr(relion, "installed", lambda: True)
    assert choice.for_poses(particles) == choice.for_maps(particles) == RelionBackend(tmp_path)
    monkeypatch.setattr(backend_choice, "MAX_REFINED_BY_RELION", 5)
    assert isinstance(choice.for_poses(particles), BuiltinBackend)
    assert isinstance(choice.for_maps(particles), RelionBackend)
    dark = BackendChoice.of("auto", Source(str(star), {"invert": True}, images), images)
    assert isinstance(dark.for_maps(particles), BuiltinBackend)
    monkeypatch.setattr(relion, "installed", lambda: False)
    assert isinstance(choice.for_maps(particles), BuiltinBackend)
    assert isinstance(BackendChoice("builtin", source, True).for_maps(particles), BuiltinBackend)
