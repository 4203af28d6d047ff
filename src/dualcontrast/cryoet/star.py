"""STAR files: every dialect is read, RELION 3.1's is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype

from dualcontrast.errors import SourceError
from dualcontrast.files import atomic_write

Block = pd.DataFrame | dict[str, str | float]  # a loop, or a list of names and values
IDENTITY, CONFORMATION = "dualcontrastIdentity", "dualcontrastConformation"
# Columns that stay strings: a tomogram may well be called 12.
STRINGS = (
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
BLOCKS = ("particles", "images", "")  # names of the particle block, newest dialect first


def read_blocks(path: str | Path) -> tuple[pd.DataFrame, dict[str, Block]]:
    """Read the particle block of any STAR file, 2D stacks included, and its other blocks by name.

    Raises
    ------
    SourceError
        The file is missing or not a STAR file, or has no particles.
    """
    path = Path(path)
    blocks = _read_blocks(path)
    name = next((name for name in BLOCKS if name in blocks), None)
    if name is None:
        present = ", ".join(f"data_{name}" for name in blocks)
        raise SourceError(f"{path}: has no block data_particles; it has {present or 'no data at all'}")
    table = as_table(blocks.pop(name))
    if not len(table):
        raise SourceError(f"{path}: its block data_{name} has no particles; use a STAR file that lists some")
    return table, blocks


def write_particles(
    path: str | Path, table: pd.DataFrame, optics: pd.DataFrame | None, others: Mapping[str, Block] | None = None
) -> None:
    """Write a STAR file as RELION 3.1 and later read it, whole or not at all.

    Parameters
    ----------
    path
        The file.
    table, optics
        The blocks data_particles and data_optics.
    others
        Other blocks, such as RELION 5's data_general; they are written first.
    """
    import starfile

    blocks: dict[str, Block] = dict(others or {})
    if optics is not None:
        blocks["optics"] = optics
    with atomic_write(path) as temporary:
        # Twelve digits, because six decimals would turn small numbers into 0. RELION reads nan as 0.
        starfile.write({**blocks, "particles": table}, temporary, float_format="%.12g", na_rep="nan")


def _read_blocks(path: Path) -> dict[str, Block]:
    import starfile

    if not path.is_file():
        raise SourceError(f"{path}: no such STAR file; give the path of one")
    try:
        columns = re.findall(r"^\s*_(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        blocks = starfile.read(path, always_dict=True, parse_as_string=columns)
        return {name: _typed(block) for name, block in blocks.items()}
    except Exception:  # of many types if a file is damaged
        raise SourceError(f"{path}: damaged, or not a STAR file; replace it with an intact copy") from None


def _typed(block: Block) -> Block:
    """Convert the columns, or values, of a block of strings that are all numeric."""
    table = as_table(block).apply(lambda column: column if column.name in STRINGS else _parse_numbers(column))
    return {str(name): table[name].iloc[0] for name in table} if isinstance(block, dict) else table


def _parse_numbers(strings: pd.Series) -> pd.Series:
    try:
        numbers = pd.to_numeric(strings)
    except ValueError:
        return strings
    padded = is_integer_dtype(numbers) and strings.str.match("[+-]?0[0-9]").any()  # 007 is a name, not 7
    return strings if padded else numbers


def as_table(block: Block) -> pd.DataFrame:
    """Return a block as a table; a block of a single row may be written as a list of names and values."""
    table: pd.DataFrame = pd.DataFrame([block]) if isinstance(block, dict) else block
    return table
