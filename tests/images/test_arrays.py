from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from dualcontrast.errors import SourceError
from dualcontrast.images import ImageSet, open_images
from dualcontrast.images.arrays import LazyImages, channels_first, images_in_memory

# (stored, one image of it as (C, spatial...))
LAYOUTS = [
    ((6, 4, 5), (1, 4, 5)),
    ((6, 1, 4, 5), (1, 4, 5)),
    ((6, 3, 4, 5), (3, 4, 5)),
    ((6, 4, 5, 1), (1, 4, 5)),
    ((6, 4, 5, 3), (3, 4, 5)),
    ((6, 3, 4, 3), (3, 4, 3)),
    ((6, 5, 6, 7), (1, 5, 6, 7)),
    ((6, 1, 4, 5, 7), (1, 4, 5, 7)),
]
NOT_IMAGES = [(6,), (6, 4), (6, 3, 4, 5, 7), (6, 4, 5, 7, 1), (6, 1, 4, 5, 6, 7), (6, 0, 4)]
READERS = ["memory", "npy", "npz", "h5"]


def stored_as(kind: str, array: np.ndarray, folder: Path) -> Path | np.ndarray:
    path = folder / f"a.{kind}"
    if kind == "memory":
        return array
    if kind == "npy":
        np.save(path, array)
    elif kind == "npz":
        np.savez(path, images=array)
    else:
        with h5py.File(path, "w") as file:
            file["images"] = array
    return path


