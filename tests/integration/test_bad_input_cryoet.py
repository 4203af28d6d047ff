"""Subtomograms that cannot be used end with status 2 and one sentence, before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import starfile
import yaml
from tests.support.command import Ended, assert_refused, call
from tests.support.particles import angles_and_origins, write_mrc, write_particles_of, write_star

BOX, COUNT = 16, 20
SMALL = ("--set", "training.batch_size=8", "--set", "network.encoder.channels=[4]", "--set", "views=[rotation]")
SMALL += ("--set", "network.decoder.hidden=[8]", "--set", "method.clusters=2")
SMALL += ("--epochs", "1", "--device", "cpu", "--quiet")


@pytest.fixture
def volumes() -> np.ndarray:
    ball = np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0) < 2
    return np.random.default_rng(0).normal(size=(COUNT, BOX, BOX, BOX)) + 3 * ball


@pytest.fixture
def train_on(tmp_path: Path) -> Callable[..., Ended]:
    """Train on a source, into the folder `run`."""
    return lambda source, *words: call("train", source, "--out", tmp_path / "run", *SMALL, *words)


def missing_star(folder: Path, volumes: np.ndarray) -> Path:
    return folder / "particles.star"


def missing_mrc(folder: Path, volumes: np.ndarray) -> Path:
    star = write_particles_of(volumes, folder)
    (folder / "sub/011.mrc").unlink()
    return star


def missing_all(folder: Path, volumes: np.ndarray) -> Path:
    return write_star(folder / "particles.star", ["Extract/1.mrc", "Extract/2.mrc"])


def cut_mrc(folder: Path, volumes: np.ndarray) -> Path:
    star = write_particles_of(volumes, folder)
    os.truncate(folder / "sub/011.mrc", 2000)
    return star


def no_mrc(folder: Path, volumes: np.ndarray) -> Path:
    star = write_particles_of(volumes, folder)
    (folder / "sub/011.mrc").write_text("a volume" * 500)
    return star


def other_box(folder: Path, volumes: np.ndarray) -> Path:
    star = write_particles_of(volumes, folder)
    write_mrc(folder / "sub/011.mrc", np.zeros((6, 6, 6)))
    return star


def no_cube(folder: Path, volumes: np.ndarray) -> Path:
    return write_particles_of(volumes[:, :5], folder)


def no_pixel_size(folder: Path, volumes: np.ndarray) -> Path:
    star = write_particles_of(volumes, folder)
    blocks = starfile.read(star)
    blocks["optics"]["rlnImagePixelSize"] = 0.0
    starfile.write(blocks, star)
    return star


def flat_stacks(folder: Path, volumes: np.ndarray) -> Path:
    write_mrc(folder / "1.mrcs", volumes[0])
    return write_star(folder / "particles.star", ["1.mrcs"] * COUNT, {"rlnTomoSubTomosAre2DStacks": 1})


def no_names(folder: Path, volumes: np.ndarray) -> Path:
    star = write_particles_of(volumes, folder)
    star.write_text(star.read_text().replace("rlnImageName", "rlnName"))
    return star


def one_angle(folder: Path, volumes: np.ndarray) -> Path:
    return write_particles_of(volumes, folder, rlnAngleRot=10.0)


def more_rows_than_volumes(folder: Path, volumes: np.ndarray) -> Path:
    write_mrc(folder / "a.mrcs", volumes[:15])
    return write_star(folder / "particles.star", [f"{row:06}@a.mrcs" for row in range(1, COUNT + 1)])


def from_zero(folder: Path, volumes: np.ndarray) -> Path:
    write_mrc(folder / "a.mrcs", volumes)
    return write_star(folder / "particles.star", [f"{row}@a.mrcs" for row in range(COUNT)])


def with_nan(folder: Path, volumes: np.ndarray) -> Path:
    volumes[11, 2, 2, 2] = np.nan
    return write_particles_of(volumes, folder)


def masked(folder: Path, volumes: np.ndarray) -> Path:
    volumes[11] *= np.linalg.norm(np.indices((BOX,) * 3) - BOX // 2, axis=0) < 3
    return write_particles_of(volumes, folder)


def words(folder: Path, volumes: np.ndarray) -> Path:
    (folder / "particles.star").write_text("no particles, but words\n")
    return folder / "particles.star"


def stack_with_nan(folder: Path, volumes: np.ndarray) -> Path:
    volumes[11, 2, 2, 2] = np.nan
    return write_mrc(folder / "a.mrcs", volumes)


def tomogram(folder: Path, volumes: np.ndarray) -> Path:
    return write_mrc(folder / "tomogram.mrc", np.zeros((5, 8, 8)))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (missing_star, "particles.star: no such file or folder"),
        (missing_mrc, "sub/011.mrc: no such MRC file"),
        (
            missing_all,
            "Extract/1.mrc is not found here, in the STAR file's folder or in those above it; give",
        ),
        (cut_mrc, "sub/011.mrc: truncated: 2,000 bytes of"),
        (no_mrc, "sub/011.mrc: not an MRC file"),
        (other_box, "row 12 (sub/011.mrc) has 6 x 6 x 6 voxels, but row 1 has a box of 16"),
        (no_cube, "row 1 (sub/000.mrc) has 16 x 16 x 5 voxels, but subtomograms are cubes"),
        (no_pixel_size, "optics group 1 has a pixel size of 0 A"),
        (flat_stacks, "its particles are 2D stacks, not volumes; extract them again as 3D pseudo-subtomograms"),
        (no_names, "its particle block has no rlnImageName"),
        (one_angle, "its particle block has no rlnAngleTilt, rlnAnglePsi"),
        (more_rows_than_volumes, "row 16 asks for volume 16 of a.mrcs, which holds 15"),
        (from_zero, "row 1 has 0@a.mrcs as its rlnImageName"),
        (with_nan, "particles.star: row 12 (sub/011.mrc) holds NaN or infinite values"),
        (masked, "particles.star: row 12 (sub/011.mrc) is constant outside the sphere"),
        (words, "particles.star: has no block data_particles; it has no data at all"),
        (stack_with_nan, "a.mrcs: row 12 (12@a.mrcs) holds NaN or infinite values"),
        (tomogram, "tomogram.mrc: row 1 (1@tomogram.mrc) has 8 x 8 x 5 voxels, but subtomograms are cubes"),
    ],
)
def test_subtomograms_that_cannot_be_used(
    source: Callable[[Path, np.ndarray], Path],
    sentence: str,
    train_on: Callable[..., Ended],
    tmp_path: Path,
    volumes: np.ndarray,
) -> None:
    assert_refused(train_on(source(tmp_path, volumes)), sentence, tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bin", 3], "boxes of 16 voxels cannot be binned by 3, because the binned box must be even"),
        (["--poses"], "has no rlnAngleRot, rlnAngleTilt and rlnAnglePsi to undo"),
        (["--datadir", "nowhere"], "sub/000.mrc is not found in"),
        (["--mask", "nowhere.mrc"], "nowhere.mrc: no such MRC file"),
        (["--labels", "rlnImageNam"], "particles have no column rlnImageNam; did you mean rlnImageName?"),
        (["--key", "images"], "--key applies only to an .npz, an .h5 or .hdf5"),
    ],
)
def test_options_that_cannot_be_used(
    words: list[object], sentence: str, train_on: Callable[..., Ended], tmp_path: Path, volumes: np.ndarray
) -> None:
    assert_refused(train_on(write_particles_of(volumes, tmp_path), *words), sentence, tmp_path / "run")


@pytest.mark.parametrize(
    "words", [["--bin", 2], ["--poses"], ["--invert"], ["--mask", "sphere"], ["--datadir", "."]]
)
def test_options_for_subtomograms_alone(
    words: list[object], train_on: Callable[..., Ended], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((COUNT, BOX, BOX), np.uint8))
    sentence = f"{words[0]} applies only to a STAR file of subtomograms"
    assert_refused(train_on(tmp_path / "a.npy", *words), sentence, tmp_path / "run")


# ---- and those that can


def test_a_run_knows_where_its_subtomograms_are(
    train_on: Callable[..., Ended], tmp_path: Path, volumes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"dualcontrastIdentity": ["ribosome", "proteasome"] * (COUNT // 2)}
    poses = angles_and_origins(np.full((COUNT, 3), 20.0), np.zeros((COUNT, 3)))
    star = write_particles_of(volumes, tmp_path / "project", **labels, **poses)
    star = star.rename(tmp_path / "particles.star")
    monkeypatch.chdir(tmp_path / "project")
    write_mrc(Path("mask.mrc"), np.ones((8, 8, 8)))
    ended = train_on(star, "--datadir", ".", "--bin", 2, "--poses", "--mask", "mask.mrc")
    assert (ended.status, ended.err) == (0, "")
    data = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["data"]
    project = tmp_path / "project"
    assert data["options"] == {
        "datadir": str(project),
        "bin": 2,
        "poses": True,
        "mask": str(project / "mask.mrc"),
    }
    assert (data["shape"], data["pixel_size"]) == ([1, 8, 8, 8], 4.0)
    monkeypatch.chdir(tmp_path)
    ended = call("encode", tmp_path / "run", "--quiet")
    assert (ended.status, ended.err) == (0, "")
    table = (tmp_path / "run/codes/table.csv").read_text().splitlines()
    assert len(table) == COUNT + 1
    refused = call("encode", tmp_path / "run", "--bin", 2)
    assert_refused(refused, "the run's own images are read as in training; give a SOURCE, or leave out --bin")
    options = ("--datadir", project, "--bin", 2, "--poses", "--mask", project / "mask.mrc")
    ended = call("encode", tmp_path / "run", star, "--out", tmp_path / "codes", *options, "--quiet")
    assert (ended.status, ended.err) == (0, "")
    again, first = (np.load(folder / "content.npy") for folder in (tmp_path / "codes", tmp_path / "run/codes"))
    np.testing.assert_allclose(again, first, atol=1e-5)


def test_warnings_are_one_line_each(train_on: Callable[..., Ended], tmp_path: Path, volumes: np.ndarray) -> None:
    star = write_particles_of(-volumes, tmp_path)
    quick = ("--set", "method.pose=none")
    ended = train_on(star, *quick)
    assert ended.status == 0
    sentence = "particles are darker than their background, but protein must be white; pass --invert"
    assert ended.err == f"dualcontrast: warning: {star}: {sentence}\n"
    assert train_on(star, *quick, "--invert", "--overwrite").err == ""
