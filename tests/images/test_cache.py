"""Images that are kept: each is read once, where all are small, and a copy starts without any."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dualcontrast.images import cache
from dualcontrast.images.cache import ImageCache

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
ASKED: list[list[int]] = []


def read(index: np.ndarray) -> np.ndarray:
    ASKED.append(index.tolist())
    return IMAGES[index]


@pytest.fixture
def asked() -> list[list[int]]:
    ASKED.clear()
    return ASKED


def test_each_image_is_read_once(asked: list[list[int]]) -> None:
    images = ImageCache(read, 5, (2, 3), np.uint8)
    for index in ([3, 1, 3], [1, 4, 3], [1]):
        np.testing.assert_array_equal(images(np.array(index)), IMAGES[index])
    assert asked == [[1, 3], [4]]


def test_what_is_returned_is_a_copy(asked: list[list[int]]) -> None:
    images = ImageCache(read, 5, (2, 3), np.uint8)
    images(np.array([0, 1]))[:] = 99
    np.testing.assert_array_equal(images(np.array([0, 1])), IMAGES[:2])


def test_a_copy_starts_without_any(asked: list[list[int]]) -> None:
    images = ImageCache(read, 5, (2, 3), np.uint8)
    images(np.arange(5))
    copied = pickle.loads(pickle.dumps(images))
    assert len(pickle.dumps(images)) < 500
    np.testing.assert_array_equal(copied(np.array([2])), IMAGES[[2]])
    assert asked == [[0, 1, 2, 3, 4], [2]]


def test_a_large_set_is_read_every_time(asked: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CACHED_BYTES", IMAGES.nbytes - 1)
    images = ImageCache(read, 5, (2, 3), np.uint8)
    for _ in range(2):
        np.testing.assert_array_equal(images(np.array([4, 4])), IMAGES[[4, 4]])
    assert asked == [[4, 4], [4, 4]]
