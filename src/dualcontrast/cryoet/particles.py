"""Particles in RELION's STAR files, in all dialects of subtomograms."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from dualcontrast.cryoet.geometry import matrices_of_angles
from dualcontrast.cryoet.star import Block, as_table, read_blocks
from dualcontrast.errors import SourceError, nearest

PARTICLE_BLOCK = "its particle block"  # in messages
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
ORIGINS_IN_PIXELS = ("rlnOriginX", "rlnOriginY", "rlnOriginZ")
SAME_PIXEL_SIZE = 1e-3  # relative


@dataclass(frozen=True, eq=False)
class Particles:
    """The particles of a STAR file, in file order.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    table : pandas.DataFrame
        The particle block: every row and column, as read.
    optics : pandas.DataFrame or None
        The block data_optics; None in dialects before RELION 3.1.
    others : dict
        All other blocks by name, such as `general`.
    image_names : numpy.ndarray
        rlnImageName, (N,); `split_name` parses them.
    ctf_names : numpy.ndarray or None
        rlnCtfImage, (N,), if the file has it.
    pixel_size : float
        In Angstrom.
    angles : numpy.ndarray or None
        rlnAngleRot, rlnAngleTilt and rlnAnglePsi, (N, 3), if the file has them.
    origins : numpy.ndarray
        rlnOrigin along x, y and z, (N, 3), in Angstrom; zeros if the file has none.
    ctf_premultiplied : bool
        Whether the volumes have been multiplied by their CTF, like RELION 4's pseudo-subtomograms.
    """

    path: Path
    table: pd.DataFrame
    optics: pd.DataFrame | None
    others: dict[str, Block]
    image_names: np.ndarray
    ctf_names: np.ndarray | None
    pixel_size: float
    angles: np.ndarray | None
    origins: np.ndarray
    ctf_premultiplied: bool

    def __len__(self) -> int:
        return len(self.table)

    def matrices(self) -> np.ndarray | None:
        """Return each particle's rotation A within its volume, (N, 3, 3), or None without angles.

        particle(p) = reference(A^-1 (p - shift)). rlnTomoSubtomogramRot, Tilt and Psi are not part of it: they
        state how the volume itself was rotated when it was extracted from the tomogram (RELION 5,
        `getMatrix3x3` in particle_set.cpp and `apply_orientations` in subtomo.cpp).
        """
        return None if self.angles is None else matrices_of_angles(self.angles)

    def shifts(self) -> np.ndarray:
        """Return each particle's offset from the centre of its volume, (N, 3), (x, y, z) in Angstrom."""
        return -self.origins

    def labels(self, column: str) -> np.ndarray:
        """Return a column of the particle block as labels, (N,): numbers, or else strings.

        Raises
        ------
        SourceError
            There is no such column, or a row has no value.
        """
        if column not in self.table:
            raise SourceError(
                f"{self.path}: its particles have no column {column}; {nearest(column, map(str, self.table))}"
            )
        values = self.table[column]
        if is_numeric_dtype(values):
            return values.to_numpy()
        return _strings(_with_row_names(self.table), column, self.path)


def read_particles(path: str | Path) -> Particles:
    """Read the particles of a STAR file of subtomograms.

    Supported dialects: RELION 3.1, 4 and 5 with data_optics and data_particles (RELION 5's extracted in 3D);
    RELION 3.0 and Warp's export for it, one block with its own pixel sizes and origins in pixels.

    Raises
    ------
    SourceError
        The file is missing or not a STAR file, has no particles, lacks columns or values, or lists 2D stacks.
        Rows are counted from 1 in the particle block.
    """
    path = Path(path)
    table, others = read_blocks(path)
    rows = _with_row_names(table)
    optics = as_table(others.pop("optics")) if "optics" in others else None
    used = rows if optics is None else _used_optics(rows, optics, path)
    _refuse_2d_stacks(used, others, path)
    pixel_size = _pixel_size(used, path)
    return Particles(
        path,
        table,
        optics,
        others,
        _volume_names(rows, "rlnImageName", path),
        _volume_names(rows, "rlnCtfImage", path) if "rlnCtfImage" in table else None,
        pixel_size,
        _numbers(rows, ANGLES, path) if _has_any(table, ANGLES) else None,
        _origins(rows, pixel_size, path),
        _premultiplied(used, path),
    )


