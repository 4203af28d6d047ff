from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dualcontrast.errors import SourceError
from dualcontrast.images import ImageSet, open_images


def test_an_image_set_is_returned_as_it_is() -> None:
    images = open_images(np.zeros((3, 4, 5), np.uint8))
    assert open_images(images) is images
    one = images.select(np.array([0]))
    assert open_images(one) is one


def test_an_array_in_memory() -> None:
    images = open_images(np.full((3, 4, 5), 51, np.uint8))
    assert isinstance(images, ImageSet)
    assert (images.source, images.shape, len(images)) == ("images in memory", (1, 4, 5), 3)
    assert list(images.table) == ["row"]
    assert images.read(np.arange(3)).unique().tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    "tensor",
    [
        torch.full((3, 1, 4, 5), 0.25),
        torch.full((3, 1, 4, 5), 0.25, dtype=torch.bfloat16),
        torch.full((3, 4, 5), 0.25, dtype=torch.float64, requires_grad=True),
    ],
)
def test_a_tensor_in_memory(tensor: torch.Tensor) -> None:
    images = open_images(tensor)
    assert (images.source, images.shape) == ("images in memory", (1, 4, 5))
    read = images.read(np.arange(3))
    assert not read.requires_grad
    assert read.unique().tolist() == [0.25]


def test_a_tensor_of_bytes_is_scaled() -> None:
    assert open_images(torch.full((2, 4, 5), 255, dtype=torch.uint8)).read(np.arange(2)).max() == 1


def test_the_source_may_be_a_string_and_its_suffix_in_capitals(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), np.uint8))
    path = (tmp_path / "a.npy").rename(tmp_path / "a.NPY")
    images = open_images(str(path))
    assert images.source == str(path)
    assert len(images) == 3


def test_what_does_not_exist() -> None:
    with pytest.raises(SourceError, match=r"nowhere/at-all\.npy: no such file or folder"):
        open_images("nowhere/at-all.npy")


def test_an_unknown_file_is_told_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(SourceError) as error:
        open_images(tmp_path / "a.csv")
    for accepted in ("a.csv", ".npy", ".npz", ".h5", "IDX"):
        assert accepted in str(error.value)


def test_a_folder_of_nothing_is_told_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no pictures")
    (tmp_path / ".hidden.png").write_bytes(b"")
    with pytest.raises(SourceError) as error:
        open_images(tmp_path)
    for accepted in (tmp_path.name, "MNIST", "BOP", "png", "one subfolder a class"):
        assert accepted in str(error.value)


@pytest.mark.parametrize("suffix", [".star", ".mrc", ".mrcs", ".map", ".MRC"])
def test_subtomograms_are_for_later(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"")
    with pytest.raises(SourceError, match="subtomograms are read by a later version"):
        open_images(tmp_path / f"a{suffix}")


def test_names_of_arrays_are_refused_where_there_are_none(
    tmp_path: Path, save_picture: Callable[[str, np.ndarray], Path]
) -> None:
    array = np.zeros((3, 4, 5), np.uint8)
    np.save(tmp_path / "a.npy", array)
    save_picture("pictures/a.png", array[0])
    for source in (array, open_images(array), tmp_path / "a.npy", tmp_path / "pictures"):
        for options in ({"key": "images"}, {"labels": "digits"}):
            with pytest.raises(SourceError, match="key and labels name arrays"):
                open_images(source, **options)


def test_messages_are_one_sentence_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as error:
        open_images(tmp_path)
    assert "\n" not in str(error.value)
