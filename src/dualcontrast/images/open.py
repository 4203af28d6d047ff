"""Open a source of images, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from dualcontrast.errors import SourceError
from dualcontrast.images.arrays import IN_MEMORY, images_in_memory, open_npy, open_npz
from dualcontrast.images.bop import is_bop, open_bop
from dualcontrast.images.folder import has_pictures, open_folder
from dualcontrast.images.hdf5 import open_hdf5
from dualcontrast.images.imageset import ImageSet
from dualcontrast.images.linemod import is_linemod, open_linemod
from dualcontrast.images.mnist import download_mnist, is_idx_file, is_idx_folder, open_idx, open_mnist

SUBTOMOGRAMS = (".star", ".mrc", ".mrcs", ".map")


def _named(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.suffix.lower() in suffixes


# What a source is, how a path is known to be one, and its reader; the first that fits is taken.
Reader = tuple[str, Callable[[Path], bool], Callable[..., ImageSet]]
FILES: tuple[Reader, ...] = (
    ("an .npz of LineMod renders", is_linemod, open_linemod),
    ("an .npz", _named(".npz"), open_npz),
    ("a .npy", _named(".npy"), open_npy),
    ("an .h5 or .hdf5", _named(".h5", ".hdf5"), open_hdf5),
    ("an IDX file of pictures", is_idx_file, open_idx),
)
FOLDERS: tuple[Reader, ...] = (
    ("the IDX files of MNIST", is_idx_folder, open_mnist),
    ("BOP's folders of LineMod", is_bop, open_bop),
    (
        "pictures (png, jpg, tif or bmp) of one size, in one subfolder a class or none",
        has_pictures,
        open_folder,
    ),
)
WITH_NAMED_ARRAYS = (open_npz, open_hdf5)


def open_images(
    source: str | Path | np.ndarray | Tensor | ImageSet, *, key: str | None = None, labels: str | None = None
) -> ImageSet:
    """Open a source of images; the reader is chosen by what the source is.

    Parameters
    ----------
    source
        The path of a .npy, .npz or HDF5 file, of an IDX file, of the folder of MNIST's IDX files, of BOP's
        LineMod, or of a folder of pictures; `mnist`, to download it; or images in memory, (N, spatial...),
        (N, C, spatial...) or (N, H, W, C). An image set is returned as it is.
    key
        Name of the array of images in an .npz or HDF5 file, where it is not `images`.
    labels
        Name of the array in an .npz or HDF5 file to take as content labels, where it is not `content`.

    Returns
    -------
    ImageSet
        Of at least two images, unless an image set was given.

    Raises
    ------
    SourceError
        There is no such source, or it cannot be read, or holds what no method can use.
    """
    options = {name: value for name, value in (("key", key), ("labels", labels)) if value is not None}
    if isinstance(source, (str, Path)):
        images = _open_path(source, options)
    elif options:
        raise _without_names(IN_MEMORY)
    elif isinstance(source, ImageSet):
        return source
    else:
        images = images_in_memory(_as_numpy(source))
    if len(images) < 2:
        raise SourceError(f"{images.source}: two images at least are needed, and it holds {len(images)}")
    return images


def _as_numpy(array: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(array, Tensor):
        array = array.detach().cpu()
        return array.float().numpy() if array.is_floating_point() else array.numpy()
    return array


def _open_path(source: str | Path, options: dict[str, str]) -> ImageSet:
    path = Path(source)
    if str(source) == "mnist" and not path.exists() and not options:
        images = open_mnist(download_mnist())
        images.source = "mnist"
        return images
    if not path.exists():
        raise SourceError(f"{source}: no such file or folder; give a path, or mnist to download MNIST")
    if path.suffix.lower() in SUBTOMOGRAMS:
        raise SourceError(f"{source}: subtomograms are read by a later version; save them as a .npy until then")
    readers = FOLDERS if path.is_dir() else FILES
    for _, is_one, reader in readers:
        if (not options or reader in WITH_NAMED_ARRAYS) and is_one(path):
            return reader(path, **options)
    if options:
        raise _without_names(source)
    accepted = "; ".join(what for what, _, _ in readers)
    raise SourceError(
        f"{source}: not a {'folder' if path.is_dir() else 'file'} of images; accepted are: {accepted}"
    )


def _without_names(source: str | Path) -> SourceError:
    return SourceError(
        f"{source}: key and labels name arrays in an .npz or HDF5 file, and this is none; leave them out"
    )
