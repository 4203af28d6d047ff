"""HDF5 files as images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast.errors import SourceError
from dualcontrast.images.arrays import LazyImages, channels_first, check_stored, choose_arrays, labelled_table
from dualcontrast.images.imageset import ImageSet


def open_hdf5(path: Path, key: str | None = None, labels: str | None = None) -> ImageSet:
    """Open an HDF5 file; images are read from it on demand.

    Parameters
    ----------
    key
        Name of the dataset of images, such as "group/images"; by default `images`, or else the only dataset of
        three or more dimensions.
    labels
        Name of the dataset of content labels; by default `content`, if there is one.

    Raises
    ------
    SourceError
        The file is damaged or has no such dataset, or the datasets do not hold images and their labels.
    """
    with _opened_hdf5(path) as file:
        dimensions = _datasets(file)
        stacks = [name for name, ndim in dimensions.items() if ndim >= 3]
        if key is None:
            key = stacks[0] if "images" not in dimensions and len(stacks) == 1 else "images"
        names = choose_arrays(dimensions, key, labels, path)
        stored = file[names.pop("images")]
        check_stored(stored.shape, stored.dtype, path)
        columns = {column: _labels(file[name]) for column, name in names.items()}
        table = labelled_table(len(stored), columns, path)
    fetch = partial(_fetch_hdf5, path, key)
    shape = channels_first(fetch(np.arange(min(1, len(table))))).shape[1:]
    return LazyImages(fetch, str(path), shape, table)


@contextmanager
def _opened_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; raise a SourceError for whatever the library cannot read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError):
        raise SourceError(f"{path}: missing, damaged, or not an HDF5 file; use an intact copy") from None


def _datasets(file: Any) -> dict[str, int]:
    """Return the number of dimensions of every dataset, by name."""
    import h5py

    dimensions = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            dimensions[name] = item.ndim

    file.visititems(visit)
    return dimensions


def _labels(dataset: Any) -> np.ndarray:
    import h5py

    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr("utf-8", errors="replace")[()], dtype=str)
    return np.asarray(dataset[()])


def _fetch_hdf5(path: Path, key: str, index: np.ndarray) -> np.ndarray:
    ascending, inverse = np.unique(index, return_inverse=True)  # HDF5 accepts no other order, and no repeats
    with _opened_hdf5(path) as file:
        return np.asarray(file[key][ascending][inverse])
