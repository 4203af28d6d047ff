"""Particles in RELION's STAR files: all dialects of subtomograms are read, that of RELION 3.1 is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from dualcontrast.cryoet.geometry import matrices_of_angles
from dualcontrast.errors import SourceError, nearest
from dualcontrast.files import written_whole

IDENTITY, CONFORMATION = "dualcontrastIdentity", "dualcontrastConformation"
# A tomogram may well be called 12, which must not become a number.
TEXTS = (
    "rlnImageName",
    "rlnMicrographName",
    "rlnTomoName",
    "rlnCtfImage",
    "rlnGroupName",
    "rlnTomoParticleName",
    "rlnOpticsGroupName",
    IDENTITY,
    CONFORMATION,
)
BLOCKS = ("particles", "images", "")  # what the block of particles is called, by age of the dialect
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
ORIGINS_IN_PIXELS = ("rlnOriginX", "rlnOriginY", "rlnOriginZ")
SAME_PIXEL_SIZE = 1e-3  # relative


@dataclass(frozen=True, eq=False)
class Particles:
    """The particles of a STAR file, in its order.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    table : pandas.DataFrame
        The block of particles: every row and column, as read.
    optics : pandas.DataFrame or None
        The block data_optics; None in dialects before RELION 3.1.
    others : dict
        All further blocks by name, such as `general`.
    image_names : numpy.ndarray
        rlnImageName, (N,); `split_name` takes them apart.
    ctf_names : numpy.ndarray or None
        rlnCtfImage, (N,), where the file has it.
    pixel_size : float
        In Angstrom.
    angles : numpy.ndarray or None
        rlnAngleRot, rlnAngleTilt and rlnAnglePsi, (N, 3), where the file has them.
    origins : numpy.ndarray
        rlnOrigin along x, y and z, (N, 3), in Angstrom; zeros where the file has none.
    ctf_premultiplied : bool
        Whether the volumes have been multiplied by their CTF, as RELION 4's pseudo-subtomograms are.
    """

    path: Path
    table: pd.DataFrame
    optics: pd.DataFrame | None
    others: dict[str, Any]
    image_names: np.ndarray
    ctf_names: np.ndarray | None
    pixel_size: float
    angles: np.ndarray | None
    origins: np.ndarray
    ctf_premultiplied: bool

    def __len__(self) -> int:
        return len(self.table)

    def matrices(self) -> np.ndarray | None:
        """Return each particle's pose A within its volume, (N, 3, 3), or None where there are no angles.

        particle(p) = reference(A^-1 (p - shift)). rlnTomoSubtomogramRot, Tilt and Psi have no part in it: they
        say how the volume itself was turned when it was extracted from the tomogram (RELION 5, `getMatrix3x3`
        in particle_set.cpp and `apply_orientations` in subtomo.cpp).
        """
        return None if self.angles is None else matrices_of_angles(self.angles)

    def shifts(self) -> np.ndarray:
        """Return how far each particle stands from the centre of its volume, (N, 3), (x, y, z) in Angstrom."""
        return -self.origins

    def labels(self, column: str) -> np.ndarray:
        """Return a column of the particles as labels, (N,): numbers, or else texts.

        Raises
        ------
        SourceError
            There is no such column, or a row has nothing in it.
        """
        if column not in self.table:
            raise SourceError(
                f"{self.path}: has no column {column} of particles; {nearest(column, map(str, self.table))}"
            )
        values = self.table[column]
        return values.to_numpy() if is_numeric_dtype(values) else _texts(_numbered(self.table), column, self.path)


def read_particles(path: str | Path) -> Particles:
    """Read the particles of a STAR file of subtomograms.

    The dialects: RELION 3.1, 4 and 5 with data_optics and data_particles, where those of RELION 5 were extracted
    in 3D; RELION 3.0 and Warp's export for it, one block with pixel sizes and origins in pixels of its own.

    Raises
    ------
    SourceError
        The file is missing or no STAR file, has no particles, lacks columns or values, or lists 2D stacks. Rows
        are counted from 1 in the block of particles.
    """
    path = Path(path)
    table, others = read_blocks(path)
    rows = _numbered(table)
    optics = _as_table(others.pop("optics")) if "optics" in others else None
    used = rows if optics is None else _optics_in_use(rows, optics, path)
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


def read_blocks(path: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the particles of a STAR file of any kind, 2D stacks too, and its other blocks by name.

    Raises
    ------
    SourceError
        The file is missing or no STAR file, or has no particles.
    """
    path = Path(path)
    blocks = _read_blocks(path)
    name = next((name for name in BLOCKS if name in blocks), None)
    if name is None:
        there = ", ".join(f"data_{name}" for name in blocks)
        raise SourceError(f"{path}: has no block data_particles; it has {there or 'no data at all'}")
    table = _as_table(blocks.pop(name))
    if not len(table):
        raise SourceError(f"{path}: its block data_{name} has no particles; give a STAR file that lists some")
    return table, blocks


