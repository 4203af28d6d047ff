"""Open a source of images, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from dualcontrast.errors import SourceError, nearest_path
from dualcontrast.images.arrays import IN_MEMORY, images_in_memory, open_npy, open_npz
from dualcontrast.images.bop import is_bop, open_bop
from dualcontrast.images.folder import has_pictures, open_folder
from dualcontrast.images.hdf5 import open_hdf5
from dualcontrast.images.imageset import ImageSet
from dualcontrast.images.linemod import is_linemod, open_linemod
from dualcontrast.images.mnist import download_mnist, is_idx_file, is_idx_folder, open_idx, open_mnist
from dualcontrast.images.preparation import SPHERE
from dualcontrast.images.subtomograms import open_subtomograms, open_volumes
from dualcontrast.images.volume_files import SUFFIXES, mrc_files


class Reader(NamedTuple):
    """A kind of source: what messages call it, how a path is known to be one, and what opens it."""

    what: str
    is_one: Callable[[Path], bool]
    open: Callable[..., ImageSet]
    options: tuple[str, ...] = ()


def _named(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes


# The first that fits, and takes the options given, is taken.
ARRAYS = ("key", "labels")
VOLUMES = ("invert", "bin", "mask")
PREPARATION = ("poses", *VOLUMES)  # what other images must have had done to them as well, to be encoded alike
FILES: tuple[Reader, ...] = (
    Reader("an .npz of LineMod renders", is_linemod, open_linemod),
    Reader("an .npz", _named(".npz"), open_npz, ARRAYS),
    Reader("a .npy", _named(".npy"), open_npy),
    Reader("an .h5 or .hdf5", _named(".h5", ".hdf5"), open_hdf5, ARRAYS),
    Reader("an IDX file of pictures", is_idx_file, open_idx),
    Reader("a STAR file of subtomograms", _named(".star"), open_subtomograms, ("labels", "datadir", *PREPARATION)),
    Reader("an .mrc or .mrcs of volumes", _named(*SUFFIXES), open_volumes, VOLUMES),
)
FOLDERS: tuple[Reader, ...] = (
    Reader("the IDX files of MNIST", is_idx_folder, open_mnist),
    Reader("BOP's folders of LineMod", is_bop, open_bop),
    Reader("MRC files of one volume each", lambda path: bool(mrc_files(path)), open_volumes, VOLUMES),
    Reader(
        "pictures (png, jpg, tif or bmp) of one size, in one subfolder a class or none",
        has_pictures,
        open_folder,
    ),
)


def open_images(
    source: str | Path | np.ndarray | Tensor | ImageSet,
    *,
    key: str | None = None,
    labels: str | None = None,
    datadir: str | Path | None = None,
    invert: bool = False,
    bin: int = 1,  # noqa: A002
    poses: bool = False,
    mask: str | Path | None = None,
) -> ImageSet:
    """Open a source of images; the reader is chosen by what the source is.

    Parameters
    ----------
    source
        The path of a .npy, .npz or HDF5 file, of an IDX file, of a STAR or MRC file of subtomograms, of the
        folder of MNIST's IDX files, of BOP's LineMod, or of a folder of pictures or of MRC files; `mnist`, to
        download it; or images in memory, (N, spatial...), (N, C, spatial...) or (N, H, W, C). An image set is
        returned as it is.
    key
        Name of the array of images in an .npz or HDF5 file, where it is not `images`.
    labels
        Name of the array in an .npz or HDF5 file to take as content labels, where it is not `content`; or of a
        column of a STAR file, where it is not `dualcontrastIdentity`.
    datadir, invert, bin, poses, mask
        For subtomograms, as in `open_subtomograms`.

    Returns
    -------
    ImageSet
        Of at least two images, unless an image set was given.

    Raises
    ------
    SourceError
        There is no such source, or it cannot be read, or holds what no method can use; or an option is not for
        such a source.
    """
    options = _stated(
        key=key,
        labels=labels,
        datadir=_absolute(datadir),
        invert=invert,
        bin=bin,
        poses=poses,
        mask=mask if mask == SPHERE else _absolute(mask),
    )
    if isinstance(source, (str, Path)):
        images = _open_path(source, options)
    elif options:
        raise _not_taken(IN_MEMORY, options)
    elif isinstance(source, ImageSet):
        return source
    else:
        images = images_in_memory(_as_numpy(source))
    if len(images) < 2:
        raise SourceError(f"{images.source}: two images at least are needed, and it holds {len(images)}")
    images.options = {**options, **images.options}
    return images


def options_of(source: str | Path) -> tuple[str, ...]:
    """Return the names of the options that a path's reader takes."""
    path = Path(source)
    readers = FOLDERS if path.is_dir() else FILES
    return next((reader.options for reader in readers if path.exists() and reader.is_one(path)), ())


def _stated(**options: Any) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    defaults = {"invert": False, "bin": 1, "poses": False}
    return {name: value for name, value in options.items() if value != defaults.get(name)}


def _absolute(path: str | Path | None) -> str | None:
    return None if path is None else str(Path(path).resolve())


def _as_numpy(array: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        return array.float().numpy() if array.is_floating_point() else array.numpy()
    return array


def _open_path(source: str | Path, options: Mapping[str, Any]) -> ImageSet:
    path = Path(source)
    if str(source) == "mnist" and not path.exists() and not options:
        images = open_mnist(download_mnist())
        images.source = "mnist"
        return images
    if not path.exists():
        meant = nearest_path(path, otherwise="give a path, or mnist to download MNIST", also=["mnist"])
        raise SourceError(f"{source}: no such file or folder; {meant}")
    readers = FOLDERS if path.is_dir() else FILES
    fitting = [reader for reader in readers if reader.is_one(path)]
    for reader in fitting:
        if set(options) <= set(reader.options):
            return reader.open(path, **options)
    if fitting:
        raise _not_taken(source, set(options).difference(*[reader.options for reader in fitting]) or options)
    accepted = "; ".join(reader.what for reader in readers)
    raise SourceError(
        f"{source}: not a {'folder' if path.is_dir() else 'file'} of images; accepted are: {accepted}"
    )


def _not_taken(source: str | Path, options: Iterable[str]) -> SourceError:
    """Return an error that says what the first of some options is for."""
    option = sorted(options)[0]
    takers = ", ".join(reader.what for reader in (*FILES, *FOLDERS) if option in reader.options)
    return SourceError(f"{source}: `{option}` is for {takers}, and this is no such source; leave it out")
