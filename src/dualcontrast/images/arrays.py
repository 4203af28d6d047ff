"""Arrays as images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dualcontrast.images.imageset import ImageSet


class ArrayImages(ImageSet):
    """Images in an array (N, C, spatial...), in memory or mapped from a file."""

    def __init__(
        self, array: np.ndarray, source: str, table: pd.DataFrame, pixel_size: float | None = None
    ) -> None:
        self._array = array
        self.source = source
        self.shape = tuple(array.shape[1:])
        self.pixel_size = pixel_size
        self.table = table

    def _read(self, index: np.ndarray) -> np.ndarray:
        return np.asarray(self._array[index])
