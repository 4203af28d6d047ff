"""Small STAR files of subtomograms for tests, written by starfile and mrcfile themselves."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import starfile

PIXEL_SIZE = 2.0


def write_mrc(path: Path, values: np.ndarray, voxel_size: float = PIXEL_SIZE) -> Path:
    """Write one volume (z, y, x), or a stack of them (N, z, y, x)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), mrcfile.new(path, overwrite=True) as file:
        warnings.simplefilter("ignore", RuntimeWarning)  # of NaN, which some tests want
        file.set_data(values.astype(np.float32))
        file.voxel_size = voxel_size
    return path


def write_star(path: Path, names: Sequence[str], general: dict[str, Any] | None = None, **columns: Any) -> Path:
    """Write a STAR file as RELION 3.1 does, of one optics group; columns are those of the particles."""
    optics = {"rlnOpticsGroup": [1], "rlnImagePixelSize": [PIXEL_SIZE], "rlnImageDimensionality": [3]}
    particles = {"rlnImageName": list(names), "rlnOpticsGroup": 1, **columns}
    blocks = {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)}
    starfile.write({"general": general, **blocks} if general else blocks, path)
    return path


def write_particles_of(volumes: np.ndarray, folder: Path, **columns: Any) -> Path:
    """Write volumes (N, z, y, x) into a file each, and a STAR file that lists them."""
    names = [f"sub/{place:03}.mrc" for place in range(len(volumes))]
    for name, volume in zip(names, volumes, strict=True):
        write_mrc(folder / name, volume)
    return write_star(folder / "particles.star", names, **columns)


def angles_and_origins(angles: np.ndarray, origins: np.ndarray) -> dict[str, np.ndarray]:
    """Return RELION's columns of angles (N, 3) in degrees and origins (N, 3) in Angstrom."""
    columns = [f"rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")]
    columns += [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
    return dict(zip(columns, np.concatenate([angles, origins], axis=1).T, strict=True))
