from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dualcontrast.errors import SourceError
from dualcontrast.images import ImageSet, limited, with_split
from dualcontrast.images.arrays import ArrayImages


def image_set(array: np.ndarray, pixel_size: float | None = None, **columns: object) -> ImageSet:
    table = pd.DataFrame({"row": np.arange(len(array)), **columns})
    return ArrayImages(array, "some images", table, pixel_size)


def numbered(count: int, **columns: object) -> ImageSet:
    """Pictures of one pixel whose value is their row."""
    return image_set(np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1), **columns)


def rows(images: ImageSet) -> list[int]:
    return [int(row) for row in images.table["row"]]


# ---- reading


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.int16, 32767)])
def test_integers_are_scaled_by_their_types_largest_value(dtype: type, largest: int) -> None:
    array = np.array([0, 1, largest], dtype).reshape(3, 1, 1, 1)
    read = image_set(array).read(np.arange(3))
    assert read.dtype == torch.float32
    torch.testing.assert_close(read.flatten(), torch.tensor([0.0, 1 / largest, 1.0]))


def test_bools_become_zeros_and_ones() -> None:
    read = image_set(np.array([True, False]).reshape(2, 1, 1, 1)).read(np.arange(2))
    assert read.dtype == torch.float32
    assert read.flatten().tolist() == [1, 0]


def test_floats_of_any_width_are_read_as_they_are(rng: np.random.Generator) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        array = rng.random((4, 1, 3, 5)).astype(dtype)
        read = image_set(array).read(np.arange(4))
        assert read.dtype == torch.float32
        np.testing.assert_array_equal(read.numpy(), array.astype(np.float32))


def test_reading_takes_any_order_and_repeats() -> None:
    read = numbered(10).read(np.array([7, 2, 2, 9]))
    torch.testing.assert_close(read.flatten() * 255, torch.tensor([7.0, 2.0, 2.0, 9.0]))


def test_what_was_read_can_be_changed_without_changing_the_source() -> None:
    images = image_set(np.full((2, 1, 1, 1), 0.5, np.float32))
    images.read(np.arange(2)).zero_()
    assert images.read(np.arange(2)).flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(6, 1, 2, 2), (6, 1, 2, 2, 2)])
def test_an_image_that_is_not_finite_is_named_by_its_row(value: float, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.float32)
    array[4].flat[1] = value
    images = image_set(array).select(np.array([5, 4, 3]))
    with pytest.raises(SourceError, match="some images: row 4 holds NaN or infinite"):
        images.read(np.array([0, 1]))
    assert images.read(np.array([0, 2])).shape == (2, *shape[1:])


@pytest.mark.parametrize("value", [-0.25, 1.5])
def test_a_picture_of_floats_outside_0_and_1_is_named_by_its_row(value: float) -> None:
    array = np.zeros((6, 1, 2, 2))
    array[3, 0, 1, 0] = value
    with pytest.raises(SourceError, match=rf"row 3 has values from .*{value}.* 0 and 1"):
        image_set(array).read(np.array([5, 3]))


def test_a_volume_may_hold_any_finite_numbers() -> None:
    array = np.full((2, 1, 2, 2, 2), -7.5, np.float32)
    assert image_set(array).read(np.arange(2)).unique().tolist() == [-7.5]


def test_batches_go_from_first_to_last() -> None:
    batches = list(numbered(7).batches(3))
    assert [index.tolist() for index, _ in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    values = torch.cat([images for _, images in batches]).flatten() * 255
    torch.testing.assert_close(values, torch.arange(7.0))


# ---- selections


def test_a_selection_of_a_selection_reads_the_right_images_and_rows() -> None:
    chosen = numbered(10, content=list("abcdefghij")).select(np.array([8, 1, 6, 3])).select(np.array([3, 0]))
    assert len(chosen) == 2
    assert rows(chosen) == [3, 8]
    assert chosen.table["content"].tolist() == ["d", "i"]
    torch.testing.assert_close(chosen.read(np.array([1, 0])).flatten() * 255, torch.tensor([8.0, 3.0]))


def test_a_selection_keeps_what_holds_for_the_whole() -> None:
    chosen = image_set(np.zeros((3, 1, 4, 5, 6), np.float32), pixel_size=13.5).select(np.array([0]))
    assert (chosen.source, chosen.shape, chosen.pixel_size) == ("some images", (1, 4, 5, 6), 13.5)


# ---- splits


def test_a_source_that_has_a_split_keeps_it() -> None:
    images = numbered(4, split=["test", "train", "train", "test"], content=[0, 1, 0, 1])
    assert with_split(images, seed=0) is images


def test_a_fifth_is_set_aside_where_there_are_labels() -> None:
    images = numbered(100, content=np.arange(100) % 3)
    split = with_split(images, seed=3).table["split"]
    assert (split == "test").sum() == 20
    assert (split == "train").sum() == 80
    assert split.tolist() == with_split(images, seed=3).table["split"].tolist()
    assert split.tolist() != with_split(images, seed=4).table["split"].tolist()
    assert "split" not in images.table


def test_without_labels_every_image_trains() -> None:
    prepared = with_split(numbered(10), seed=0)
    assert set(prepared.table["split"]) == {"train"}
    assert rows(prepared) == list(range(10))


# ---- limits


@pytest.mark.parametrize("limit", [None, 10, 11])
def test_no_limit_or_a_high_one_returns_the_set_itself(limit: int | None) -> None:
    images = numbered(10)
    assert limited(images, limit, seed=0) is images


def test_a_limit_draws_without_repeats_and_keeps_the_order() -> None:
    images = numbered(200)
    drawn = rows(limited(images, 20, seed=1))
    assert len(set(drawn)) == 20
    assert drawn == sorted(drawn)
    assert drawn != list(range(20))
    assert drawn == rows(limited(images, 20, seed=1))
    assert drawn != rows(limited(images, 20, seed=2))


# ---- digest


def test_the_digest_is_the_same_for_the_same_data_only(rng: np.random.Generator) -> None:
    array = rng.integers(0, 256, (20, 1, 3, 3), dtype=np.uint8)
    changed = array.copy()
    changed[11, 0, 2, 2] ^= 1
    digests = [
        image_set(array, content=[0] * 20).digest(),
        image_set(changed, content=[0] * 20).digest(),
        image_set(array, content=[0] * 19 + [1]).digest(),
        image_set(array, pixel_size=2.0, content=[0] * 20).digest(),
        image_set(array, content=[0] * 20).select(np.arange(20)[::-1]).digest(),
        image_set(array, content=[0] * 20).select(np.arange(19)).digest(),
    ]
    assert len(set(digests)) == len(digests)
    assert image_set(array.copy(), content=[0] * 20).digest() == digests[0]
