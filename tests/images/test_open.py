from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.particles import write_mrc, write_particles_of

from dualcontrast.errors import SourceError
from dualcontrast.images import ImageSet, open_images
from dualcontrast.images.subtomograms import Subtomograms


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
    for accepted in (tmp_path.name, "MNIST", "BOP", "png", "one subfolder per class"):
        assert accepted in str(error.value)


@pytest.mark.parametrize("name", ["particles.star", "a.mrc", "a.mrcs", "a.MAP", "folder"])
def test_subtomograms(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    volumes = rng.normal(size=(3, 8, 8, 8))
    source = tmp_path / name
    if name == "particles.star":
        write_particles_of(volumes, tmp_path)
    elif name == "folder":
        for place, volume in enumerate(volumes):
            write_mrc(source / f"{place}.mrc", volume)
    else:
        write_mrc(source, volumes)
    images = open_images(source)
    assert isinstance(images, Subtomograms)
    assert (images.source, images.shape, len(images)) == (str(source), (1, 8, 8, 8), 3)


def test_pictures_are_not_looked_for_beside_volumes(
    rng: np.random.Generator, tmp_path: Path, save_picture: Callable[[str, np.ndarray], Path]
) -> None:
    save_picture("slices.png", np.zeros((3, 4), np.uint8))
    for place, volume in enumerate(rng.normal(size=(3, 8, 8, 8))):
        write_mrc(tmp_path / f"{place}.mrc", volume)
    assert open_images(tmp_path).shape == (1, 8, 8, 8)


# ---- options


@pytest.mark.parametrize(
    ("option", "value", "takers"),
    [
        ("key", "images", "an .npz, an .h5 or .hdf5"),
        ("labels", "digits", "an .npz, an .h5 or .hdf5, a STAR file of subtomograms"),
        ("datadir", "here", "a STAR file of subtomograms"),
        ("poses", True, "a STAR file of subtomograms"),
        ("bin", 2, "a STAR file of subtomograms, an .mrc or .mrcs of volumes, MRC files with one volume each"),
        ("invert", True, "a STAR file of subtomograms, an .mrc or .mrcs of volumes"),
        ("mask", "sphere", "a STAR file of subtomograms, an .mrc or .mrcs of volumes"),
    ],
)
def test_options_of_other_sources_are_refused(
    option: str, value: object, takers: str, tmp_path: Path, save_picture: Callable[[str, np.ndarray], Path]
) -> None:
    array = np.zeros((3, 4, 5), np.uint8)
    np.save(tmp_path / "a.npy", array)
    save_picture("pictures/a.png", array[0])
    for source in (array, open_images(array), tmp_path / "a.npy", tmp_path / "pictures"):
        with pytest.raises(SourceError) as error:
            open_images(source, **{option: value})
        assert f"`{option}` applies only to {takers}" in str(error.value)
        assert "\n" not in str(error.value)


def test_the_option_that_does_not_fit_is_named(rng: np.random.Generator, tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrcs", rng.normal(size=(3, 8, 8, 8)))
    with pytest.raises(SourceError, match="`poses` applies only to a STAR file of subtomograms"):
        open_images(source, bin=2, poses=True)
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(SourceError, match="`bin` applies only to"):
        open_images(tmp_path / "a.npz", key="images", bin=2)


def test_options_are_kept_with_the_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels=np.zeros((3, 4, 5), np.uint8))
    assert open_images(tmp_path / "a.npz", key="pixels").options == {"key": "pixels"}
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), np.uint8))
    assert open_images(tmp_path / "a.npy", invert=False, bin=1).options == {}


def test_messages_are_one_sentence_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as error:
        open_images(tmp_path)
    assert "\n" not in str(error.value)
