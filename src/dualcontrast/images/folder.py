"""A folder of pictures, with one subfolder per class or none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dualcontrast.errors import SourceError
from dualcontrast.images.arrays import SPLITS
from dualcontrast.images.cache import ImageCache
from dualcontrast.images.imageset import ImageSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

# Pillow's modes of stored pixels, and the modes in which they are read here: grey of 8 bits, 16 bits or floats,
# or colour.
READ_AS = {
    **dict.fromkeys(("1", "L", "LA"), "L"),
    **dict.fromkeys(("I;16", "I;16L", "I;16B"), "I;16"),
    "F": "F",
    **dict.fromkeys(("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr"), "RGB"),
}
DTYPES = {"L": np.uint8, "I;16": np.uint16, "F": np.float32, "RGB": np.uint8}


class FolderImages(ImageSet):
    """Pictures of one size in files, read on demand; a small set is cached in memory."""

    def __init__(self, folder: Path, mode: str, size: tuple[int, int], table: pd.DataFrame) -> None:
        self._folder = folder
        self._mode = mode
        self.source = str(folder)
        width, height = size
        self.shape = (3 if mode == "RGB" else 1, height, width)
        self.pixel_size = None
        self.table = table
        self._cache = ImageCache(self._load, len(table), self.shape, DTYPES[mode])

    def _read(self, index: np.ndarray) -> np.ndarray:
        return self._cache(index)

    def _load(self, index: np.ndarray) -> np.ndarray:
        stored = np.empty((len(index), *self.shape), DTYPES[self._mode])
        for place, file in enumerate(self.table["file"].iloc[index]):
            stored[place] = _pixels(load_picture(self._folder / file), self._mode)
        return stored


def open_folder(folder: Path) -> ImageSet:
    """Open a folder of pictures; only their headers are read.

    A subfolder's name is the content label of its pictures; pictures directly in the folder have no labels. If
    the top-level subfolders are exactly `train` and `test`, they are the splits, each laid out in the same way.
    If some pictures are grey and some in colour, all are read in colour.

    Raises
    ------
    SourceError
        There are no pictures; they differ in size or depth, are nested too deeply, or cannot be read; or only
        some have labels.
    """
    files = sorted(picture_files(folder))
    if not files:
        raise SourceError(f"{folder}: has no pictures; accepted are {', '.join(SUFFIXES)}")
    mode, size = _common_form(folder, files)
    return FolderImages(folder, mode, size, _table(folder, files))


def has_pictures(folder: Path) -> bool:
    """Check whether there is any picture in a folder or below it."""
    return any(True for _ in picture_files(folder))


def picture_files(folder: Path) -> Iterator[Path]:
    """Yield the pictures in a folder and below it, as paths relative to it, without hidden ones."""
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name).relative_to(folder)


def load_picture(path: Path) -> Image.Image:
    """Read a picture from a file.

    Raises
    ------
    SourceError
        The file is missing, damaged or not a picture.
    """
    try:
        picture: Image.Image
        with Image.open(path) as picture:
            picture.load()
        return picture
    except Exception:  # pillow's decoders raise many types of error on damaged files
        raise _unreadable(path) from None


def _form(path: Path) -> tuple[str, tuple[int, int]]:
    """Read the mode in which a picture is read, and its (width, height), from its header."""
    try:
        with Image.open(path) as picture:
            mode, size, frames = picture.mode, picture.size, getattr(picture, "n_frames", 1)
    except Exception:  # as in load_picture
        raise _unreadable(path) from None
    if frames > 1:
        raise SourceError(f"{path}: holds {frames} pictures; save each in a file of its own, or all as one .npy")
    if mode not in READ_AS:
        raise SourceError(
            f"{path}: its pixel format ({mode}) is not supported; save it as RGB, or 8- or 16-bit grey"
        )
    return READ_AS[mode], size


def _unreadable(path: Path) -> SourceError:
    return SourceError(f"{path}: missing, damaged or not a picture; replace or remove it")


def _common_form(folder: Path, files: list[Path]) -> tuple[str, tuple[int, int]]:
    """Return the mode in which all pictures are read, and their (width, height)."""
    modes: dict[str, Path] = {}
    sizes: dict[tuple[int, int], Path] = {}
    for file in files:
        mode, size = _form(folder / file)
        modes.setdefault(mode, file)
        sizes.setdefault(size, file)
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise SourceError(
            f"{folder}: all pictures must have the same size, but {first} has {one[0]} x {one[1]} pixels and "
            f"{second} has {other[0]} x {other[1]}; resize them"
        )
    if len(modes) > 1 and set(modes) != {"L", "RGB"}:
        first, second = list(modes.values())[:2]
        raise SourceError(
            f"{folder}: all pictures must have the same bit depth, but {first} and {second} differ; save both "
            "with 8 bits, or both as 16-bit grey"
        )
    return "RGB" if "RGB" in modes else next(iter(modes)), next(iter(sizes))


def _table(folder: Path, files: list[Path]) -> pd.DataFrame:
    """Build the table from the paths of the files: [split/][class/]name."""
    table: pd.DataFrame = pd.DataFrame({"row": np.arange(len(files))})
    parents = [file.parent.parts for file in files]
    if {parent[:1] for parent in parents} == {(split,) for split in SPLITS}:
        table["split"] = [parent[0] for parent in parents]
        parents = [parent[1:] for parent in parents]
    for file, parent in zip(files, parents, strict=True):
        if len(parent) > 1:
            raise SourceError(
                f"{folder}: {file} is nested too deeply; put each class in one subfolder, with no folders inside"
            )
        if len(parent) != len(parents[0]):
            raise SourceError(
                f"{folder}: {files[0]} and {file} are nested differently; put every picture in the subfolder of "
                "its class, or none"
            )
    if parents[0]:
        table["content"] = [parent[0] for parent in parents]
    table["file"] = [file.as_posix() for file in files]
    return table


def _pixels(picture: Image.Image, mode: str) -> np.ndarray:
    """Return the pixels (C, H, W) of a picture."""
    if mode == "RGB":
        if picture.mode == "P":
            picture = picture.convert("RGBA")  # pillow wants a palette's transparency resolved first
        return np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    return np.asarray(picture.convert("L") if mode == "L" else picture)[None]