def as_relion31(particles: Particles, box: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the particle and optics blocks in RELION 3.1's dialect, completing those of older dialects.

    Every column is kept. An older dialect's optics are those stated in its rows, or else 300 kV, 2.7 mm and 0.1,
    which do not affect averages of subtomograms; its origins in pixels are given in Angstrom as well.

    Parameters
    ----------
    box
        Box size of the volumes, in voxels.
    """
    table = particles.table.copy()
    if particles.optics is not None:
        return table, particles.optics
    defaults = {"rlnVoltage": 300.0, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1}
    values = pd.DataFrame({name: table.get(name, value) for name, value in defaults.items()}, index=table.index)
    groups = values.groupby(list(defaults), sort=False).ngroup() + 1
    optics = values.assign(rlnOpticsGroup=groups).drop_duplicates("rlnOpticsGroup").reset_index(drop=True)
    optics.insert(0, "rlnOpticsGroupName", [f"opticsGroup{number}" for number in optics["rlnOpticsGroup"]])
    optics = optics.assign(rlnImagePixelSize=particles.pixel_size, rlnImageSize=box, rlnImageDimensionality=3)
    table["rlnOpticsGroup"] = groups
    if not _has_any(table, ORIGINS):
        table[list(ORIGINS)] = particles.origins
    return table, optics


def split_name(name: str) -> tuple[int | None, str]:
    """Split the name of a volume into number and file.

    Returns
    -------
    tuple
        Its number in the stack, from 1, or None for a file with one volume; and the file.

    Raises
    ------
    ValueError
        The name is neither FILE nor NUMBER@FILE.

    Examples
    --------
    >>> split_name("000012@Extract/stack.mrcs")
    (12, 'Extract/stack.mrcs')
    """
    parts = re.fullmatch(r"(?:(\d+)@)?([^@]+)", name)
    if parts is None or (parts[1] is not None and int(parts[1]) == 0):
        raise ValueError(name)
    return None if parts[1] is None else int(parts[1]), parts[2]


# Below, the index of a table holds the names of its rows for messages: "row 12", or "optics group 3".


def _with_row_names(table: pd.DataFrame) -> pd.DataFrame:
    numbered: pd.DataFrame = table.set_axis(pd.RangeIndex(1, len(table) + 1, name="row"), axis=0)
    return numbered


def _row_name(table: pd.DataFrame, row: int) -> str:
    return f"{table.index.name} {table.index[row]}"


def _used_optics(rows: pd.DataFrame, optics: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the optics groups that particles belong to, indexed by number."""
    groups = _numbers(rows, ["rlnOpticsGroup"], path)[:, 0].astype(int)
    known = _numbers(_with_row_names(optics), ["rlnOpticsGroup"], path, "data_optics")[:, 0].astype(int)
    unknown = ~np.isin(groups, known)
    if unknown.any():
        first = int(np.argmax(unknown))
        raise SourceError(
            f"{path}: {_row_name(rows, first)} belongs to optics group {groups[first]}, which is not in "
            "data_optics; add it there"
        )
    used: pd.DataFrame = optics.set_axis(pd.Index(known, name="optics group"), axis=0)[np.isin(known, groups)]
    return used


def _refuse_2d_stacks(used: pd.DataFrame, others: Mapping[str, Block], path: Path) -> None:
    general = as_table(others.get("general", {}))
    stacks = (general.get("rlnTomoSubTomosAre2DStacks", pd.Series([0])) == 1).any()
    flat = (used.get("rlnImageDimensionality", pd.Series([3])) == 2).any()
    if stacks or flat:
        raise SourceError(
            f"{path}: its particles are 2D stacks, not volumes; extract them again as 3D pseudo-subtomograms "
            "(in RELION 5's job Extract subtomos, set 'Write output as 2D stacks?' to No)"
        )


def _pixel_size(used: pd.DataFrame, path: Path) -> float:
    """Return the pixel size shared by all optics groups, or in older dialects by all rows."""
    sizes = _pixel_sizes(used, path)
    wrong = ~((sizes > 0) & np.isfinite(sizes))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise SourceError(
            f"{path}: {_row_name(used, first)} has a pixel size of {sizes[first]:g} A; correct it, because "
            "lengths and origins depend on it"
        )
    other = np.abs(sizes - sizes[0]) > SAME_PIXEL_SIZE * sizes[0]
    if other.any():
        first = int(np.argmax(other))
        raise SourceError(
            f"{path}: {_row_name(used, 0)} has pixels of {sizes[0]:g} A and {_row_name(used, first)} of "
            f"{sizes[first]:g} A; extract all particles at one pixel size"
        )
    return float(sizes[0])


def _pixel_sizes(used: pd.DataFrame, path: Path) -> np.ndarray:
    for column in ("rlnImagePixelSize", "rlnPixelSize"):
        if column in used:
            return _numbers(used, [column], path)[:, 0]
    if not {"rlnDetectorPixelSize", "rlnMagnification"} <= set(used):
        block = "data_optics" if used.index.name == "optics group" else PARTICLE_BLOCK
        raise SourceError(
            f"{path}: does not state the pixel size; add a column rlnImagePixelSize, in Angstrom, to {block}"
        )
    detector, magnification = _numbers(used, ["rlnDetectorPixelSize", "rlnMagnification"], path).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1e4 * detector / magnification)  # from micrometres on the detector


