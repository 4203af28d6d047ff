"""Arrays as images: in memory, or in a .npy or .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dualcontrast.errors import SourceError
from dualcontrast.images.imageset import ImageSet

CHANNELS = (1, 3)
WITH_ALPHA = (2, 4)
CHECKED_AT_ONCE = 256
IN_MEMORY = "images in memory"
LABELS = ("content", "transformation", "split")
SPLITS = ("train", "test")

# Reads the images at the given indices (B,), in any order, as stored in the file.
Fetch = Callable[[np.ndarray], np.ndarray]


class ArrayImages(ImageSet):
    """Images in an array (N, C, spatial...) in memory."""

    def __init__(
        self, array: np.ndarray, source: str, table: pd.DataFrame, pixel_size: float | None = None
    ) -> None:
        self._array = array
        self.source = source
        self.shape = tuple(array.shape[1:])
        self.pixel_size = pixel_size
        self.table = table

    def _read(self, index: np.ndarray) -> np.ndarray:
        return _native(self._array[index])


class LazyImages(ImageSet):
    """Images in an array in a file, of any layout that `channels_first` knows.

    `fetch` reopens the file at each read, which takes less than a millisecond. The set therefore holds no open
    file and can be pickled and shared with the worker processes of a DataLoader, however they are started.
    """

    def __init__(self, fetch: Fetch, source: str, shape: tuple[int, ...], table: pd.DataFrame) -> None:
        self._fetch = fetch
        self.source = source
        self.shape = shape
        self.pixel_size = None
        self.table = table

    def _read(self, index: np.ndarray) -> np.ndarray:
        return _native(channels_first(self._fetch(index)))


# ---- layouts and labels


def check_stored(shape: tuple[int, ...], dtype: np.dtype[np.generic], source: str | Path) -> None:
    """Check that an array of this shape and type can hold images.

    Raises
    ------
    SourceError
        It cannot; the message says what it is and what is accepted.
    """
    if not (len(shape) in (3, 4) or (len(shape) == 5 and shape[1] == 1)) or 0 in shape[1:]:
        raise SourceError(
            f"{source}: an array of shape {shape} cannot hold images; accepted are pictures (N, H, W), "
            "(N, C, H, W) or (N, H, W, C) of 1 or 3 channels, and volumes (N, D, H, W) or (N, 1, D, H, W)"
        )
    if len(shape) == 4 and (channels := _with_alpha(shape)):
        raise SourceError(
            f"{source}: an array of shape {shape} holds pictures with {channels} channels; accepted are 1 and 3: "
            "remove the alpha channel, or pass flat volumes as (N, 1, D, H, W)"
        )
    is_volume = len(shape) == 5 or (len(shape) == 4 and not set(CHANNELS) & {shape[1], shape[3]})
    integers = ("bool", "uint8", "uint16", *(("int8", "int16") if is_volume else ()))
    # Wider integers would be scaled by their type's largest value like all others, which leaves them black.
    if not np.issubdtype(dtype, np.floating) and dtype.newbyteorder("=").name not in integers:
        raise SourceError(
            f"{source}: {'volumes' if is_volume else 'pictures'} of type {dtype} are not supported; convert "
            f"them to floats, {', '.join(integers[:-1])} or {integers[-1]}"
        )


def _with_alpha(shape: tuple[int, ...]) -> int:
    """Return the number of channels (2 or 4) of pictures with an alpha channel, or 0 for any other array."""
    if set(CHANNELS) & {shape[1], shape[3]}:
        return 0
    few, many = sorted((shape[1], shape[3]))
    return few if few in WITH_ALPHA and many > max(WITH_ALPHA) else 0


def channels_first(stored: np.ndarray) -> np.ndarray:
    """View images of any accepted layout as (N, C, spatial...).

    Parameters
    ----------
    stored
        (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 or 3 channels, (N, D, H, W) or (N, 1, D, H, W). If
        both the second and the last axis could be channels, the second is taken.
    """
    if stored.ndim == 3:
        return stored[:, None]
    if stored.ndim == 4 and stored.shape[1] not in CHANNELS:
        return np.moveaxis(stored, -1, 1) if stored.shape[-1] in CHANNELS else stored[:, None]
    return stored


def labelled_table(count: int, labels: Mapping[str, np.ndarray], source: str | Path) -> pd.DataFrame:
    """Build the table of `count` images.

    Parameters
    ----------
    labels
        One array (count,) of integers or strings for each extra column; `split` holds train or test.

    Raises
    ------
    SourceError
        Labels have another length or type, or a split is neither train nor test.
    """
    table: pd.DataFrame = pd.DataFrame({"row": np.arange(count)})
    for column, values in labels.items():
        table[column] = _checked_labels(values, column, count, source)
    if "split" in table:
        known = table["split"].isin(SPLITS)
        if not known.all():
            row = int(np.argmin(known))
            raise SourceError(
                f"{source}: the split of row {row} is {table['split'][row]}; it must be train or test"
            )
    return table


def _checked_labels(values: np.ndarray, column: str, count: int, source: str | Path) -> np.ndarray:
    if values.shape != (count,):
        raise SourceError(
            f"{source}: the {column} labels have shape {values.shape}, but {count} images need ({count},)"
        )
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind in "bui":
        return values.astype(np.int64)
    raise SourceError(f"{source}: the {column} labels have type {values.dtype}; they must be integers or strings")


def _native(stored: np.ndarray) -> np.ndarray:
    """Make an array contiguous and of native byte order, the only one that torch accepts."""
    return np.ascontiguousarray(stored, stored.dtype.newbyteorder("="))


# ---- in memory


def images_in_memory(
    array: np.ndarray, source: str | Path = IN_MEMORY, labels: Mapping[str, np.ndarray] | None = None
) -> ArrayImages:
    """Make an image set from an array in memory, and check all of it at once.

    Parameters
    ----------
    array
        Images in any layout that `channels_first` knows.
    labels
        Columns of the table, as in `labelled_table`.

    Raises
    ------
    SourceError
        The array cannot hold images; a value is not finite or, in a picture of floats, outside [0, 1]; or the
        labels do not match.
    """
    check_stored(array.shape, array.dtype, source)
    table = labelled_table(len(array), labels or {}, source)
    images = ArrayImages(channels_first(array), str(source), table)
    if np.issubdtype(array.dtype, np.floating):
        for _ in images.batches(CHECKED_AT_ONCE):
            pass
    return images


# ---- .npy


def open_npy(path: Path) -> ImageSet:
    """Open a .npy file; images are read from it on demand.

    Raises
    ------
    SourceError
        It is damaged, or does not hold images.
    """
    mapped = _map_npy(path)
    check_stored(mapped.shape, mapped.dtype, path)
    shape = channels_first(mapped).shape[1:]
    return LazyImages(partial(_fetch_npy, path), str(path), shape, labelled_table(len(mapped), {}, path))


def _fetch_npy(path: Path, index: np.ndarray) -> np.ndarray:
    return np.asarray(_map_npy(path)[index])


def _map_npy(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception:  # of many types, because the header of a damaged file is parsed as Python
        raise SourceError(
            f"{path}: missing, damaged, or not an array of numbers; save the images with numpy.save"
        ) from None


# ---- .npz


def open_npz(path: Path, key: str | None = None, labels: str | None = None) -> ImageSet:
    """Read an .npz file into memory.

    Parameters
    ----------
    key
        Name of the array of images; `images` by default.
    labels
        Name of the array of content labels; by default `content`, if there is one.

    Raises
    ------
    SourceError
        The file is damaged or has no such array, or the arrays do not hold images and their labels.
    """
    names = choose_arrays(npz_names(path), key or "images", labels, path)
    arrays = read_npz(path, names.values())
    stored = {column: arrays[name] for column, name in names.items()}
    return images_in_memory(stored.pop("images"), path, stored)


def npz_names(path: Path) -> list[str]:
    """List the names of the arrays in an .npz file.

    Raises
    ------
    SourceError
        It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return [name.removesuffix(".npy") for name in file.namelist()]
    except Exception:  # of many types where the file is damaged
        raise SourceError(f"{path}: missing, damaged, or not an .npz file; save it with numpy.savez") from None


def read_npz(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file by name.

    Raises
    ------
    SourceError
        An array is damaged, or holds Python objects.
    """
    arrays = {}
    for name in names:
        try:
            with np.load(path) as file:
                arrays[name] = file[name]
        except Exception:  # as in npz_names
            raise SourceError(
                f"{path}: the array {name} is damaged or holds Python objects; save it with numpy.savez as "
                "an array of numbers or strings"
            ) from None
    return arrays


def choose_arrays(available: Collection[str], key: str, labels: str | None, path: Path) -> dict[str, str]:
    """Choose which of a file's arrays are the images and their labels.

    Parameters
    ----------
    available
        The names of all arrays.
    key, labels
        The name of the images, and the user's name for the content labels, if any.

    Returns
    -------
    dict
        Column ("images", "content", ...) to the name of its array, for the columns that the file has.

    Raises
    ------
    SourceError
        There is no array of a requested name.
    """
    for name in filter(None, (key, labels)):
        if name not in available:
            raise SourceError(
                f"{path}: has no array called {name}; it has {', '.join(sorted(available)) or 'none'}: name the "
                "images with `key`, and their content with `labels`"
            )
    names = {"images": key, **{label: label for label in LABELS}}
    if labels is not None:
        names["content"] = labels
    return {column: name for column, name in names.items() if name in available}
