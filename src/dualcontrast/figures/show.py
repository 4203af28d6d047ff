"""What `dualcontrast show` draws: images of a source, or density maps."""

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
from dualcontrast.figures.captions import plural, size_of
from dualcontrast.figures.drawing import picture_of, save_figure, titled_figure
from dualcontrast.figures.sampling import LABELS, balanced_sample
from dualcontrast.figures.slices import draw_slices
from dualcontrast.figures.surfaces import draw_surfaces
from dualcontrast.images import ImageSet

VOLUMES, PICTURES = 6, 24  # drawn by default
MAP_SUFFIXES = (".mrc", ".map", ".rec", ".ccp4")
COLUMNS = 8
INCHES = 1.0  # side of a picture with its name


@dataclass(frozen=True)
class Preview:
    """A figure of some images of a source, or of density maps.

    Attributes
    ----------
    figure : pathlib.Path
        The PNG.
    images : int
        Number of images in the source.
    rows : tuple of int
        The rows of the source that are drawn.
    description : str
        Number, size and labels of the images.
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
) -> Preview:
    """Draw some images of a source, balanced over its labels.

    Parameters
    ----------
    images
        Pictures are drawn side by side, each volume as a row of slices.
    path
        The PNG to write; by default named after the source, in the current folder.
    count
        Number of images to draw; by default 6 volumes or 24 pictures.
    seed
        Seed of the choice of images.
    surface
        Draw volumes as surfaces of equal density.

    Raises
    ------
    SourceError
        `surface` is set for pictures, or a volume has no surface; or an image is damaged.
    """
    are_pictures = len(images.shape) == 3
    if are_pictures and surface:
        raise SourceError(f"{images.source}: contains pictures, which have no surface; leave out `surface`")
    chosen = balanced_sample(images.table, count or (PICTURES if are_pictures else VOLUMES), seed)
    drawn, names = images.read(chosen), _names(images.table.iloc[chosen])
    description = _description(images)
    title = f"{Path(images.source).name}: {len(chosen)} of {description}"
    path = path or _default_path(images.source, "pictures" if are_pictures else _kind(surface))
    if are_pictures:
        draw_pictures(drawn, names, path, title)
    elif surface:
        maps = [volume[0].numpy() for volume in drawn]
        try:
            draw_surfaces(maps, names, path, title, voxel_size=images.pixel_size)
        except SourceError as error:
            raise SourceError(f"{images.source}: {error}") from None
    else:
        draw_slices(drawn, names, path, title)
    return Preview(Path(path), len(images), tuple(images.table["row"].iloc[chosen]), description)


def are_maps(paths: Sequence[str | Path]) -> bool:
    """Check by their names that files are density maps; a single MRC file must not be a stack."""
    plain = [path.with_suffix("") if path.suffix == ".gz" else path for path in map(Path, paths)]
    if not all(path.suffix.lower() in MAP_SUFFIXES for path in plain):
        return False
    only = Path(paths[0])
    return len(paths) > 1 or only.suffix == ".gz" or (only.is_file() and read_header(only).count == 1)


def show_maps(paths: Sequence[str | Path], path: str | Path | None = None, *, surface: bool = False) -> Preview:
    """Draw density maps, each as a row of slices or as a surface.

    Parameters
    ----------
    paths
        MRC files, plain or gzipped, of one map each.
    path
        The PNG to write; by default named after the first map, in the current folder.
    surface
        Draw surfaces of equal density.

    Raises
    ------
    SourceError
        A file is not a single map, or the map has no surface.
    """
    maps = [read_map(source) for source in paths]
    for source, (density, _) in zip(paths, maps, strict=True):
        if not np.isfinite(density).all():
            raise SourceError(f"{source}: contains NaN or infinite values; repair the map")
    names, sizes = [_stem(source) for source in paths], [size_of(density.shape, voxel) for density, voxel in maps]
    title = plural(len(maps), "density map")
    path = path or _default_path(paths[0], _kind(surface))
    if surface:
        voxels = [voxel for _, voxel in maps if voxel is not None]
        scale = voxels if len(voxels) == len(maps) else None
        draw_surfaces([density for density, _ in maps], names, path, title, voxel_size=scale)
    else:
        labels = [f"{name}\n{size}" for name, size in zip(names, sizes, strict=True)]
        draw_slices([torch.from_numpy(density)[None] for density, _ in maps], labels, path, title)
    description = f"{title}: {', '.join(dict.fromkeys(sizes))}"
    return Preview(Path(path), len(maps), tuple(range(len(maps))), description)


def draw_pictures(pictures: Tensor, names: Sequence[str], path: str | Path, title: str) -> None:
    """Draw pictures (N, C, H, W) side by side, each below its name."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    height = rows * (INCHES * pictures.shape[2] / pictures.shape[3] + 0.3)
    figure = titled_figure(title, INCHES * columns, height)
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
    origins = table["file"] if "file" in table else [f"row {row}" for row in table["row"]]
    return [f"{state}\n{origin}".strip() for state, origin in zip(states, origins, strict=True)]


def _description(images: ImageSet) -> str:
    parts = [
        plural(len(images), "picture" if len(images.shape) == 3 else "volume"),
        size_of(images.shape[1:], images.pixel_size),
        *(plural(images.table[label].nunique(), label) for label in LABELS if label in images.table),
    ]
    return ", ".join(parts)


def _kind(surface: bool) -> str:
    return "surface" if surface else "slices"


def _default_path(source: str | Path, kind: str) -> Path:
    return Path(f"{_stem(source).replace(' ', '-')}-{kind}.png")


def _stem(source: str | Path) -> str:
    return Path(str(source).removesuffix(".gz")).stem
