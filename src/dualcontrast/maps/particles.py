"""The unprocessed subtomograms of a cluster: their halves, their stated poses, and files that list them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dualcontrast.cryoet.geometry import angles_of_matrices
from dualcontrast.cryoet.particles import ANGLES, ORIGINS, Particles, as_relion31, read_particles
from dualcontrast.cryoet.star import write_particles
from dualcontrast.files import write_text
from dualcontrast.images import ImageSet
from dualcontrast.images.subtomograms import Subtomograms
from dualcontrast.maps.averaging import WeightedVolumes
from dualcontrast.poses import Poses

HALF = "rlnRandomSubset"
MIN_PARTICLES = 2  # of an average: one for each half


@dataclass(frozen=True, eq=False)
class ClusterParticles:
    """The subtomograms of one cluster.

    Attributes
    ----------
    images : ImageSet
        All volumes of the source, neither binned nor turned.
    rows : numpy.ndarray
        The rows of the cluster's volumes among them, (B,).
    halves : numpy.ndarray
        The half of each, 0 or 1, (B,).
    source : Particles or None
        All rows of the source's STAR file; None for other sources.
    poses : Poses or None
        The poses that the STAR file states, if any.
    """

    images: ImageSet
    rows: np.ndarray
    halves: np.ndarray
    source: Particles | None
    poses: Poses | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def box(self) -> int:
        """Voxels a side."""
        return int(self.images.shape[-1])

    @property
    def voxel_size(self) -> float:
        """In Angstrom; 1 where unknown."""
        return float(self.images.pixel_size or 1.0)

    @property
    def has_ctf(self) -> bool:
        """Whether the STAR file names CTF volumes."""
        return self.source is not None and self.source.ctf_names is not None

    @property
    def premultiplied(self) -> bool:
        """Whether the volumes are already multiplied by their CTF."""
        return self.source is not None and self.source.ctf_premultiplied

    def stated_digest(self, align: bool) -> str:
        """Return a fingerprint of the halves and, unless they are ignored to `align`, of the stated poses."""
        digest = hashlib.sha256(self.halves.astype(np.int64).tobytes())
        if self.poses is not None and not align:
            assert self.source is not None and self.source.angles is not None
            digest.update(self.source.angles[self.rows].tobytes() + self.source.origins[self.rows].tobytes())
        return digest.hexdigest()[:16]

    def read(self, places: np.ndarray) -> WeightedVolumes:
        """Read the subtomograms at these places of the cluster, normalised by their background."""
        chosen = self.rows[places]
        volumes = self.images.read(chosen)[:, 0]
        ctf = self.images.ctf(chosen) if isinstance(self.images, Subtomograms) else None
        return WeightedVolumes.of(volumes, ctf, self.premultiplied)

    def write_poses(self, stem: Path, poses: Poses) -> None:
        """Write rows, halves and poses as a STAR file, or as CSV where the source is no STAR file."""
        if self.source is None:
            self.write_table(stem.with_name(f"{stem.name}.csv"), poses)
        else:
            self.write_star(stem.with_name(f"{stem.name}.star"), poses)

    def write_star(self, path: Path, poses: Poses, only: np.ndarray | None = None) -> Path:
        """Write a STAR file for RELION, with poses and halves, of all or of those in a mask (B,)."""
        assert self.source is not None
        table, optics = as_relion31(self.source, self.box)
        table = table.iloc[self.rows].reset_index(drop=True)
        self._add_poses(table, poses)
        table[HALF] = self.halves + 1
        table["rlnClassNumber"] = 1
        if "rlnOpticsGroup" in optics:  # RELION takes the pixel size of the first group, also of an unused one
            optics = optics[optics["rlnOpticsGroup"].isin(table["rlnOpticsGroup"])]
        write_particles(path, table if only is None else table[only], optics)
        return path

    def write_table(self, path: Path, poses: Poses) -> None:
        """Write rows, halves and poses as CSV, with RELION's angles and origins."""
        table = pd.DataFrame({"row": self.rows, "half": self.halves + 1})
        self._add_poses(table, poses)
        write_text(path, table.to_csv(index=False))

    def _add_poses(self, table: pd.DataFrame, poses: Poses) -> None:
        """Add poses to a table, in place, as RELION's angles and origins."""
        table[list(ANGLES)] = angles_of_matrices(poses.rotations.numpy())
        table[list(ORIGINS)] = -poses.shifts.numpy() * self.voxel_size

    def update_poses(self, poses: Poses, star: Path, only: np.ndarray) -> None:
        """Replace poses in place by those that RELION wrote.

        Parameters
        ----------
        poses
            Of all subtomograms.
        star
            RELION's file, whose rows may be in another order.
        only
            Mask of the subtomograms in it, (B,).
        """
        assert self.source is not None
        refined = read_particles(star)
        matrices = refined.matrices()
        assert matrices is not None
        places = np.flatnonzero(only)
        places = places[np.argsort(self.source.image_names[self.rows[places]], kind="stable")]
        place_of_row = torch.empty(len(places), dtype=torch.long)
        place_of_row[np.argsort(refined.image_names, kind="stable")] = torch.from_numpy(places)
        poses.rotations[place_of_row] = torch.from_numpy(matrices).float()
        poses.shifts[place_of_row] = torch.from_numpy(refined.shifts() / self.voxel_size).float()


def volumes_of(images: ImageSet, rows: np.ndarray) -> np.ndarray:
    """Return the number of each row's volume, from 0; rows of a STAR file that name one volume share it."""
    names = images.names()
    return np.arange(len(rows)) if names is None else np.asarray(pd.factorize(names[rows])[0])


def select_particles(images: ImageSet, rows: np.ndarray, seed: int) -> ClusterParticles:
    """Select the subtomograms of some rows, and split them into halves.

    The halves are those of rlnRandomSubset where it has two. Otherwise they are random, but rows of the same
    volume stay together, because halves that share a volume would agree in its noise. Angles that are equal for
    all particles of the source do not count as poses.
    """
    source = images.particles if isinstance(images, Subtomograms) else None
    volumes = volumes_of(images, rows)
    halves = (np.random.default_rng(seed).permutation(volumes.max() + 1) % 2)[volumes]
    poses = None
    if source is not None:
        stated = source.table.get(HALF)
        if stated is not None and set(stated.iloc[rows]) == {1, 2}:
            halves = stated.iloc[rows].to_numpy() - 1
        matrices, angles = source.matrices(), source.angles
        if matrices is not None and angles is not None and (angles != angles[0]).any():
            shifts = torch.from_numpy(source.shifts()[rows] / source.pixel_size).float()
            poses = Poses(torch.from_numpy(matrices[rows]).float(), shifts)
    return ClusterParticles(images, rows, halves.astype(int), source, poses)