def _origins(rows: pd.DataFrame, pixel_size: float, path: Path) -> np.ndarray:
    if _has_any(rows, ORIGINS):
        return _numbers(rows, ORIGINS, path)
    if _has_any(rows, ORIGINS_IN_PIXELS):
        return _numbers(rows, ORIGINS_IN_PIXELS, path) * pixel_size
    return np.zeros((len(rows), 3))


def _premultiplied(used: pd.DataFrame, path: Path) -> bool:
    column = "rlnCtfDataAreCtfPremultiplied"
    if column not in used:
        return False
    premultiplied = pd.to_numeric(used[column], errors="coerce").fillna(0) != 0  # RELION reads words as 0
    if premultiplied.nunique() > 1:
        raise SourceError(
            f"{path}: some optics groups are premultiplied by their CTF and others are not ({column}); extract "
            "all particles in the same way"
        )
    return bool(premultiplied.iloc[0])


def _has_any(table: pd.DataFrame, columns: Collection[str]) -> bool:
    return any(column in table for column in columns)


def _check_columns(table: pd.DataFrame, columns: Collection[str], path: Path, block: str = PARTICLE_BLOCK) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise SourceError(f"{path}: {block} has no {', '.join(missing)}; write the file again with all columns")


def _numbers(table: pd.DataFrame, columns: Sequence[str], path: Path, block: str = PARTICLE_BLOCK) -> np.ndarray:
    """Return columns as finite numbers, (N, columns)."""
    _check_columns(table, columns, path, block)
    values = np.stack([pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in columns], axis=1)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, number = np.argwhere(wrong)[0]
        column = columns[number]
        raise SourceError(
            f"{path}: {_row_name(table, row)} has {table[column].iloc[row]} as its {column}; it must be a number"
        )
    return values


def _strings(rows: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """Return a column as strings, (N,); none may be missing."""
    missing = rows[column].isna().to_numpy()
    if missing.any():
        first = int(np.argmax(missing))
        raise SourceError(f"{path}: {_row_name(rows, first)} has no {column}; every row needs one")
    return rows[column].to_numpy(str)


def _volume_names(rows: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    _check_columns(rows, [column], path)
    names = _strings(rows, column, path)
    for row, name in enumerate(names):
        try:
            split_name(name)
        except ValueError:
            raise SourceError(
                f"{path}: {_row_name(rows, row)} has {name} as its {column}; it must be FILE or NUMBER@FILE, "
                "where the first volume of a stack is number 1"
            ) from None
    return names
