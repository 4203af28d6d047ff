"""MRC files of density: one volume, or a stack of volumes of one size."""

from __future__ import annotations

import bz2
import gzip
import os
import zlib
from collections.abc import Callable
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
ZYX = (3, 2, 1)
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".bz2": bz2.decompress}
# IMOD's own words in the header: https://bio3d.colorado.edu/imod/doc/mrc_format.txt
IMOD_OFFSET, IMOD_STAMP, IMOD_SIGNED = 152, 1146047817, 1


@dataclass(frozen=True)
class VolumeFile:
    """The contents of an MRC file according to its header.

    Attributes
    ----------
    path : pathlib.Path
        The file, plain or compressed.
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
    axes : tuple of int
        The axes of the array as stored, slowest first: 3 is z, 2 is y, 1 is x.
    """

    path: Path
    count: int
    shape: tuple[int, int, int]
    voxel_size: float | None
    dtype: np.dtype[np.generic]
    offset: int
    axes: tuple[int, int, int] = ZYX


def read_header(path: str | Path) -> VolumeFile:
    """Read the header of an MRC file, and check that the file holds all voxels that it announces.

    A file is a stack of volumes if its header says so (MRC2014's space group 401) or if its z extent is a
    multiple of the other sides; so is one of half-volumes in Fourier space, N // 2 + 1 voxels along x. Bytes are
    unsigned in files of IMOD that do not say otherwise, and signed in all others, as MRC2014 has it.

    Raises
    ------
    SourceError
        The file is missing, not an MRC file, of a mode that holds no density, truncated, or a stack of pictures.
    """
    path = Path(path)
    try:
        raw, size = _beginning(path)
    except (OSError, EOFError, zlib.error):
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
    depth = _depth(path, x, y, z, int(header["mz"]), int(header["ispg"]))
    axes = _axes(path, header)
    if axes != ZYX and depth != z:
        raise SourceError(f"{path}: a stack of volumes whose axes are permuted; save it in the order x, y, z")
    cell, sampling = float(header["cella"]["x"]), int(header["mx"])
    kind = "u1" if mode == 0 and _has_unsigned_bytes(raw, header) else MODES[mode]
    stored = VolumeFile(
        path,
        z // depth,
        _transposed((depth, y, x), axes),
        cell / sampling if sampling > 0 and cell > 0 else None,
        np.dtype(kind).newbyteorder(header.dtype["nx"].byteorder),
        HEADER_BYTES + int(header["nsymbt"]),
        axes,
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
    start = stored.offset + index * voxels * stored.dtype.itemsize
    try:
        if stored.path.suffix.lower() in COMPRESSED:
            values = np.frombuffer(_decompressed(stored.path)[start:], stored.dtype)[:voxels]
        else:
            values = np.fromfile(stored.path, stored.dtype, voxels, offset=start)
    except (OSError, EOFError, ValueError, zlib.error):
        raise SourceError(f"{stored.path}: no such MRC file, or it cannot be read; check the path") from None
    if len(values) < voxels:
        raise SourceError(f"{stored.path}: truncated within volume {index + 1}; copy the file again")
    shape = [stored.shape[3 - axis] for axis in stored.axes]
    volume = values.astype(np.float32).reshape(shape)
    return np.ascontiguousarray(np.transpose(volume, [stored.axes.index(axis) for axis in ZYX]))


def read_map(path: str | Path) -> tuple[np.ndarray, float | None]:
    """Read the density map in an MRC file, plain or compressed (.gz, .bz2).

    Returns
    -------
    tuple
        (z, y, x), float32, and the voxel size in Angstrom, or None if the header does not state it.

    Raises
    ------
    SourceError
        There is no such map, it is damaged, or the file holds several volumes.
    """
    stored = read_header(path)
    if stored.count > 1:
        raise SourceError(f"{path}: holds {stored.count} volumes, but a single density map is needed")
    return read_volume(stored), stored.voxel_size


def _beginning(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a file, and the number of all its bytes, after decompression."""
    if path.suffix.lower() in COMPRESSED:
        content = _decompressed(path)
        return content[:HEADER_BYTES], len(content)
    with path.open("rb") as file:
        return file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size


@lru_cache(maxsize=1)  # the header and the voxels of a map are read one after the other
def _decompressed_once(path: Path, modified: int) -> bytes:
    return COMPRESSED[path.suffix.lower()](path.read_bytes())


def _decompressed(path: Path) -> bytes:
    return _decompressed_once(path, path.stat().st_mtime_ns)


def _axes(path: Path, header: np.void) -> tuple[int, int, int]:
    """Return the axes of the stored array, slowest first, from MAPC, MAPR and MAPS."""
    axes = int(header["maps"]), int(header["mapr"]), int(header["mapc"])
    if axes == (0, 0, 0):  # not stated by old programs
        return ZYX
    if sorted(axes) != [1, 2, 3]:
        raise SourceError(
            f"{path}: MAPC, MAPR and MAPS are {axes[::-1]}, which are not the axes 1, 2, 3; repair them"
        )
    return axes


def _transposed(shape: tuple[int, int, int], axes: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape (z, y, x) of an array stored with these axes."""
    z, y, x = (shape[axes.index(axis)] for axis in ZYX)
    return z, y, x


def _has_unsigned_bytes(raw: bytes, header: np.void) -> bool:
    """Check whether IMOD wrote the file, and its bytes are not flagged as signed."""
    stamp, flags = np.frombuffer(raw, header.dtype["nx"], 2, offset=IMOD_OFFSET)
    return int(stamp) == IMOD_STAMP and not int(flags) & IMOD_SIGNED


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


def _parse(raw: bytes, dtype: np.dtype[np.generic]) -> Any:
    return np.frombuffer(raw, dtype).view(np.recarray)[0]


def _is_sensible(header: np.void) -> bool:
    """Check that the sizes in a header are plausible: read in the right byte order, and from an MRC file."""
    sides = [int(header[name]) for name in ("nx", "ny", "nz")]
    return all(0 < side < 1 << 17 for side in sides) and 0 <= int(header["mode"]) < 200 and header["nsymbt"] >= 0


def _depth(path: Path, x: int, y: int, z: int, mz: int, space_group: int) -> int:
    """Return the z extent of one volume of a file."""
    if space_group >= 401 and 0 < mz < z and z % mz == 0:
        return mz
    if x in (y, y // 2 + 1) and z > y and z % y == 0:
        if space_group == 0 and x == y and mz != y:
            raise SourceError(
                f"{path}: a stack of {z} pictures, not of volumes, according to its header (space group 0); "
                "extract volumes, or set space group 401 if it holds volumes"
            )
        return y
    return z