def modernised(particles: Particles, box: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the particles and the optics as RELION 3.1 has them; those of older dialects gain what they lack.

    Every column stays. An older dialect's optics are those that its rows state, or else 300 kV, 2.7 mm and 0.1,
    which have no part in averages of subtomograms; its origins in pixels are stated in Angstrom as well.

    Parameters
    ----------
    box
        Voxels a side of the volumes.
    """
    table = particles.table.copy()
    if particles.optics is not None:
        return table, particles.optics
    usual = {"rlnVoltage": 300.0, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1}
    stated = pd.DataFrame({name: table.get(name, value) for name, value in usual.items()}, index=table.index)
    groups = stated.groupby(list(usual), sort=False).ngroup() + 1
    optics = stated.assign(rlnOpticsGroup=groups).drop_duplicates("rlnOpticsGroup").reset_index(drop=True)
    optics.insert(0, "rlnOpticsGroupName", [f"opticsGroup{number}" for number in optics["rlnOpticsGroup"]])
    optics = optics.assign(rlnImagePixelSize=particles.pixel_size, rlnImageSize=box, rlnImageDimensionality=3)
    table["rlnOpticsGroup"] = groups
    if not _has_any(table, ORIGINS):
        table[list(ORIGINS)] = particles.origins
    return table, optics


def split_name(name: str) -> tuple[int | None, str]:
    """Take the name of a volume apart.

    Returns
    -------
    tuple
        Its number in a stack, from 1, or None for a file of its own; and the file.

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


def write_particles(
    path: str | Path, table: pd.DataFrame, optics: pd.DataFrame | None, others: Mapping[str, Any] | None = None
) -> None:
    """Write a STAR file as RELION 3.1 and later read it, whole or not at all.

    Parameters
    ----------
    path
        The file.
    table, optics
        The blocks data_particles and data_optics.
    others
        Further blocks, which go first, such as data_general of RELION 5.
    """
    import starfile

    blocks: dict[str, Any] = dict(others or {})
    if optics is not None:
        blocks["optics"] = optics
    with written_whole(path) as temporary:
        # Twelve digits, since six decimals would make nothing of a small number; and nan, which RELION reads.
        starfile.write({**blocks, "particles": table}, temporary, float_format="%.12g", na_rep="nan")


def _read_blocks(path: Path) -> dict[str, Any]:
    import starfile

    if not path.is_file():
        raise SourceError(f"{path}: no such STAR file; give the path of one")
    try:
        columns = re.findall(r"^\s*_(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        blocks = starfile.read(path, always_dict=True, parse_as_string=columns)
        return {name: _typed(block) for name, block in blocks.items()}
    except Exception:  # of many types where a file is damaged
        raise SourceError(f"{path}: damaged, or not a STAR file; put a whole copy there") from None


def _typed(block: pd.DataFrame | dict[str, str]) -> pd.DataFrame | dict[str, Any]:
    """Return a block of texts with numbers in the columns, or the values, that are numbers."""
    table = _as_table(block).apply(lambda texts: texts if texts.name in TEXTS else _numbers_of(texts))
    return {str(name): table[name].iloc[0] for name in table} if isinstance(block, dict) else table


def _numbers_of(texts: pd.Series) -> pd.Series:
    try:
        numbers = pd.to_numeric(texts)
    except ValueError:
        return texts
    padded = is_integer_dtype(numbers) and texts.str.match("[+-]?0[0-9]").any()  # 007 is no 7, whatever it means
    return texts if padded else numbers


def _as_table(block: pd.DataFrame | dict[str, Any]) -> pd.DataFrame:
    """Return a block as a table: one of a single row may be written as a list of names and values."""
    table: pd.DataFrame = pd.DataFrame([block]) if isinstance(block, dict) else block
    return table


# Below, a table's index says what messages call its rows: "row 12", or "optics group 3".


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    numbered: pd.DataFrame = table.set_axis(pd.RangeIndex(1, len(table) + 1, name="row"), axis=0)
    return numbered


def _named(table: pd.DataFrame, place: int) -> str:
    return f"{table.index.name} {table.index[place]}"


def _optics_in_use(rows: pd.DataFrame, optics: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the optics groups that particles belong to, by their numbers."""
    groups = _numbers(rows, ["rlnOpticsGroup"], path)[:, 0].astype(int)
    known = _numbers(_numbered(optics), ["rlnOpticsGroup"], path, "data_optics")[:, 0].astype(int)
    stray = ~np.isin(groups, known)
    if stray.any():
        first = int(np.argmax(stray))
        raise SourceError(
            f"{path}: {_named(rows, first)} belongs to optics group {groups[first]}, which data_optics lacks; "
            "add it there"
        )
    used: pd.DataFrame = optics.set_axis(pd.Index(known, name="optics group"), axis=0)[np.isin(known, groups)]
    return used


def _refuse_2d_stacks(used: pd.DataFrame, others: Mapping[str, Any], path: Path) -> None:
    general = _as_table(others.get("general", {}))
    stacks = (general.get("rlnTomoSubTomosAre2DStacks", pd.Series([0])) == 1).any()
    flat = (used.get("rlnImageDimensionality", pd.Series([3])) == 2).any()
    if stacks or flat:
        raise SourceError(
            f"{path}: its particles are 2D stacks and not volumes; extract them again as 3D pseudo-subtomograms "
            "(in RELION 5's job Extract subtomos, set 'Write output as 2D stacks?' to No)"
        )


def _pixel_size(used: pd.DataFrame, path: Path) -> float:
    """Return the pixel size that all optics groups, or in older dialects all rows, agree in."""
    sizes = _pixel_sizes(used, path)
    wrong = ~((sizes > 0) & np.isfinite(sizes))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise SourceError(
            f"{path}: {_named(used, first)} has a pixel size of {sizes[first]:g} A; correct it, since lengths "
            "and origins depend on it"
        )
    other = np.abs(sizes - sizes[0]) > SAME_PIXEL_SIZE * sizes[0]
    if other.any():
        first = int(np.argmax(other))
        raise SourceError(
            f"{path}: {_named(used, 0)} has pixels of {sizes[0]:g} A and {_named(used, first)} of "
            f"{sizes[first]:g} A; extract all particles at one pixel size"
        )
    return float(sizes[0])


def _pixel_sizes(used: pd.DataFrame, path: Path) -> np.ndarray:
    for column in ("rlnImagePixelSize", "rlnPixelSize"):
        if column in used:
            return _numbers(used, [column], path)[:, 0]
    if not {"rlnDetectorPixelSize", "rlnMagnification"} <= set(used):
        block = "data_optics" if used.index.name == "optics group" else "its block of particles"
        raise SourceError(
            f"{path}: does not say the pixel size; give {block} a column rlnImagePixelSize, in Angstrom"
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
    said = used[column].astype(bool)
    if said.nunique() > 1:
        raise SourceError(
            f"{path}: some optics groups are premultiplied by their CTF and others are not ({column}); extract "
            "all particles alike"
        )
    return bool(said.iloc[0])


def _has_any(table: pd.DataFrame, columns: Collection[str]) -> bool:
    return any(column in table for column in columns)


def _check_columns(
    table: pd.DataFrame, columns: Collection[str], path: Path, block: str = "its block of particles"
) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise SourceError(f"{path}: {block} lacks {', '.join(missing)}; write the file anew with all columns")


def _numbers(
    table: pd.DataFrame, columns: Sequence[str], path: Path, block: str = "its block of particles"
) -> np.ndarray:
    """Return columns as finite numbers, (N, columns)."""
    _check_columns(table, columns, path, block)
    values = np.stack([pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in columns], axis=1)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        found = table[columns[place]].iloc[row]
        raise SourceError(
            f"{path}: {_named(table, row)} has {found} as its {columns[place]}; a number is wanted there"
        )
    return values


def _texts(rows: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """Return a column as texts, (N,); none may be missing."""
    missing = rows[column].isna().to_numpy()
    if missing.any():
        raise SourceError(f"{path}: {_named(rows, int(np.argmax(missing)))} has no {column}; give every row one")
    return rows[column].to_numpy(str)


def _volume_names(rows: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    _check_columns(rows, [column], path)
    names = _texts(rows, column, path)
    for place, name in enumerate(names):
        try:
            split_name(name)
        except ValueError:
            raise SourceError(
                f"{path}: {_named(rows, place)} has {name} as its {column}; accepted are FILE and NUMBER@FILE, "
                "where the first volume of a stack is number 1"
            ) from None
    return names
