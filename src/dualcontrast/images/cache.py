"""A cache in memory for image sets that are small enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

CACHED_BYTES = 512 << 20  # larger sets are not cached


class ImageCache:
    """Caches the images that `read` returns, if all of them together are small enough.

    A copy in another process starts empty.

    Parameters
    ----------
    read
        Reads the images at given indices (B,) as an array (B, C, spatial...).
    count, shape, dtype
        The number of images, and the shape and type of one.
    """

    def __init__(
        self, read: Callable[[np.ndarray], np.ndarray], count: int, shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        self._read = read
        self._shape, self._dtype = (count, *shape), np.dtype(dtype)
        self._clear()

    def _clear(self) -> None:
        self._images: np.ndarray | None = None
        self._cached = np.zeros(self._shape[0], bool)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_images", "_cached")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._clear()

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Return the images at the given indices, (B, C, spatial...)."""
        if self._dtype.itemsize * int(np.prod(self._shape)) > CACHED_BYTES:
            return self._read(index)
        if self._images is None:
            self._images = np.empty(self._shape, self._dtype)
        new = np.unique(index[~self._cached[index]])
        if len(new):
            self._images[new] = self._read(new)
            self._cached[new] = True
        return np.asarray(self._images[index])
