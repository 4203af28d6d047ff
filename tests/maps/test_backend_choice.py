"""Which program finds poses, and which reconstructs maps."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import starfile
from tests.support.maps import untrained_run
from tests.support.particles import angles_and_origins, write_mrc, write_particles_of, write_star

from dualcontrast.analysis.clustering import cluster
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


@pytest.mark.parametrize("kind", ["stack", "name", "unsigned", "half", "axes", "ctf"])
def test_what_relion_would_misread_is_averaged_built_in(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELION 3.1.3 makes wrong maps of these without a message; all of them are read right here."""
    rng = np.random.default_rng(0)
    volumes = rng.integers(0, 200, (6, 8, 8, 8))
    dtype = {"unsigned": np.uint16, "half": np.float16}.get(kind, np.float32)
    names = [f"{number}.mrcs" if kind == "name" else f"{number}.mrc" for number in range(6)]
    for name, volume in zip(names, volumes, strict=True):
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(volume.astype(dtype))
            if kind == "axes":
                file.header.mapc, file.header.maps = 3, 1
    columns = {}
    if kind in ("stack", "ctf"):
        write_mrc(tmp_path / "stack.mrc", volumes.astype(np.float32))
        stacked = [f"{number}@stack.mrc" for number in range(1, 7)]
        names, columns = (stacked, {}) if kind == "stack" else (names, {"rlnCtfImage": stacked})
    star = write_star(tmp_path / "p.star", names, **columns)
    images = open_images(star)
    source = Source(str(star), dict(images.options), images)
    monkeypatch.setattr(relion, "installed", lambda: True)
    choice = BackendChoice.of("auto", source, images)
    assert isinstance(choice.for_maps(select_particles(images, np.arange(6), 0)), BuiltinBackend)
    with pytest.raises(RunError, match=r"RELION would misread .*; leave out `by`"):
        BackendChoice.of("relion", source, images)
