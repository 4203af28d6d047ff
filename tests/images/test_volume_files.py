"""Where the volumes of a STAR file are found, and which are refused."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.particles import write_mrc, write_particles_of, write_star

from dualcontrast.errors import SourceError
from dualcontrast.images import open_images
from dualcontrast.images.subtomograms import Subtomograms
from dualcontrast.images.volume_files import mrc_files

BOX = 8


@pytest.fixture
def volumes(rng: np.random.Generator) -> np.ndarray:
    """Five bright balls in noise."""
    ball = np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0) < 2
    return (rng.normal(size=(5, BOX, BOX, BOX)) + 3 * ball).astype(np.float32)


def opened(source: Path, **options: Any) -> Subtomograms:
    images = open_images(source, **options)
    assert isinstance(images, Subtomograms)
    return images


def refused(source: Path, **options: Any) -> str:
    with pytest.raises(SourceError) as error:
        opened(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("below", ["", "Extract/job003"])
def test_volumes_are_found_from_the_star_file_and_above(below: str, volumes: np.ndarray, tmp_path: Path) -> None:
    names = [write_mrc(tmp_path / f"sub/{place}.mrc", volume).name for place, volume in enumerate(volumes)]
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    star = write_star(tmp_path / below / "p.star", [f"sub/{name}" for name in names])
    images = opened(star)
    assert images.options == {"datadir": str(tmp_path)}
    np.testing.assert_array_equal(images.raw(np.arange(5))[:, 0], volumes)


def test_the_current_folder_goes_before(
    volumes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_particles_of(volumes[:3], tmp_path / "project")
    star = write_particles_of(volumes[::-1][:3], tmp_path / "other")
    monkeypatch.chdir(tmp_path / "project")
    images = opened(Path("../other/particles.star"))
    np.testing.assert_array_equal(images.raw(np.arange(3))[:, 0], volumes[:3])
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(images.raw(np.arange(3))[:, 0], volumes[:3])  # the way there is kept whole
    again = opened(star, **images.options)
    np.testing.assert_array_equal(again.raw(np.arange(3))[:, 0], volumes[:3])


def test_datadir_goes_before_all(volumes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    star = write_particles_of(volumes, tmp_path / "star")
    write_particles_of(volumes[::-1], tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    images = opened(star, datadir="data")
    assert images.options == {"datadir": str(tmp_path / "data")}
    np.testing.assert_array_equal(images.raw(np.arange(5))[:, 0], volumes[::-1])
    assert "row 1: sub/000.mrc is not found in" in refused(star, datadir=tmp_path)


def test_paths_may_be_absolute(volumes: np.ndarray, tmp_path: Path) -> None:
    names = [str(write_mrc(tmp_path / f"far/{place}.mrc", volume)) for place, volume in enumerate(volumes)]
    (tmp_path / "near").mkdir()
    star = write_star(tmp_path / "near" / "p.star", names)
    np.testing.assert_array_equal(opened(star).raw(np.arange(5))[:, 0], volumes)


def test_volumes_that_cannot_be_used(volumes: np.ndarray, tmp_path: Path) -> None:
    star = write_particles_of(volumes, tmp_path)
    path = tmp_path / "sub" / "002.mrc"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "row 3: " in refused(star)
    assert "002.mrc: truncated" in refused(star)
    path.unlink()
    assert "row 3: " in refused(star)
    assert "002.mrc: no such MRC file" in refused(star)
    write_mrc(path, volumes[0, :7, :7, :7])
    assert "row 3 (sub/002.mrc) has 7 x 7 x 7 voxels, but row 1 has a box of 8" in refused(star)
    write_mrc(path, volumes[0, :5])
    assert "row 3 (sub/002.mrc) has 8 x 8 x 5 voxels, but subtomograms are cubes" in refused(star)
    write_mrc(path, volumes[:2])
    assert "row 3: sub/002.mrc holds 2 volumes; choose one as NUMBER@sub/002.mrc" in refused(star)
    write_mrc(tmp_path / "a.mrcs", volumes)
    star = write_star(tmp_path / "p.star", [f"{place}@a.mrcs" for place in range(1, 7)])
    assert "row 6 asks for volume 6 of a.mrcs, which holds 5" in refused(star)


def test_hidden_and_other_files_are_not_listed(tmp_path: Path) -> None:
    for name in ("b.mrc", "a.MRCS", "c.map", ".hidden.mrc", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in mrc_files(tmp_path)] == ["a.MRCS", "b.mrc", "c.map"]


def test_formats_of_other_programs_are_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.em").touch()
    star = write_star(tmp_path / "p.star", ["a.em", "a.em"])
    assert "row 1: .em files such as a.em are not read; convert them with e2proc3d.py" in refused(star)


def test_the_weights_of_relion_4_are_the_first_of_two_half_volumes(volumes: np.ndarray, tmp_path: Path) -> None:
    half = (BOX, BOX, BOX // 2 + 1)
    weights = np.concatenate([np.full(half, 0.25), np.full(half, 7.0)]).astype(np.float32)
    write_mrc(tmp_path / "weights.mrc", weights)
    star = write_particles_of(volumes, tmp_path, rlnCtfImage="weights.mrc")
    ctf = opened(star).ctf(np.arange(2))
    assert ctf is not None
    assert ctf.unique().tolist() == [0.25]


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_compressed_volumes_are_read_from_a_star_file_and_from_a_folder(
    suffix: str, volumes: np.ndarray, tmp_path: Path
) -> None:
    compress = gzip.compress if suffix == ".gz" else bz2.compress
    names = []
    for number, volume in enumerate(volumes):
        plain = write_mrc(tmp_path / f"{number}.mrc", volume)
        names.append(f"{number}.mrc{suffix}")
        (tmp_path / names[-1]).write_bytes(compress(plain.read_bytes()))
        plain.unlink()
    for source in (tmp_path, write_star(tmp_path / "p.star", names)):
        np.testing.assert_array_equal(opened(source).raw(np.arange(5))[:, 0], volumes)
