"""MNIST in its original IDX files, and other pictures in that format."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dualcontrast.errors import SourceError
from dualcontrast.files import cache_folder
from dualcontrast.images.arrays import images_in_memory
from dualcontrast.images.imageset import ImageSet

# Prefixes of the file names and the splits they hold, in row order.
SPLIT_OF = {"train": "train", "t10k": "test"}
UNSIGNED_BYTES = 0x08

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}


def is_idx_folder(folder: Path) -> bool:
    """Check whether a folder holds MNIST's training or test pictures."""
    return any(_find(folder, f"{prefix}-images", 3) for prefix in SPLIT_OF)


def open_mnist(folder: Path) -> ImageSet:
    """Read a folder of MNIST's IDX files into memory: the training pictures, then the test pictures.

    The files may be gzipped, and are called either train-images-idx3-ubyte or train-images.idx3-ubyte. One
    of the two splits may be missing.

    Raises
    ------
    SourceError
        A file is missing or damaged, or pictures and labels do not match.
    """
    pictures, digits, splits = [], [], []
    for prefix, split in SPLIT_OF.items():
        path = _find(folder, f"{prefix}-images", 3)
        if path is None:
            continue
        labels_path = _find(folder, f"{prefix}-labels", 1)
        if labels_path is None:
            raise SourceError(f"{path}: has no labels; put {prefix}-labels-idx1-ubyte next to it")
        pictures.append(read_idx(path, 3))
        digits.append(_labels_of(pictures[-1], path, labels_path))
        splits.append(np.full(len(digits[-1]), split))
    if len({array.shape[1:] for array in pictures}) > 1:
        raise SourceError(f"{folder}: training and test pictures differ in size; use files of one data set")
    labels = {"split": np.concatenate(splits), "content": np.concatenate(digits)}
    return images_in_memory(np.concatenate(pictures), folder, labels)


def is_idx_file(path: Path) -> bool:
    """Check by its name whether a file holds pictures in the IDX format."""
    return "idx3" in path.name.lower()


def open_idx(path: Path) -> ImageSet:
    """Read one IDX file of pictures into memory, with the labels of the matching file, if there is one.

    Raises
    ------
    SourceError
        A file is damaged, or pictures and labels do not match.
    """
    pictures = read_idx(path, 3)
    labels_name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    labels_path = _first_existing(path.parent, [labels_name, f"{labels_name}.gz"])
    labels = {} if labels_path is None else {"content": _labels_of(pictures, path, labels_path)}
    return images_in_memory(pictures, path, labels)


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes.

    The format: two zero bytes, the data type, the number of dimensions, each dimension as a big-endian 32-bit
    integer, then the data (Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits).

    Parameters
    ----------
    path
        The file; gzipped if its name ends in .gz.
    dimensions
        The expected number of dimensions: 3 for pictures, 1 for labels.

    Returns
    -------
    numpy.ndarray
        uint8, with that many dimensions.

    Raises
    ------
    SourceError
        The file cannot be read, is something else, or is truncated.
    """
    data = _contents(path)
    magic = bytes((0, 0, UNSIGNED_BYTES, dimensions))
    header = 4 * (1 + dimensions)
    if len(data) < header or data[:4] != magic:
        raise SourceError(
            f"{path}: not an IDX file of {dimensions} dimensions, because it begins with "
            f"{data[:4].hex() or 'nothing'} instead of {magic.hex()}; replace it with the original"
        )
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    if len(data) - header != math.prod(shape):
        raise SourceError(
            f"{path}: damaged, because its header promises {math.prod(shape)} bytes but {len(data) - header} "
            "follow; download the file again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _contents(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error):
        raise SourceError(f"{path}: damaged or not readable; download the file again") from None


def _labels_of(pictures: np.ndarray, path: Path, labels_path: Path) -> np.ndarray:
    labels = read_idx(labels_path, 1)
    if len(labels) != len(pictures):
        raise SourceError(
            f"{labels_path}: has {len(labels)} labels for the {len(pictures)} pictures of {path.name}; use "
            "files that belong together"
        )
    return labels


def _find(folder: Path, stem: str, dimensions: int) -> Path | None:
    """Find the file with this stem under any of its names."""
    names = [f"{stem}{sign}idx{dimensions}-ubyte" for sign in "-."]
    return _first_existing(folder, [*names, *(f"{name}.gz" for name in names)])


def _first_existing(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


# ---- download


def download_mnist(base_url: str = MNIST_URL, checksums: Mapping[str, str] = MNIST_FILES) -> Path:
    """Download MNIST unless it is cached, and return its folder.

    The folder is `mnist` in $DUALCONTRAST_CACHE, or else in the user's cache folder. Files put there by hand
    are used as they are, under any name that `open_mnist` knows.

    Parameters
    ----------
    base_url
        Where to download from; ends in a slash.
    checksums
        The checksum of each file, by name, as pooch writes it.

    Raises
    ------
    SourceError
        There is no connection, a checksum is wrong, or the folder cannot be written.
    """
    import pooch

    folder = cache_folder("mnist")
    stems = [(f"{prefix}-{what}", size) for prefix in SPLIT_OF for what, size in (("images", 3), ("labels", 1))]
    if all(_find(folder, stem, dimensions) for stem, dimensions in stems):
        return folder
    pooch.get_logger().setLevel(logging.CRITICAL)  # the error says what went wrong
    store = pooch.create(folder, base_url, registry=dict(checksums))
    by_hand = f"put MNIST's four IDX files into {folder} by hand"
    for name in checksums:
        try:
            store.fetch(name)
        except OSError:
            raise SourceError(f"{base_url}{name}: cannot be downloaded; try again, or {by_hand}") from None
        except ValueError:
            raise SourceError(f"{base_url}{name}: has a wrong checksum; try again, or {by_hand}") from None
    return folder
