"""Where the volumes of a source lie: their files found, and all headers checked before any work begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dualcontrast.cryoet.mrc import VolumeFile, read_header
from dualcontrast.cryoet.star import Particles, split_name
from dualcontrast.errors import DualContrastWarning, SourceError

SUFFIXES = (".mrc", ".mrcs", ".map")
PARENTS = 5
LARGEST_DISAGREEMENT = 0.05


class Stored(NamedTuple):
    """A volume in its file."""

    file: VolumeFile
    place: int
    name: str  # as messages say it


def mrc_files(folder: Path) -> list[Path]:
    """Return the MRC files that lie in a folder itself, by name; hidden ones are left out."""
    files = sorted(folder.iterdir())
    return [file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]


def project_folder(particles: Particles, datadir: str | Path | None) -> Path:
    """Return the folder that the paths of a STAR file start from.

    Parameters
    ----------
    datadir
        The user's word. Where there is none, the first volume is looked for from the current folder, then from
        that of the STAR file, and from those above it.

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
    where = "from here, nor from the STAR file's folder or those above" if datadir is None else f"in {datadir}"
    raise SourceError(
        f"{particles.path}: row 1: {first} is not found {where}; give the folder that paths in the STAR file "
        "start from (RELION's project folder) as `datadir`"
    )


def located(names: Iterable[str], root: Path, source: Path) -> list[Stored]:
    """Find volumes by their names, FILE or NUMBER@FILE, and read the header of each file once.

    Raises
    ------
    SourceError
        A file is missing or damaged, or has no volume of that number. The message names the row, from 1.
    """
    files: dict[str, VolumeFile] = {}
    volumes = []
    for row, name in enumerate(names, start=1):
        number, file = split_name(name)
        if file not in files:
            try:
                files[file] = read_header(root / file)
            except SourceError as error:
                raise SourceError(f"{source}: row {row}: {error}") from None
        count = files[file].count
        if number is None and count > 1:
            raise SourceError(
                f"{source}: row {row}: {file} holds {count} volumes; say which as NUMBER@{file}, or give each a "
                "file of its own"
            )
        if number is not None and number > count:
            raise SourceError(
                f"{source}: row {row} asks for volume {number} of {file}, which holds {count}; put the stack "
                "there that the STAR file was written for"
            )
        volumes.append(Stored(files[file], (number or 1) - 1, name))
    return volumes


def common_box(volumes: Sequence[Stored], source: Path) -> int:
    """Return the side of all volumes, in voxels.

    Raises
    ------
    SourceError
        One is no cube, or of another size than the first.
    """
    box = volumes[0].file.shape[-1]
    for row, volume in enumerate(volumes, start=1):
        if len(set(volume.file.shape)) > 1:
            raise SourceError(
                f"{source}: row {row} ({volume.name}) has {_sides(volume)} voxels, and subtomograms are cubes; "
                "extract them again in three dimensions"
            )
        if volume.file.shape[-1] != box:
            raise SourceError(
                f"{source}: row {row} ({volume.name}) has {_sides(volume)} voxels, and row 1 has {box} a side; "
                "extract all subtomograms with one box size"
            )
    return box


def check_ctfs(ctfs: Sequence[Stored], box: int, source: Path) -> None:
    """Make sure that each CTF is a whole cube of `box` voxels a side, or its half as FFTW stores it.

    Raises
    ------
    SourceError
        One is not.
    """
    for row, ctf in enumerate(ctfs, start=1):
        if ctf.file.shape not in ((box, box, box), (box, box, box // 2 + 1)):
            raise SourceError(
                f"{source}: row {row}: the CTF {ctf.name} has {_sides(ctf)} voxels, and its subtomogram {box} a "
                "side; give CTFs of the same box"
            )


def warn_of_pixel_sizes(volumes: Sequence[Stored], pixel_size: float, source: Path) -> None:
    """Warn where the header of a file contradicts `pixel_size`, in Angstrom, by more than 5 %."""
    for row, volume in enumerate(volumes, start=1):
        said = volume.file.voxel_size
        if said is not None and abs(said - pixel_size) > LARGEST_DISAGREEMENT * pixel_size:
            warnings.warn(
                f"{source}: the header of row {row} ({volume.name}) says a voxel size of {said:g} A, but "
                f"{pixel_size:g} A is taken for all; correct the one that is wrong",
                DualContrastWarning,
                stacklevel=3,
            )
            return


def _sides(volume: Stored) -> str:
    return " x ".join(map(str, volume.file.shape[::-1]))
