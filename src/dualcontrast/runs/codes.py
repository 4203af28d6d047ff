"""Codes of images, and their files in a run folder or any other."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from dualcontrast.errors import RunError
from dualcontrast.files import atomic_write, write_json, write_text


@dataclass(frozen=True)
class SavedCodes:
    """Codes of a set of images, as stored in a run folder.

    Attributes
    ----------
    content, transformation : numpy.ndarray
        Posterior means, (N, d_c) and (N, d_z).
    content_latent, transformation_latent : numpy.ndarray
        One draw from each posterior, of the same shapes.
    table : pandas.DataFrame
        One row per image: row of the source, split, and labels where known.
    parts : dict of str to int
        Length of each part of the transformation code, by its name and in order; empty if it has one part.
    """

    content: np.ndarray
    transformation: np.ndarray
    content_latent: np.ndarray
    transformation_latent: np.ndarray
    table: pd.DataFrame
    parts: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> np.ndarray:
        """The first part of the transformation code, (N, d): the state of the object, without its pose."""
        return self.transformation[:, : next(iter(self.parts.values()), None)]


def write_codes(folder: Path, codes: SavedCodes) -> None:
    """Write codes into a folder, the table last: codes with a table are complete."""
    (folder / "table.csv").unlink(missing_ok=True)
    for name in ("content", "transformation", "content_latent", "transformation_latent"):
        with atomic_write(folder / f"{name}.npy") as temporary:
            np.save(temporary, getattr(codes, name))
    write_json(folder / "parts.json", codes.parts)
    write_text(folder / "table.csv", codes.table.to_csv(index=False))


def read_codes(folder: Path) -> SavedCodes:
    """Read codes from a folder.

    Raises
    ------
    RunError
        They are missing or damaged.
    """
    if not (folder / "table.csv").is_file():
        raise RunError(f"{folder}: no codes there; make them with `run.encode()`")
    try:
        arrays = {
            name: np.load(folder / f"{name}.npy")
            for name in ("content", "transformation", "content_latent", "transformation_latent")
        }
        parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
        codes = SavedCodes(**arrays, table=_read_table(folder / "table.csv"), parts=parts)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"{folder}: damaged codes ({error}); make them again with `run.encode()`") from None
    if {len(array) for array in arrays.values()} != {len(codes.table)}:
        raise RunError(f"{folder}: codes and table differ in length; make them again with `run.encode()`")
    return codes


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table; only an empty field is a missing value, since a class may be called NA or None."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])
