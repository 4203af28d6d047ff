"""MRC files of density: one volume, or a stack of volumes of one size."""

from __future__ import annotations

import gzip
import os
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mrcfile.constants import MAP_ID
from mrcfile.dtypes import HEADER_DTYPE

from dualcontrast.errors import SourceError

HEADER_BYTES = 1024
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


@dataclass(frozen=True)
class VolumeFile:
    """The contents of an MRC file according to its header.

    Attributes
    ----------
    path : pathlib.Path
        The file, uncompressed.
    count : int
        Number of volumes.
    shape : tuple of int
        Shape of one volume, (z, y, x).
    voxel_size : float or None
        Voxel size in Angstrom along x; None if the header does not state it.
    dtype : numpy.dtype
        Type of a voxel, with its byte order.
    offset : int
        Bytes before the first voxel.
    """

    path: Path
    count: int
    shape: tuple[int, int, int]
    voxel_size: float | None
    dtype: np.dtype[Any]
    offset: int


def read_header(path: str | Path) -> VolumeFile:
    """Read the header of an MRC file, and check that the file holds all voxels that it announces.

    A file is a stack of volumes if its header says so (MRC2014's space group 401) or if its z extent is a
    multiple of the other sides; so is one of half-volumes in Fourier space, N // 2 + 1 voxels along x.

    Raises
    ------
    SourceError
        The file is missing, not an MRC file, of a mode that holds no density, or truncated.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        raise SourceError(f"{path}: no such MRC file, or it cannot be read; check the path") from None
    if len(raw) < HEADER_BYTES:
        raise SourceError(f"{path}: truncated: {len(raw)} bytes are too few for the header of an MRC file")
    header = _parse(raw, HEADER_DTYPE)
    if not _is_sensible(header):
        header = _parse(raw, HEADER_DTYPE.newbyteorder())
    if not _is_sensible(header):
        reason = "" if header["map"] == MAP_ID else ": its header lacks the word MAP"
        raise SourceError(f"{path}: not an MRC file{reason}; replace it with an intact copy")
    mode = int(header["mode"])
    if mode not in MODES:
        raise SourceError(f"{path}: MRC mode {mode} holds no density; save the volume as mode 2, 32-bit floats")
    x, y, z = (int(header[name]) for name in ("nx", "ny", "nz"))
    depth = _depth(x, y, z, int(header["mz"]), int(header["ispg"]))
    cell, sampling = float(header["cella"]["x"]), int(header["mx"])
    stored = VolumeFile(
        path,
        z // depth,
        (depth, y, x),
        cell / sampling if sampling > 0 and cell > 0 else None,
        np.dtype(MODES[mode]).newbyteorder(header.dtype["nx"].byteorder),
        HEADER_BYTES + int(header["nsymbt"]),
    )
    expected = stored.offset + x * y * z * stored.dtype.itemsize
    if size < expected:
        raise SourceError(
            f"{path}: truncated: {size:,} bytes of {expected:,} for {x} x {y} x {z} voxels; copy the file again"
        )
    return stored


def read_volume(stored: VolumeFile, index: int = 0) -> np.ndarray:
    """Read one volume of a file, (z, y, x), float32.

    Raises
    ------
    SourceError
        The file has changed since its header was read.
    """
    voxels = int(np.prod(stored.shape))
    try:
        values = np.fromfile(
            stored.path, stored.dtype, voxels, offset=stored.offset + index * voxels * stored.dtype.itemsize
        )
    except OSError:
        raise SourceError(f"{stored.path}: no such MRC file, or it cannot be read; check the path") from None
    if len(values) < voxels:
        raise SourceError(f"{stored.path}: truncated within volume {index + 1}; copy the file again")
    return values.astype(np.float32).reshape(stored.shape)


def read_map(path: str | Path) -> tuple[np.ndarray, float | None]:
    """Read the density map in an MRC file, plain or gzipped.

    Returns
    -------
    tuple
        (z, y, x), float32, and the voxel size in Angstrom, or None if the header does not state it.

    Raises
    ------
    SourceError
        There is no such map, it is damaged, or the file holds several volumes.
    """
    path = Path(path)
    if path.suffix != ".gz":
        stored = read_header(path)
        if stored.count > 1:
            raise SourceError(f"{path}: holds {stored.count} volumes, but a single density map is needed")
        return read_volume(stored), stored.voxel_size
    import mrcfile

    try:
        with warnings.catch_warnings():  # warnings about unusual headers do not matter here
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True) as file:
                values, size = file.data, float(file.voxel_size.x)
                assert values is not None
                density = np.array(values, np.float32)
    except (OSError, ValueError, EOFError, AssertionError, gzip.BadGzipFile):
        raise SourceError(f"{path}: missing, damaged, or not a gzipped MRC file; use an intact copy") from None
    if density.ndim != 3:
        raise SourceError(f"{path}: an array of shape {density.shape} is not a density map")
    return density, size or None


def write_volume(path: str | Path, volume: np.ndarray, voxel_size: float) -> None:
    """Write a volume as MRC mode 2.

    Parameters
    ----------
    path
        The file. The caller makes sure that a partial file is never mistaken for a complete one.
    volume
        (z, y, x).
    voxel_size
        In Angstrom.
    """
    values = np.ascontiguousarray(volume, "<f4")
    header = _header_like(values.shape, voxel_size).copy()
    header["dmin"], header["dmax"] = values.min(), values.max()
    header["dmean"], header["rms"] = values.mean(), values.std()
    with Path(path).open("wb") as file:
        file.write(header.tobytes())
        file.write(values.tobytes())


@lru_cache(maxsize=8)
def _header_like(shape: tuple[int, ...], voxel_size: float) -> np.ndarray:
    """Return the header that mrcfile writes for a volume of this shape; thousands of subtomograms share it."""
    import mrcfile

    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.mrc"
        with mrcfile.new(path) as file:
            file.set_data(np.zeros(shape, np.float32))
            file.set_volume()
            file.voxel_size = voxel_size
        return np.asarray(np.fromfile(path, HEADER_DTYPE.newbyteorder("<"), 1)[0])


def _parse(raw: bytes, dtype: np.dtype[Any]) -> Any:
    return np.frombuffer(raw, dtype).view(np.recarray)[0]


def _is_sensible(header: Any) -> bool:
    """Check that the sizes in a header are plausible: read in the right byte order, and from an MRC file."""
    sides = [int(header[name]) for name in ("nx", "ny", "nz")]
    return all(0 < side < 1 << 17 for side in sides) and 0 <= int(header["mode"]) < 200 and header["nsymbt"] >= 0


def _depth(x: int, y: int, z: int, mz: int, space_group: int) -> int:
    """Return the z extent of one volume of a file."""
    if space_group >= 401 and 0 < mz < z and z % mz == 0:
        return mz
    if x in (y, y // 2 + 1) and z > y and z % y == 0:
        return y
    return z
