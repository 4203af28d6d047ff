"""Opening a source of images of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dualcontrast.errors import SourceError, nearest_path
from dualcontrast.images.arrays import IN_MEMORY, images_in_memory, open_npy, open_npz
from dualcontrast.images.bop import is_bop, open_bop
from dualcontrast.images.folder import has_pictures, open_folder
from dualcontrast.images.hdf5 import open_hdf5
from dualcontrast.images.imageset import ImageSet, ReaderOptions
from dualcontrast.images.linemod import is_linemod, open_linemod
from dualcontrast.images.mnist import download_mnist, is_idx_file, is_idx_folder, open_idx, open_mnist
from dualcontrast.images.preparation import SPHERE
from dualcontrast.images.subtomograms import open_subtomograms, open_volumes
from dualcontrast.images.volume_files import is_mrc_name, mrc_files


class Reader(NamedTuple):
    """A kind of source: its name in messages, the test that recognises it, and the function that opens it."""

    kind: str
    accepts: Callable[[Path], bool]
    open: Callable[..., ImageSet]
    options: tuple[str, ...] = ()


def _has_suffix(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes


# The first reader that accepts the path and takes the given options is used.
ARRAYS = ("key", "labels")
VOLUMES = ("invert", "bin", "mask")
PREPARATION = ("poses", *VOLUMES)  # applied to other images too, so that they are encoded alike
PARTICLES = ("labels", "datadir", *PREPARATION)
FILES: tuple[Reader, ...] = (
    Reader("an .npz of LineMod renders", is_linemod, open_linemod),
    Reader("an .npz", _has_suffix(".npz"), open_npz, ARRAYS),
    Reader("a .npy", _has_suffix(".npy"), open_npy),
    Reader("an .h5 or .hdf5", _has_suffix(".h5", ".hdf5"), open_hdf5, ARRAYS),
    Reader("an IDX file of pictures", is_idx_file, open_idx),
    Reader("a STAR file of subtomograms", _has_suffix(".star"), open_subtomograms, PARTICLES),
    Reader("an .mrc or .mrcs of volumes", is_mrc_name, open_volumes, VOLUMES),
)
FOLDERS: tuple[Reader, ...] = (
    Reader("the IDX files of MNIST", is_idx_folder, open_mnist),
    Reader("BOP's folders of LineMod", is_bop, open_bop),
    Reader("MRC files with one volume each", lambda path: bool(mrc_files(path)), open_volumes, VOLUMES),
    Reader(
        "pictures (png, jpg, tif or bmp) of one size, in one subfolder per class or in none",
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
    """Open a source of images with the reader that fits it.

    Parameters
    ----------
    source
        The path of a .npy, .npz, HDF5 or IDX file, of a STAR or MRC file of subtomograms, of the folder of
        MNIST's IDX files, of BOP's LineMod, or of a folder of pictures or MRC files; `mnist`, to download it;
        or images in memory, (N, spatial...), (N, C, spatial...) or (N, H, W, C). An image set is returned
        unchanged.
    key
        Name of the array of images in an .npz or HDF5 file, if it is not `images`.
    labels
        Name of the array of content labels in an .npz or HDF5 file, if it is not `content`; or of a column of a
        STAR file, if it is not `dualcontrastIdentity`.
    datadir, invert, bin, poses, mask
        For subtomograms, as in `open_subtomograms`.

    Returns
    -------
    ImageSet
        With at least two images, unless an image set was given.

    Raises
    ------
    SourceError
        There is no such source, it cannot be read, or it holds what no method can use; or an option does not
        apply to such a source.

    Examples
    --------
    >>> import numpy as np
    >>> open_images(np.zeros((10, 28, 28), np.uint8)).shape
    (1, 28, 28)
    """
    options = non_default(
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
        raise _unsupported_option(IN_MEMORY, options)
    elif isinstance(source, ImageSet):
        return source
    else:
        images = images_in_memory(_as_numpy(source))
    if len(images) < 2:
        raise SourceError(f"{images.source}: at least two images are needed, but it holds {len(images)}")
    images.options = {**options, **images.options}
    return images


def options_of(source: str | Path) -> tuple[str, ...]:
    """Return the names of the options that a path's reader takes."""
    path = Path(source)
    readers = FOLDERS if path.is_dir() else FILES
    return next((reader.options for reader in readers if path.exists() and reader.accepts(path)), ())


def non_default(**options: object) -> ReaderOptions:
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


def _open_path(source: str | Path, options: ReaderOptions) -> ImageSet:
    path = Path(source)
    if str(source) == "mnist" and not path.exists() and not options:
        images = open_mnist(download_mnist())
        images.source = "mnist"
        return images
    if not path.exists():
        advice = nearest_path(path, otherwise="give a path, or mnist to download MNIST", also=["mnist"])
        raise SourceError(f"{source}: no such file or folder; {advice}")
    readers = FOLDERS if path.is_dir() else FILES
    candidates = [reader for reader in readers if reader.accepts(path)]
    for reader in candidates:
        if set(options) <= set(reader.options):
            return reader.open(path, **options)
    if candidates:
        unsupported = set(options).difference(*[reader.options for reader in candidates]) or options
        raise _unsupported_option(source, unsupported)
    accepted = "; ".join(reader.kind for reader in readers)
    raise SourceError(
        f"{source}: not a {'folder' if path.is_dir() else 'file'} of images; accepted are: {accepted}"
    )


def _unsupported_option(source: str | Path, options: Iterable[str]) -> SourceError:
    """Make the error that says which sources take the first of these options."""
    option = sorted(options)[0]
    kinds = ", ".join(reader.kind for reader in (*FILES, *FOLDERS) if option in reader.options)
    return SourceError(f"{source}: `{option}` applies only to {kinds}; leave it out")
