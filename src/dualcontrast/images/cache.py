"""Images that are kept in memory once they were read, where that takes little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

KEPT_BYTES = 512 << 20  # a set that needs no more is kept


class Kept:
    """Images of a set as `read` gives them; each is read once where all of them together are small.

    A copy in another process starts without any.

    Parameters
    ----------
    read
        Reads the images at some places, (B,), as an array (B, C, spatial...).
    count, shape, dtype
        Of all images.
    """

    def __init__(
        self, read: Callable[[np.ndarray], np.ndarray], count: int, shape: tuple[int, ...], dtype: Any
    ) -> None:
        self._read = read
        self._shape, self._dtype = (count, *shape), np.dtype(dtype)
        self._forget()

    def _forget(self) -> None:
        self._memory: np.ndarray | None = None
        self._known = np.zeros(self._shape[0], bool)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_memory", "_known")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Return the images at some places, (B, C, spatial...)."""
        if self._dtype.itemsize * int(np.prod(self._shape)) > KEPT_BYTES:
            return self._read(index)
        if self._memory is None:
            self._memory = np.empty(self._shape, self._dtype)
        new = np.unique(index[~self._known[index]])
        if len(new):
            self._memory[new] = self._read(new)
            self._known[new] = True
        return np.asarray(self._memory[index])
