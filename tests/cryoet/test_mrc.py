from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from dualcontrast.cryoet.mrc import read_header, read_map, read_volume, write_volume
from dualcontrast.errors import SourceError


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def written(path: Path, values: np.ndarray, voxel_size: float = 2.5) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(values)
        file.voxel_size = voxel_size
    return path


# ---- what is in a file


@pytest.mark.parametrize(("dtype", "mode"), [("i1", 0), ("i2", 1), ("f4", 2), ("u2", 6), ("f2", 12)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_and_byte_order(
    dtype: str, mode: int, order: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    values = rng.integers(-100 if dtype[0] != "u" else 0, 100, (4, 5, 6)).astype(order + dtype)
    path = written(tmp_path / "a.mrc", values)
    with mrcfile.open(path) as file:
        assert (int(file.header.mode), file.data.dtype.byteorder in ("|", "=", order)) == (mode, True)
    stored = read_header(path)
    assert (stored.count, stored.shape) == (1, (4, 5, 6))
    assert stored.voxel_size == pytest.approx(2.5)
    read = read_volume(stored)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))


def test_an_extended_header_is_skipped(rng: np.random.Generator, tmp_path: Path) -> None:
    values = rng.random((3, 4, 5), np.float32)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(values)
        file.set_extended_header(np.zeros(1000, "V1"))
    np.testing.assert_array_equal(read_volume(read_header(tmp_path / "a.mrc")), values)


def test_a_voxel_size_that_is_not_stated(tmp_path: Path) -> None:
    assert read_header(written(tmp_path / "a.mrc", np.zeros((3, 3, 3), np.float32), 0)).voxel_size is None


def test_a_stack_that_says_so(rng: np.random.Generator, tmp_path: Path) -> None:
    values = rng.random((5, 2, 3, 4), np.float32)  # five volumes, none of them a cube
    stored = read_header(written(tmp_path / "a.mrcs", values))
    assert (stored.count, stored.shape) == (5, (2, 3, 4))
    for place in (0, 3, 4):
        np.testing.assert_array_equal(read_volume(stored, place), values[place])


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 3)])
def test_a_stack_of_cubes_or_half_cubes_that_does_not_say_so(
    shape: tuple[int, int, int], rng: np.random.Generator, tmp_path: Path
) -> None:
    values = rng.random((5, *shape), np.float32)
    stored = read_header(written(tmp_path / "a.mrcs", values.reshape(20, *shape[1:])))
    assert (stored.count, stored.shape) == (5, shape)
    np.testing.assert_array_equal(read_volume(stored, 2), values[2])


def test_a_tomogram_is_one_volume(tmp_path: Path) -> None:
    stored = read_header(written(tmp_path / "a.mrc", np.zeros((7, 4, 4), np.float32)))
    assert (stored.count, stored.shape) == (1, (7, 4, 4))


# ---- what is wrong with it


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.mrc: no such MRC file"):
        read_header(tmp_path / "a.mrc")
    path = written(tmp_path / "a.mrc", np.zeros((3, 3, 3), np.float32))
    stored = read_header(path)
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.mrc: no such MRC file"):
        read_volume(stored)


@pytest.mark.parametrize("kept", [0, 500, 1024, 1024 + 4 * 27 - 1])
def test_a_truncated_file(kept: int, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", np.zeros((3, 3, 3), np.float32))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SourceError, match=r"a\.mrc: truncated: "):
        read_header(path)


def test_a_file_cut_short_since_its_header_was_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrcs", np.zeros((2, 3, 3, 3), np.float32))
    stored = read_header(path)
    path.write_bytes(path.read_bytes()[:-1])
    read_volume(stored, 0)
    with pytest.raises(SourceError, match="truncated within volume 2"):
        read_volume(stored, 1)


@pytest.mark.parametrize("content", [b"no density" * 200, bytes(2000), b"\x89PNG" + bytes(range(256)) * 8])
def test_what_is_no_mrc_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mrc").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.mrc: not an MRC file: its header lacks the word MAP"):
        read_header(tmp_path / "a.mrc")


def test_a_mode_without_density(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", np.zeros((3, 3, 3), np.complex64))
    with pytest.raises(SourceError, match="MRC mode 4 holds no density"):
        read_header(path)


# ---- maps


@pytest.mark.parametrize("zipped", [False, True])
def test_a_map_plain_or_gzipped(zipped: bool, rng: np.random.Generator, tmp_path: Path) -> None:
    values = rng.random((3, 4, 5), np.float32)
    path = written(tmp_path / "a.mrc", values, 1.5)
    if zipped:
        (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "a.mrc.gz"
    density, voxel_size = read_map(path)
    assert voxel_size == pytest.approx(1.5)
    np.testing.assert_array_equal(density, values)


def test_a_map_that_cannot_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", np.zeros((2, 3, 3, 3), np.float32))
    with pytest.raises(SourceError, match="holds 2 volumes, but a single density map is needed"):
        read_map(path)
    (tmp_path / "b.mrc.gz").write_bytes(gzip.compress(path.read_bytes())[:50])
    with pytest.raises(SourceError, match=r"b\.mrc\.gz: missing, damaged"):
        read_map(tmp_path / "b.mrc.gz")


# ---- writing


def test_what_is_written_is_valid_and_read_again(rng: np.random.Generator, tmp_path: Path) -> None:
    for size in (1.25, 3.0):
        values = rng.normal(size=(4, 5, 6))
        write_volume(tmp_path / "a.mrc", values, size)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert mrcfile.validate(tmp_path / "a.mrc")
        with mrcfile.open(tmp_path / "a.mrc") as file:
            np.testing.assert_array_equal(file.data, values.astype(np.float32))
            assert file.voxel_size.x == file.voxel_size.z == pytest.approx(size)
            assert file.is_volume()
            assert file.header.rms == pytest.approx(values.std(), rel=1e-5)
        stored = read_header(tmp_path / "a.mrc")
        assert stored.voxel_size == pytest.approx(size)
        np.testing.assert_array_equal(read_volume(stored), values.astype(np.float32))
