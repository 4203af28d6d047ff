"""Finding the volumes of a source, and checking all their headers before any work begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dualcontrast.cryoet.mrc import COMPRESSED, VolumeFile, read_header
from dualcontrast.cryoet.particles import Particles, split_name
from dualcontrast.errors import DualContrastWarning, SourceError

SUFFIXES = (".mrc", ".mrcs", ".map", ".rec")
# Formats of other programs, and how to convert them.
FOREIGN = {
    ".em": "convert them with e2proc3d.py of EMAN2, or in Python with emfile and mrcfile",
    ".hdf": "convert them with e2proc3d.py of EMAN2, such as e2proc3d.py a.hdf a.mrc",
    ".spi": "convert them with relion_image_handler",
}
PARENTS = 5
LARGEST_DISAGREEMENT = 0.05


class StoredVolume(NamedTuple):
    """A volume in its file."""

    file: VolumeFile
    number: int  # in the file, from 0
    name: str  # for messages


def mrc_files(folder: Path) -> list[Path]:
    """List the MRC files directly in a folder, sorted by name, without hidden ones."""
    files = sorted(folder.iterdir())
    return [file for file in files if is_mrc_name(file) and not file.name.startswith(".")]


def is_mrc_name(path: Path) -> bool:
    """Check by its name whether a file is an MRC file, plain or compressed."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return plain.suffix.lower() in SUFFIXES


def project_folder(particles: Particles, datadir: str | Path | None) -> Path:
    """Find the folder that the paths in a STAR file are relative to.

    Parameters
    ----------
    datadir
        The user's choice. Without it, the first volume is looked for relative to the current folder, then to
        the STAR file's folder and those above it.

    Raises
    ------
    SourceError
        The first volume is not found.
    """
    first = split_name(particles.image_names[0])[1]
    beside = particles.path.resolve().parent
    roots = [Path.cwd(), beside, *list(beside.parents)[:PARENTS]] if datadir is None else [Path(datadir)]
    for root in roots:
        if (root / first).is_file():
            return root.resolve()
    where = "here, in the STAR file's folder or in those above it" if datadir is None else f"in {datadir}"
    raise SourceError(
        f"{particles.path}: row 1: {first} is not found {where}; give the folder that the paths in the STAR file "
        "are relative to (RELION's project folder) as `datadir`"
    )


def find_volumes(names: Iterable[str], root: Path, source: Path, of_ctfs: bool = False) -> list[StoredVolume]:
    """Find volumes by name, FILE or NUMBER@FILE, and read the header of each file once.

    Parameters
    ----------
    of_ctfs
        The volumes are CTFs. RELION 4 and 5 write two half-volumes into a file of weights, CTF^2 and how often
        each frequency was measured; the first is taken.

    Raises
    ------
    SourceError
        A file is missing or damaged, of a format that is not read, or has no volume of that number. The message
        names the row, from 1.
    """
    files: dict[str, VolumeFile] = {}
    volumes = []
    for row, name in enumerate(names, start=1):
        number, file = split_name(name)
        if file not in files:
            if (suffix := Path(file).suffix.lower()) in FOREIGN:
                raise SourceError(
                    f"{source}: row {row}: {suffix} files such as {file} are not read; {FOREIGN[suffix]}"
                )
            try:
                files[file] = read_header(root / file)
            except SourceError as error:
                raise SourceError(f"{source}: row {row}: {error}") from None
        count = files[file].count
        if number is None and of_ctfs and _holds_weights(files[file]):
            number = 1
        if number is None and count > 1:
            raise SourceError(
                f"{source}: row {row}: {file} holds {count} volumes; choose one as NUMBER@{file}, or give each "
                "volume a file of its own"
            )
        if number is not None and number > count:
            raise SourceError(
                f"{source}: row {row} asks for volume {number} of {file}, which holds {count}; replace it with "
                "the stack that the STAR file was written for"
            )
        volumes.append(StoredVolume(files[file], (number or 1) - 1, name))
    return volumes


def _holds_weights(file: VolumeFile) -> bool:
    depth, y, x = file.shape
    return file.count == 2 and depth == y and x == y // 2 + 1


def common_box(volumes: Sequence[StoredVolume], source: Path) -> int:
    """Return the box size of all volumes, in voxels.

    Raises
    ------
    SourceError
        A volume is not a cube, or differs in size from the first.
    """
    box = volumes[0].file.shape[-1]
    for row, volume in enumerate(volumes, start=1):
        if len(set(volume.file.shape)) > 1:
            raise SourceError(
                f"{source}: row {row} ({volume.name}) has {_sides(volume)} voxels, but subtomograms are cubes; "
                "extract them again in three dimensions"
            )
        if volume.file.shape[-1] != box:
            raise SourceError(
                f"{source}: row {row} ({volume.name}) has {_sides(volume)} voxels, but row 1 has a box of {box}; "
                "extract all subtomograms with one box size"
            )
    return box


def check_ctfs(ctfs: Sequence[StoredVolume], box: int, source: Path) -> None:
    """Check that each CTF is a cube of `box` voxels, or half of one as FFTW stores it.

    Raises
    ------
    SourceError
        A CTF is neither.
    """
    for row, ctf in enumerate(ctfs, start=1):
        if ctf.file.shape not in ((box, box, box), (box, box, box // 2 + 1)):
            raise SourceError(
                f"{source}: row {row}: the CTF {ctf.name} has {_sides(ctf)} voxels, but its subtomogram has a box "
                f"of {box}; use CTF volumes of the same box"
            )


def warn_of_pixel_sizes(volumes: Sequence[StoredVolume], pixel_size: float, source: Path) -> None:
    """Warn if the header of a file differs from `pixel_size`, in Angstrom, by more than 5 %."""
    for row, volume in enumerate(volumes, start=1):
        stated = volume.file.voxel_size
        if stated is not None and abs(stated - pixel_size) > LARGEST_DISAGREEMENT * pixel_size:
            warnings.warn(
                f"{source}: the header of row {row} ({volume.name}) states a voxel size of {stated:g} A, but "
                f"{pixel_size:g} A is used for all; correct the one that is wrong",
                DualContrastWarning,
                stacklevel=3,
            )
            return


def _sides(volume: StoredVolume) -> str:
    return " x ".join(map(str, volume.file.shape[::-1]))
