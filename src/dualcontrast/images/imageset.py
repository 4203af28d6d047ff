"""ImageSet: images of one shape, read lazily, and a table with one row for each."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualcontrast.errors import SourceError

ReaderOptions = Mapping[str, Any]  # keywords of `open_images`
DIGEST_IMAGES, DIGEST_AT_ONCE = 256, 16
TEST_FRACTION = 0.2


class ImageSet(ABC):
    """Images of one shape, read on demand.

    Attributes
    ----------
    source : str
        Name of the source, for messages.
    shape : tuple of int
        Shape of one image, (C, spatial...): two spatial dimensions for a picture, three for a volume.
    pixel_size : float or None
        Pixel size in Angstrom; None for images without a physical scale.
    table : pandas.DataFrame
        One row per image. `row` is the image's position in the source; `split` is "train" or "test" if the
        source or `with_split` sets it; `content` and `transformation` are labels, if known.
    options : mapping
        The options with which `open_images` opens `source` as this set again: plain values, absolute paths.
    """

    source: str
    shape: tuple[int, ...]
    pixel_size: float | None
    table: pd.DataFrame
    options: ReaderOptions = MappingProxyType({})

    def __len__(self) -> int:
        return len(self.table)

    @abstractmethod
    def _read(self, index: np.ndarray) -> np.ndarray:
        """Return images (B, C, spatial...) as stored: integers, or floats."""

    def read(self, index: np.ndarray) -> Tensor:
        """Read images in the form that the networks take.

        Parameters
        ----------
        index
            Positions in this set, (B,), in any order.

        Returns
        -------
        Tensor
            (B, C, spatial...), float32. Integers are scaled by their type's largest value.

        Raises
        ------
        SourceError
            A picture of floats has values that are not finite or lie outside [0, 1]; a volume has values
            that are not finite. The message names the row.
        """
        stored = self._read(np.asarray(index))
        if stored.dtype == np.bool_:
            return torch.from_numpy(stored.astype(np.float32))
        if np.issubdtype(stored.dtype, np.integer):
            largest = float(np.iinfo(stored.dtype).max)
            return torch.from_numpy(stored).to(torch.float32).div_(largest)
        floats = stored.astype(np.float32, copy=False)
        self._check_floats(floats, np.asarray(index))
        return torch.from_numpy(np.ascontiguousarray(floats))

    def _check_floats(self, images: np.ndarray, index: np.ndarray) -> None:
        all_but_first = tuple(range(1, images.ndim))
        finite = np.isfinite(images).all(axis=all_but_first)
        if not finite.all():
            row = self.table["row"].iloc[index[np.argmin(finite)]]
            raise SourceError(
                f"{self.source}: row {row} holds NaN or infinite values; repair or remove that image"
            )
        is_picture = len(self.shape) == 3
        if is_picture and len(images):
            low, high = images.min(axis=all_but_first), images.max(axis=all_but_first)
            wrong = (low < 0) | (high > 1)
            if wrong.any():
                first = int(np.argmax(wrong))
                row = self.table["row"].iloc[index[first]]
                raise SourceError(
                    f"{self.source}: row {row} has values from {low[first]:g} to {high[first]:g}; pictures of "
                    "floats must lie between 0 and 1: scale them, or store them as uint8"
                )

    def ctf(self, index: np.ndarray) -> Tensor | None:
        """Read the CTFs of images, (B, spatial...), zero frequency in the middle; None without CTFs."""
        return None

    def tilt_range(self) -> float | None:
        """Return the largest tilt of the specimen in degrees, or None if the tilts are unknown."""
        return None

    def select(self, index: np.ndarray) -> ImageSet:
        """Return the images at `index`, in that order, still read lazily."""
        return _Selection(self, np.asarray(index))

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield (index, images) from first to last, `size` at a time."""
        for start in range(0, len(self), size):
            index = np.arange(start, min(start + size, len(self)))
            yield index, self.read(index)

    def digest(self) -> str:
        """Return a fingerprint of the table and of 256 images spread evenly over the set."""
        digest = hashlib.sha256(repr((len(self), self.shape, self.pixel_size)).encode())
        digest.update(self.table.to_csv(index=False).encode())
        spread = np.unique(np.linspace(0, len(self) - 1, min(len(self), DIGEST_IMAGES)).astype(int))
        for start in range(0, len(spread), DIGEST_AT_ONCE):
            digest.update(self._fingerprint(spread[start : start + DIGEST_AT_ONCE]))
        return digest.hexdigest()

    def names(self) -> np.ndarray | None:
        """Return the source's name for each image, (N,); None if the images have no names."""
        return None

    def names_digest(self) -> str | None:
        """Return a fingerprint of all names in order, which `digest` leaves out; None without names."""
        names = self.names()
        return None if names is None else hashlib.sha256("\n".join(map(str, names)).encode()).hexdigest()

    def _fingerprint(self, index: np.ndarray) -> bytes:
        """Return bytes that identify these images, the same on every machine."""
        return np.ascontiguousarray(self._read(index)).tobytes()


class _Selection(ImageSet):
    """Some of the images of another set."""

    def __init__(self, images: ImageSet, index: np.ndarray) -> None:
        self._images = images
        self._index = index
        self.source = images.source
        self.shape = images.shape
        self.pixel_size = images.pixel_size
        self.table = images.table.iloc[index].reset_index(drop=True)

    def _read(self, index: np.ndarray) -> np.ndarray:
        return self._images._read(self._index[index])

    def ctf(self, index: np.ndarray) -> Tensor | None:
        return self._images.ctf(self._index[index])

    def tilt_range(self) -> float | None:
        return self._images.tilt_range()

    def names(self) -> np.ndarray | None:
        names = self._images.names()
        return None if names is None else names[self._index]

    def _fingerprint(self, index: np.ndarray) -> bytes:
        return self._images._fingerprint(self._index[index])


def with_split(images: ImageSet, seed: int) -> ImageSet:
    """Assign every image to a split.

    The split of the source is kept if it has one. Otherwise a random fifth becomes the test set if there are
    labels to test with; without labels all images are for training, because nothing could be scored.
    """
    if "split" in images.table:
        return images
    split = np.full(len(images), "train", dtype=object)
    if "content" in images.table:
        order = np.random.default_rng(seed).permutation(len(images))
        split[order[: int(TEST_FRACTION * len(images))]] = "test"
    whole = images.select(np.arange(len(images)))
    whole.table["split"] = split
    return whole


def limited(images: ImageSet, limit: int | None, seed: int) -> ImageSet:
    """Draw at most `limit` images at random, in their original order."""
    if limit is None or limit >= len(images):
        return images
    chosen = np.random.default_rng(seed).choice(len(images), size=limit, replace=False)
    return images.select(np.sort(chosen))
