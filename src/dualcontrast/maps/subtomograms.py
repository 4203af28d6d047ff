"""The subtomograms of a cluster as they lie in their files: their halves, their poses, and STAR files of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dualcontrast.cryoet.geometry import angles_of_matrices
from dualcontrast.cryoet.star import ANGLES, ORIGINS, Particles, modernised, read_particles, write_particles
from dualcontrast.files import write_text
from dualcontrast.images import ImageSet
from dualcontrast.images.subtomograms import Subtomograms
from dualcontrast.maps.averaging import WeightedVolumes
from dualcontrast.poses import Poses

HALF = "rlnRandomSubset"


@dataclass(frozen=True, eq=False)
class Subset:
    """Some subtomograms of a source.

    Attributes
    ----------
    images : ImageSet
        All volumes of the source, neither binned nor turned.
    rows : numpy.ndarray
        Which of them, (B,).
    halves : numpy.ndarray
        0 or 1, (B,).
    particles : Particles or None
        What a STAR file says of all of them.
    poses : Poses or None
        Where it states any.
    """

    images: ImageSet
    rows: np.ndarray
    halves: np.ndarray
    particles: Particles | None
    poses: Poses | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def box(self) -> int:
        """Voxels a side."""
        return int(self.images.shape[-1])

    @property
    def voxel_size(self) -> float:
        """In Angstrom; 1 where it is not known."""
        return float(self.images.pixel_size or 1.0)

    @property
    def has_ctf(self) -> bool:
        """Whether a STAR file names CTF volumes."""
        return self.particles is not None and self.particles.ctf_names is not None

    @property
    def premultiplied(self) -> bool:
        """Whether the volumes have been multiplied by their CTF."""
        return self.particles is not None and self.particles.ctf_premultiplied

    def stated_digest(self, align: bool) -> str:
        """Return a fingerprint of the halves and, unless poses are to be found, of those that are stated."""
        digest = hashlib.sha256(self.halves.astype(np.int64).tobytes())
        if self.poses is not None and not align:
            assert self.particles is not None and self.particles.angles is not None
            digest.update(self.particles.angles[self.rows].tobytes() + self.particles.origins[self.rows].tobytes())
        return digest.hexdigest()[:16]

    def read(self, places: np.ndarray) -> WeightedVolumes:
        """Read those at some places of the subset, their background brought to mean 0 and deviation 1."""
        chosen = self.rows[places]
        volumes = self.images.read(chosen)[:, 0]
        ctf = self.images.ctf(chosen) if isinstance(self.images, Subtomograms) else None
        return WeightedVolumes.of(volumes, ctf, self.premultiplied)

    def write_star(self, path: Path, poses: Poses, only: np.ndarray | None = None) -> Path:
        """Write the rows of these, or of some, as RELION takes them, with poses and halves."""
        assert self.particles is not None
        table, optics = modernised(self.particles, self.box)
        table = table.iloc[self.rows].reset_index(drop=True)
        self._state(poses, table)
        table[HALF] = self.halves + 1
        table["rlnClassNumber"] = 1
        write_particles(path, table if only is None else table[only], optics)
        return path

    def write_table(self, path: Path, poses: Poses) -> None:
        """Write rows, halves and poses as CSV, with RELION's angles and origins."""
        table = pd.DataFrame({"row": self.rows, "half": self.halves + 1})
        self._state(poses, table)
        write_text(path, table.to_csv(index=False))

    def _state(self, poses: Poses, table: pd.DataFrame) -> None:
        """Write poses into the rows of a table, in place, as RELION states them."""
        table[list(ANGLES)] = angles_of_matrices(poses.rotations.numpy())
        table[list(ORIGINS)] = -poses.shifts.numpy() * self.voxel_size

    def take_poses(self, poses: Poses, star: Path, only: np.ndarray) -> None:
        """Take the poses that RELION wrote for some of these, in place; it may have changed their order."""
        assert self.particles is not None
        refined = read_particles(star)
        matrices = refined.matrices()
        assert matrices is not None
        own = np.flatnonzero(only)
        own = own[np.argsort(self.particles.image_names[self.rows[own]], kind="stable")]
        places = torch.empty(len(own), dtype=torch.long)
        places[np.argsort(refined.image_names, kind="stable")] = torch.from_numpy(own)
        poses.rotations[places] = torch.from_numpy(matrices).float()
        poses.shifts[places] = torch.from_numpy(refined.shifts() / self.voxel_size).float()


def volumes_of(images: ImageSet, rows: np.ndarray) -> np.ndarray:
    """Return a number for each row, from 0: the same for rows of a STAR file that name one volume."""
    names = images.names()
    return np.arange(len(rows)) if names is None else np.asarray(pd.factorize(names[rows])[0])


def subset_of(images: ImageSet, rows: np.ndarray, seed: int) -> Subset:
    """Return the subtomograms of some rows.

    Their halves are those of rlnRandomSubset where it has two, else drawn at random, rows of one volume together:
    halves that share a volume agree in its noise. Angles that are the same for all particles of the source state
    no poses.
    """
    particles = images.particles if isinstance(images, Subtomograms) else None
    volumes = volumes_of(images, rows)
    halves = (np.random.default_rng(seed).permutation(volumes.max() + 1) % 2)[volumes]
    poses = None
    if particles is not None:
        stated = particles.table.get(HALF)
        if stated is not None and set(stated.iloc[rows]) == {1, 2}:
            halves = stated.iloc[rows].to_numpy() - 1
        matrices, angles = particles.matrices(), particles.angles
        if matrices is not None and angles is not None and (angles != angles[0]).any():
            shifts = torch.from_numpy(particles.shifts()[rows] / particles.pixel_size).float()
            poses = Poses(torch.from_numpy(matrices[rows]).float(), shifts)
    return Subset(images, rows, halves.astype(int), particles, poses)
