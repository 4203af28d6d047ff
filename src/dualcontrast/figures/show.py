"""Show what the program reads: some of a source's images, or density maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualcontrast.cryoet.mrc import read_header, read_map
from dualcontrast.errors import SourceError
from dualcontrast.figures.drawing import picture_of, save_figure
from dualcontrast.figures.volumes import draw_slices, draw_surfaces, titled
from dualcontrast.images import ImageSet

VOLUMES, PICTURES = 6, 24  # shown where no count is given
LABELS = ["content", "transformation"]
MAPS = (".mrc", ".map", ".rec", ".ccp4")
COLUMNS = 8
INCHES = 1.0  # side of a picture with its name


@dataclass(frozen=True)
class Shown:
    """A figure of images.

    Attributes
    ----------
    figure : pathlib.Path
        The PNG.
    images : int
        How many images the source has.
    rows : tuple of int
        Which of them are shown.
    description : str
        What they are: their number, size and labels.
    """

    figure: Path
    images: int
    rows: tuple[int, ...]
    description: str


def show_images(
    images: ImageSet,
    path: str | Path | None = None,
    *,
    count: int | None = None,
    seed: int = 0,
    surface: bool = False,
) -> Shown:
    """Draw some images of a source, as many of each label as of any other.

    Parameters
    ----------
    images
        Pictures are drawn side by side, each volume as a row of slices.
    path
        The PNG to write; named after the source, in the current folder, where none is given.
    count
        How many are shown: 6 volumes or 24 pictures where none is given.
    seed
        Of their choice.
    surface
        Draw volumes as surfaces of equal density.

    Raises
    ------
    SourceError
        Surfaces are asked for, and these are pictures, or a volume has no surface; or an image is damaged.
    """
    are_pictures = len(images.shape) == 3
    if are_pictures and surface:
        raise SourceError(f"{images.source}: holds pictures, which have no surface; leave out `surface`")
    chosen = spread(images.table, count or (PICTURES if are_pictures else VOLUMES), seed)
    shown, names = images.read(chosen), _names(images.table.iloc[chosen])
    description = _described(images)
    title = f"{Path(images.source).name}: {len(chosen)} of {description}"
    path = _path(path, images.source, "pictures" if are_pictures else "surface" if surface else "slices")
    if are_pictures:
        draw_pictures(shown, names, path, title)
    elif surface:
        maps = [volume[0].numpy() for volume in shown]
        try:
            draw_surfaces(maps, names, path, title, voxel_size=images.pixel_size)
        except SourceError as error:
            raise SourceError(f"{images.source}: {error}") from None
    else:
        draw_slices(shown, names, path, title)
    return Shown(path, len(images), tuple(images.table["row"].iloc[chosen]), description)


def are_maps(paths: Sequence[str | Path]) -> bool:
    """Tell by their names whether files are density maps, and of one alone whether it holds no stack."""
    plain = [path.with_suffix("") if path.suffix == ".gz" else path for path in map(Path, paths)]
    if not all(path.suffix.lower() in MAPS for path in plain):
        return False
    only = Path(paths[0])
    return len(paths) > 1 or only.suffix == ".gz" or (only.is_file() and read_header(only).count == 1)


def show_maps(paths: Sequence[str | Path], path: str | Path | None = None, *, surface: bool = False) -> Shown:
    """Draw density maps, each as a row of slices or as a surface.

    Parameters
    ----------
    paths
        MRC files, plain or gzipped, of one map each.
    path
        The PNG to write; named after the first map, in the current folder, where none is given.
    surface
        Draw surfaces of equal density.

    Raises
    ------
    SourceError
        A file is no such map, or has no surface.
    """
    read = [read_map(source) for source in paths]
    for source, (density, _) in zip(paths, read, strict=True):
        if not np.isfinite(density).all():
            raise SourceError(f"{source}: holds NaN or infinite values; mend the map")
    names, sizes = [_stem(source) for source in paths], [size_of(density.shape, voxel) for density, voxel in read]
    title = counted(len(read), "density map")
    path = _path(path, paths[0], "surface" if surface else "slices")
    if surface:
        voxels = [voxel for _, voxel in read if voxel is not None]
        scale = voxels if len(voxels) == len(read) else None
        draw_surfaces([density for density, _ in read], names, path, title, voxel_size=scale)
    else:
        named = [f"{name}\n{size}" for name, size in zip(names, sizes, strict=True)]
        draw_slices([torch.from_numpy(density)[None] for density, _ in read], named, path, title)
    description = f"{title}: {', '.join(dict.fromkeys(sizes))}"
    return Shown(path, len(read), tuple(range(len(read))), description)


def spread(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Choose images at random, but spread evenly over what is known of them.

    Contents have turns: each gives an image of its first transformation, then of its second, and so on, and
    when all were seen, another of the first.

    Parameters
    ----------
    table
        Of an image set.
    count
        How many are wanted.
    seed
        Of the order in which images have their turn.

    Returns
    -------
    numpy.ndarray
        Places in the table, at most `count`, ordered by label and then by place.
    """
    known = table.reindex(columns=LABELS).reset_index(drop=True)
    shuffled = known.iloc[np.random.default_rng(seed).permutation(len(known))]
    for labels in (LABELS, ["content"]):
        turn = shuffled.groupby(labels, dropna=False).cumcount()
        shuffled = shuffled.iloc[turn.argsort(kind="stable")]
    chosen = known.loc[shuffled.index[:count].sort_values()]
    return np.asarray(chosen.sort_values(LABELS).index)


def draw_pictures(pictures: Tensor, names: Sequence[str], path: str | Path, title: str) -> None:
    """Draw pictures (N, C, H, W) side by side, each below its name."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = titled(title, INCHES * columns, rows * (INCHES * pictures.shape[2] / pictures.shape[3] + 0.3))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, picture, name in zip(panels, pictures, names, strict=False):
        axes.imshow(picture_of(picture), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=7, parse_math=False)
    save_figure(figure, path)


def _names(table: pd.DataFrame) -> list[str]:
    """Name images by their labels, and their files or rows."""
    labels = [label for label in LABELS if label in table]
    states = [" ".join(map(str, state)) for state in table[labels].itertuples(index=False)]
    places = table["file"] if "file" in table else [f"row {row}" for row in table["row"]]
    return [f"{state}\n{place}".strip() for state, place in zip(states, places, strict=True)]


def _described(images: ImageSet) -> str:
    pictures = len(images.shape) == 3
    told = [
        counted(len(images), "picture" if pictures else "volume"),
        size_of(images.shape[1:], images.pixel_size),
        *(counted(images.table[label].nunique(), label) for label in LABELS if label in images.table),
    ]
    return ", ".join(told)


def counted(count: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{count:,} {thing}{'s' * (count != 1)}"


def size_of(shape: Sequence[int], pixel_size: float | None) -> str:
    """Say how large an image is, x first."""
    sides = " x ".join(map(str, reversed(shape)))
    told = f"{sides} {'voxels' if len(shape) == 3 else 'pixels'}"
    return told if pixel_size is None else f"{told} of {pixel_size:g} Å"


def _path(path: str | Path | None, source: str | Path, kind: str) -> Path:
    return Path(f"{_stem(source).replace(' ', '-')}-{kind}.png") if path is None else Path(path)


def _stem(source: str | Path) -> str:
    return Path(str(source).removesuffix(".gz")).stem
