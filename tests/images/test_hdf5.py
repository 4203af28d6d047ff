"""HDF5 files; what all readers of arrays have in common is tested in test_arrays.py."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dualcontrast.errors import SourceError
from dualcontrast.images import open_images


def test_the_only_stack_of_an_hdf5_file_is_taken(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["group/pictures"] = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
        file["weights"] = np.zeros((3, 4))
    images = open_images(tmp_path / "a.hdf5")
    assert images.shape == (1, 4, 5)
    assert images.read(np.array([2]))[0, 0, 0, 0] * 255 == pytest.approx(40)


def test_images_of_an_hdf5_file_go_before_other_stacks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((3, 4, 5), np.uint8)
        file["masks"] = np.zeros((3, 6, 6), np.uint8)
    assert open_images(tmp_path / "a.h5").shape == (1, 4, 5)


def test_hdf5_is_read_in_any_order_with_repeats_and_compressed(rng: np.random.Generator, tmp_path: Path) -> None:
    array = rng.random((50, 4, 5)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=array, chunks=(7, 4, 5), compression="gzip")
    images = open_images(tmp_path / "a.h5")
    index = rng.integers(0, 50, 120)
    np.testing.assert_array_equal(images.read(index).numpy()[:, 0], array[index])


def test_strings_are_read_as_labels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((3, 4, 5), np.uint8)
        file["content"] = ["ape", "b\u00e4r", "ape"]
    assert open_images(tmp_path / "a.h5").table["content"].tolist() == ["ape", "b\u00e4r", "ape"]


def test_two_stacks_without_images_need_a_key(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["left"] = np.zeros((3, 4, 5), np.uint8)
        file["right"] = np.ones((3, 4, 6), np.uint8)
    with pytest.raises(SourceError, match="has no array called images; it has left, right"):
        open_images(tmp_path / "a.h5")
    assert open_images(tmp_path / "a.h5", key="right").shape == (1, 4, 6)