def slow_channels_first(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Copy every pixel to where it belongs, one by one."""
    images = np.empty((len(array), *shape), array.dtype)
    for place in np.ndindex(images.shape):
        if array.ndim == images.ndim and array.shape[1] == shape[0]:
            images[place] = array[place]
        elif array.ndim == images.ndim:
            number, channel, *spatial = place
            images[place] = array[(number, *spatial, channel)]
        else:
            number, _, *spatial = place
            images[place] = array[(number, *spatial)]
    return images


# ---- layouts


@pytest.mark.parametrize(("stored", "shape"), LAYOUTS)
def test_every_layout_becomes_channels_first(
    stored: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    array = rng.integers(0, 256, stored, dtype=np.uint8)
    np.testing.assert_array_equal(channels_first(array), slow_channels_first(array, shape))
    assert np.shares_memory(channels_first(array), array)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(("stored", "shape"), LAYOUTS)
def test_every_reader_reads_every_layout(
    kind: str, stored: tuple[int, ...], shape: tuple[int, ...], rng: np.random.Generator, tmp_path: Path
) -> None:
    array = rng.integers(0, 256, stored, dtype=np.uint8)
    images = open_images(stored_as(kind, array, tmp_path))
    index = np.array([5, 0, 3, 3])
    assert (len(images), images.shape, images.pixel_size) == (6, shape, None)
    assert images.table["row"].tolist() == list(range(6))
    read = images.read(index)
    assert read.is_contiguous()
    np.testing.assert_allclose(read.numpy(), slow_channels_first(array, shape)[index] / 255, rtol=1e-6)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("shape", NOT_IMAGES)
def test_other_shapes_are_refused_with_what_is_accepted(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    source = stored_as(kind, np.zeros(shape, np.uint8), tmp_path)
    with pytest.raises(SourceError) as error:
        open_images(source)
    assert f"shape {shape}" in str(error.value)
    assert "(N, H, W, C)" in str(error.value)


@pytest.mark.parametrize("shape", [(3, 8, 9, 4), (3, 4, 8, 9), (3, 8, 9, 2)])
def test_pictures_with_an_alpha_channel_are_not_taken_for_volumes(shape: tuple[int, ...]) -> None:
    few = min(shape[1], shape[3])
    with pytest.raises(SourceError, match=f"pictures with {few} channels; accepted are 1 and 3: remove the alpha"):
        images_in_memory(np.zeros(shape, np.uint8))


def test_flat_volumes_are_taken_where_their_axes_are_all_stated() -> None:
    assert images_in_memory(np.zeros((3, 1, 4, 8, 9), np.uint8)).shape == (1, 4, 8, 9)
    assert images_in_memory(np.zeros((3, 4, 4, 4), np.uint8)).shape == (1, 4, 4, 4)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("count", [0, 1])
def test_two_images_are_the_least(kind: str, count: int, tmp_path: Path) -> None:
    source = stored_as(kind, np.zeros((count, 4, 5), np.uint8), tmp_path)
    with pytest.raises(SourceError, match=f"at least two images are needed, but it holds {count}"):
        open_images(source)


# ---- types of numbers


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("dtype", ["complex64", "int64", "int16", "uint32"])
def test_pictures_of_types_without_a_known_range_are_refused(kind: str, dtype: str, tmp_path: Path) -> None:
    source = stored_as(kind, np.zeros((3, 4, 5), dtype), tmp_path)
    with pytest.raises(SourceError, match=f"pictures of type {dtype} are not supported.*uint8"):
        open_images(source)


def test_volumes_may_be_signed_integers() -> None:
    images = images_in_memory(np.full((2, 4, 4, 4), -32767, np.int16))
    assert images.read(np.arange(2)).unique().tolist() == [-1]
    with pytest.raises(SourceError, match="volumes of type int32 are not supported"):
        images_in_memory(np.zeros((2, 4, 4, 4), np.int32))


def test_python_objects_are_refused(tmp_path: Path) -> None:
    array = np.array([[["a", None]], [["b", None]]], dtype=object)
    with pytest.raises(SourceError, match="type object"):
        open_images(array)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(SourceError, match="not an array of numbers"):
        open_images(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", images=array)
    with pytest.raises(SourceError, match="array images is damaged or holds Python objects"):
        open_images(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f8", "?"])
def test_any_byte_order_is_read(kind: str, dtype: str, rng: np.random.Generator, tmp_path: Path) -> None:
    array = rng.integers(0, 2, (3, 4, 5)).astype(dtype)
    images = open_images(stored_as(kind, array, tmp_path))
    largest = 65535 if dtype == ">u2" else 1
    np.testing.assert_allclose(images.read(np.arange(3))[:, 0], array.astype(float) / largest, rtol=1e-6)


def test_the_digest_does_not_depend_on_the_kind_of_file(rng: np.random.Generator, tmp_path: Path) -> None:
    array = rng.random((5, 4, 6, 3)).astype(np.float32)
    digests = {open_images(stored_as(kind, array, tmp_path)).digest() for kind in READERS}
    digests.add(open_images(stored_as("npy", np.moveaxis(array, -1, 1).astype(">f4"), tmp_path)).digest())
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["memory", "npz"])
@pytest.mark.parametrize("value", [np.nan, 2.0])
def test_floats_in_memory_are_checked_at_once(kind: str, value: float, tmp_path: Path) -> None:
    array = np.zeros((600, 2, 2))
    array[571, 1, 1] = value
    with pytest.raises(SourceError, match="row 571"):
        open_images(stored_as(kind, array, tmp_path))


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_floats_in_a_file_are_checked_when_they_are_read(kind: str, tmp_path: Path) -> None:
    array = np.zeros((6, 2, 2))
    array[4, 1, 1] = 2
    images = open_images(stored_as(kind, array, tmp_path))
    assert images.read(np.array([3, 5])).sum() == 0
    with pytest.raises(SourceError, match=rf"a\.{kind}: row 4 has values from 0 to 2"):
        images.read(np.array([5, 4]))


# ---- labels


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize("content", [["ape", "duck", "ape"], [3, 1, 3], [b"ape", b"b\xc3\xa4r", b"ape"]])
def test_labels_and_splits_come_into_the_table(kind: str, content: list[object], tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    arrays = {
        "images": np.zeros((3, 4, 5), np.uint8),
        "content": np.array(content),
        "transformation": np.array([0, 1, 1]),
        "split": np.array([b"train", b"test", b"train"]),
        "other": np.array([9, 8, 7], np.uint8),
    }
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array.tolist() if array.dtype.kind == "U" else array
    table = open_images(path).table
    assert list(table) == ["row", "content", "transformation", "split"]
    expected = [value.decode() if isinstance(value, bytes) else value for value in content]
    assert table["content"].tolist() == expected
    assert table["transformation"].tolist() == [0, 1, 1]
    assert table["split"].tolist() == ["train", "test", "train"]
    assert open_images(path, labels="other").table["content"].tolist() == [9, 8, 7]


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"content": np.zeros(4, int)}, r"content labels have shape \(4,\), but 3 images need \(3,\)"),
        ({"content": np.zeros((3, 1), int)}, r"content labels have shape \(3, 1\)"),
        ({"transformation": np.zeros(3)}, "transformation labels have type float64"),
        (
            {"split": np.array([b"train", b"val", b"test"])},
            "split of row 1 is val; it must be train or test",
        ),
        ({"split": np.array([0, 1, 1])}, "split of row 0 is 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    kind: str, labels: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{kind}"
    arrays = {"images": np.zeros((3, 4, 5), np.uint8), **labels}
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update(arrays)
    with pytest.raises(SourceError, match=rf"a\.{kind}: the {message}"):
        open_images(path)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_key_names_the_images(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    arrays = {"one": np.zeros((3, 4, 5), np.uint8), "two": np.ones((4, 6, 7), np.uint8)}
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update(arrays)
    assert open_images(path, key="two").shape == (1, 6, 7)
    for options in ({}, {"key": "three"}, {"key": "one", "labels": "digits"}):
        missing = list(options.values())[-1] if options else "images"
        with pytest.raises(SourceError, match=f"no array called {missing}; it has one, two"):
            open_images(path, **options)


# ---- damaged files


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
@pytest.mark.parametrize("kept", [0, 5, 300])
def test_a_file_cut_short_is_named(kind: str, kept: int, tmp_path: Path) -> None:
    path = stored_as(kind, np.zeros((9, 8, 8), np.uint8), tmp_path)
    assert isinstance(path, Path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SourceError, match=rf"a\.{kind}: .*damaged"):
        open_images(path)


def test_a_damaged_member_of_an_npz_is_named(tmp_path: Path) -> None:
    path = stored_as("npz", np.arange(256, dtype=np.uint8).reshape(4, 8, 8), tmp_path)
    assert isinstance(path, Path)
    whole = path.read_bytes()
    place = whole.index(bytes(range(10, 40)))
    path.write_bytes(whole[:place] + b"\0" + whole[place + 1 :])
    with pytest.raises(SourceError, match=r"a\.npz: the array images is damaged"):
        open_images(path)


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_a_file_that_went_away_is_named_when_it_is_read(kind: str, tmp_path: Path) -> None:
    path = stored_as(kind, np.zeros((3, 4, 5), np.uint8), tmp_path)
    images = open_images(path)
    assert isinstance(path, Path)
    path.unlink()
    with pytest.raises(SourceError, match=rf"a\.{kind}: missing"):
        images.read(np.arange(2))


# ---- laziness, processes


@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_a_lazy_set_is_pickled_without_its_images(kind: str, tmp_path: Path) -> None:
    images = open_images(stored_as(kind, np.arange(200_000, dtype=np.uint8).reshape(2, 400, 250), tmp_path))
    assert isinstance(images, LazyImages)
    images.read(np.arange(2))
    pickled = pickle.dumps(images)
    assert len(pickled) < 20_000
    again = pickle.loads(pickled)
    torch.testing.assert_close(again.read(np.array([1])), images.read(np.array([1])))


class Batches(Dataset[torch.Tensor]):
    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> torch.Tensor:
        return self.images.read(np.array([3 - place, place, place]))


@pytest.mark.parametrize("kind", ["npy", "h5"])
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_lazy_set_is_read_by_forked_workers(kind: str, rng: np.random.Generator, tmp_path: Path) -> None:
    array = rng.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    images = open_images(stored_as(kind, array, tmp_path))
    images.read(np.arange(4))  # a file opened here must not be shared with the workers
    loader = DataLoader(Batches(images), batch_size=None, num_workers=2, multiprocessing_context="fork")
    for place, read in enumerate(loader):
        expected = array[[3 - place, place, place], None] / 255
        np.testing.assert_allclose(read.numpy(), expected, rtol=1e-6)
