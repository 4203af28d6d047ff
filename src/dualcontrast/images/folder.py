"""A folder of pictures, with one subfolder per class or none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dualcontrast.errors import DualContrastWarning, SourceError
from dualcontrast.images.cache import ImageCache
from dualcontrast.images.imageset import ImageSet
from dualcontrast.images.pictures import (
    DTYPES,
    SUFFIXES,
    brightness,
    load_picture,
    picture_form,
    pixels_of,
)

# Top-level folders that are splits, in any case.
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SAMPLES = 64  # pictures with an alpha channel that are looked at to choose a background
NAMED = 3  # skipped files


class FolderImages(ImageSet):
    """Pictures of one size in files, read on demand; a small set is cached in memory."""

    def __init__(
        self, folder: Path, mode: str, size: tuple[int, int], table: pd.DataFrame, background: int = 255
    ) -> None:
        self._folder = folder
        self._mode, self._background = mode, background
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
            stored[place] = pixels_of(load_picture(self._folder / file), self._mode, self._background)
        return stored


def open_folder(folder: Path) -> ImageSet:
    """Open a folder of pictures; only their headers are read.

    A subfolder's name is the content label of its pictures; pictures directly in the folder have no labels. If
    the top-level subfolders are `train`, `val` and `test`, or some of these in any case, they are the splits,
    each laid out in the same way. `val` is for testing if there is no `test`, and for training otherwise. If
    some pictures are grey and some in colour, all are read in colour. Transparent parts show white, or black if
    the rest is bright; turned photographs are read upright.

    Warns of files that are skipped because they are not pictures, and of transparent parts.

    Raises
    ------
    SourceError
        There are no pictures; they differ in size or depth, are nested too deeply, or cannot be read; only some
        have labels; or splits and other folders stand side by side.
    """
    present = sorted(_files(folder))
    files = [path for path in present if _is_picture(path)]
    if not files:
        raise SourceError(f"{folder}: has no pictures; accepted are {', '.join(SUFFIXES)}")
    _warn_of_skipped(folder, [path for path in present if not _is_picture(path)], len(present))
    mode, size, with_alpha = _common_form(folder, files)
    table = _table(folder, files)
    return FolderImages(folder, mode, size, table, _background(folder, with_alpha))


def has_pictures(folder: Path) -> bool:
    """Check whether there is any picture in a folder or below it."""
    return any(_is_picture(path) for path in _files(folder))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below it, as paths relative to it, without hidden ones."""
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        yield from (Path(parent, name).relative_to(folder) for name in names if not name.startswith("."))


def _warn_of_skipped(folder: Path, skipped: list[Path], count: int) -> None:
    if skipped:
        named = ", ".join(map(str, skipped[:NAMED])) + (", ..." if len(skipped) > NAMED else "")
        warnings.warn(
            f"{folder}: skipped {len(skipped)} of {count} files, which are not pictures "
            f"of a supported kind ({named}); convert them to PNG if they should be read",
            DualContrastWarning,
            stacklevel=3,
        )


def _background(folder: Path, with_alpha: list[Path]) -> int:
    """Choose the grey level behind transparent parts: white, or black if the opaque parts are bright."""
    sample = with_alpha[:: max(1, len(with_alpha) // SAMPLES)]
    levels = [level for path in sample if (level := brightness(load_picture(folder / path))) is not None]
    if not levels:
        return 255
    background = 0 if sum(levels) / len(levels) > 127.5 else 255
    warnings.warn(
        f"{folder}: {len(with_alpha)} pictures have an alpha channel; their transparent parts are read as "
        f"{'black' if background == 0 else 'white'}; save them without transparency to choose another background",
        DualContrastWarning,
        stacklevel=3,
    )
    return background


def _common_form(folder: Path, files: list[Path]) -> tuple[str, tuple[int, int], list[Path]]:
    """Return the mode in which all pictures are read, their (width, height), and those with an alpha channel."""
    modes: dict[str, Path] = {}
    sizes: dict[tuple[int, int], Path] = {}
    with_alpha = []
    for file in files:
        mode, size, has_alpha = picture_form(folder / file)
        modes.setdefault(mode, file)
        sizes.setdefault(size, file)
        with_alpha += [file] if has_alpha else []
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
    return "RGB" if "RGB" in modes else next(iter(modes)), next(iter(sizes)), with_alpha


def _table(folder: Path, files: list[Path]) -> pd.DataFrame:
    """Build the table from the paths of the files: [split/][class/]name."""
    table: pd.DataFrame = pd.DataFrame({"row": np.arange(len(files))})
    parents = [file.parent.parts for file in files]
    splits = _splits(folder, {parent[0] if parent else "" for parent in parents})
    if splits:
        table["split"] = [splits[parent[0]] for parent in parents]
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


def _splits(folder: Path, top: set[str]) -> dict[str, str]:
    """Return the split of each top-level folder, by name; empty if these are classes, or if there are none.

    A single folder that is called like a split, beside others, is a class: trains, among planes and cars.
    """
    named = {name: SPLIT_FOLDERS[name.lower()] for name in sorted(top) if name.lower() in SPLIT_FOLDERS}
    others = sorted(top - set(named))
    if others and len(set(named.values())) > 1:
        beside = others[0] or "pictures that are in no folder"
        raise SourceError(
            f"{folder}: {' and '.join(named)} look like splits, but {beside} stands beside them; keep the splits "
            "alone, or rename the folders of classes"
        )
    if others:
        return {}
    validation = "train" if "test" in named.values() else "test"
    return {name: validation if split == "validation" else split for name, split in named.items()}
