"""Subtomograms in STAR and MRC files, read and prepared on demand."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualcontrast.cryoet.mrc import VolumeFile, read_header, read_volume
from dualcontrast.cryoet.particles import Particles, read_particles
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY
from dualcontrast.errors import DualContrastWarning, SourceError
from dualcontrast.images.arrays import labelled_table
from dualcontrast.images.cache import ImageCache
from dualcontrast.images.imageset import ImageSet
from dualcontrast.images.preparation import Preparation, normalise, outside_sphere, preparation_of, radii
from dualcontrast.images.volume_files import (
    StoredVolume,
    check_ctfs,
    common_box,
    find_volumes,
    mrc_files,
    project_folder,
    warn_of_pixel_sizes,
)
from dualcontrast.transforms.fourier import whole_spectrum

VOXELS_AT_ONCE = 1 << 18  # prepared together: few enough to fit into the processor's cache
SAMPLES = 64  # volumes inspected on opening
LOW_FREQUENCY = 8  # cycles per box: the central slices of tilts 6 degrees apart still overlap there
ZERO = 1e-4  # of the largest value: a CTF that crosses zero is rarely this small on a voxel


class Subtomograms(ImageSet):
    """Subtomograms in MRC files, prepared as they are read.

    A small set is cached in memory once prepared; a copy in another process starts with an empty cache.
    Messages count rows from 1, as in a STAR file.

    Attributes
    ----------
    volumes : sequence of StoredVolume
        Where each subtomogram is stored.
    particles : Particles or None
        The rows of the STAR file; None without one.
    ctfs : sequence of StoredVolume or None
        Where the CTF of each is stored; None if the STAR file names none.
    """

    def __init__(
        self,
        source: str,
        volumes: Sequence[StoredVolume],
        preparation: Preparation,
        table: pd.DataFrame,
        pixel_size: float | None,
        particles: Particles | None = None,
        ctfs: Sequence[StoredVolume] | None = None,
    ) -> None:
        self.source = source
        self.shape = (1, *[preparation.size] * 3)
        self.pixel_size = pixel_size
        self.table = table
        self.particles = particles
        self.volumes, self.ctfs = volumes, ctfs
        self._preparation = preparation
        self._cache = ImageCache(self._prepare, len(volumes), self.shape, np.float32)

    def raw(self, index: np.ndarray) -> Tensor:
        """Read subtomograms as stored in their files, (B, 1, N, N, N), float32.

        Raises
        ------
        SourceError
            A volume has voxels that are not finite, or its file has changed.
        """
        return torch.from_numpy(self._stored(np.asarray(index)))

    def ctf(self, index: np.ndarray) -> Tensor | None:
        """Read the CTFs of subtomograms as returned by `read`: binned, and rotated if the pose is undone.

        Returns
        -------
        Tensor or None
            (B, n, n, n), float32, zero frequency at n // 2; None if the STAR file names no CTF volumes.
        """
        if self.ctfs is None:
            return None
        chosen = [self.ctfs[row] for row in np.asarray(index)]
        cubes = torch.stack([_ctf_cube(ctf.file, ctf.number, self.shape[-1]) for ctf in chosen])
        return self._preparation.rotate_spectra(cubes, np.asarray(index))

    def names(self) -> np.ndarray | None:
        """Return rlnImageName of the STAR file, (N,); None without a STAR file."""
        return None if self.particles is None else self.particles.image_names

    def tilt_range(self) -> float | None:
        """Estimate the largest tilt of the specimen from what the CTFs leave unmeasured.

        Tilts between -a and a degrees leave a share 1 - a / 90 of all directions unmeasured, in any orientation.
        It is measured in up to 64 CTFs at low frequencies, where neighbouring tilts overlap.

        Returns
        -------
        float or None
            Whole degrees for the median CTF, 90 if nothing is missing; None without CTFs.
        """
        if self.ctfs is None:
            return None
        shares = [_missing_share(self.ctfs[row]) for row in _sample_rows(len(self))]
        return float(round(90 * (1 - float(np.median(shares)))))

    def _read(self, index: np.ndarray) -> np.ndarray:
        return self._cache(index)

    def _prepare(self, index: np.ndarray) -> np.ndarray:
        prepared = np.empty((len(index), *self.shape), np.float32)
        at_once = max(1, VOXELS_AT_ONCE // self._preparation.box**3)
        for start in range(0, len(index), at_once):
            chunk = index[start : start + at_once]
            volumes = self._preparation(self.raw(chunk), chunk)
            self._check_background(volumes, chunk)
            prepared[start : start + at_once] = volumes.numpy()
        return prepared

    def _check_background(self, normalised: Tensor, index: np.ndarray) -> None:
        constant = ~normalised.isfinite().flatten(1).all(dim=1)
        if constant.any():
            raise SourceError(
                f"{self._row_name(index[int(constant.int().argmax())])} is constant outside the sphere, so its "
                "noise cannot be normalised; use subtomograms that were not masked"
            )

    def _stored(self, index: np.ndarray) -> np.ndarray:
        stored = np.empty((len(index), 1, *self.volumes[0].file.shape), np.float32)
        for place, volume in enumerate(self.volumes[row] for row in index):
            stored[place, 0] = read_volume(volume.file, volume.number)
        finite = np.isfinite(stored).all(axis=(1, 2, 3, 4))
        if not finite.all():
            row = self._row_name(index[int(np.argmin(finite))])
            raise SourceError(f"{row} holds NaN or infinite values; repair or remove that subtomogram")
        return stored

    def _fingerprint(self, index: np.ndarray) -> bytes:
        # The last bits of prepared voxels differ between machines; those of the stored voxels do not.
        return self._stored(index).tobytes() + self._preparation.fingerprint

    def _row_name(self, row: int) -> str:
        return f"{self.source}: row {row + 1} ({self.volumes[row].name})"


# ---- opening


def open_subtomograms(
    path: Path,
    *,
    datadir: str | Path | None = None,
    invert: bool = False,
    bin: int = 1,  # noqa: A002
    poses: bool = False,
    mask: str | Path | None = None,
    labels: str | None = None,
) -> ImageSet:
    """Open the subtomograms of a STAR file; the headers of all volumes are checked at once.

    The columns dualcontrastIdentity and dualcontrastConformation, if present, are the content and the
    transformation labels.

    Parameters
    ----------
    path
        A STAR file in any dialect that `read_particles` knows.
    datadir
        The folder that the paths in the STAR file are relative to: RELION's project folder. By default the
        current folder is tried, then the STAR file's folder and those above it.
    invert
        Flip the contrast, so that dark protein becomes white.
    bin
        Bin boxes by this factor, in Fourier space; the binned box must have an even number of voxels.
    poses
        Undo the rotations and shifts that the STAR file gives.
    mask
        Multiply by the mask in this MRC file, with the box before or after binning; or by a soft `sphere`.
    labels
        The column of content labels, in place of dualcontrastIdentity.

    Raises
    ------
    SourceError
        The STAR file cannot be used; a volume is missing, truncated, not a cube or differs in size from the
        first; or an option does not fit.
    """
    particles = read_particles(path)
    root = project_folder(particles, datadir)
    volumes = find_volumes(particles.image_names.tolist(), root, path)
    box = common_box(volumes, path)
    ctfs = None
    if particles.ctf_names is not None:
        ctfs = find_volumes(particles.ctf_names.tolist(), root, path, of_ctfs=True)
        check_ctfs(ctfs, box, path)
    aligned_by = particles if poses else None
    preparation = preparation_of(path, box, invert=invert, bin=bin, mask=mask, aligned_by=aligned_by)
    table = labelled_table(len(particles), _labels(particles, labels), path)
    images = Subtomograms(str(path), volumes, preparation, table, particles.pixel_size * bin, particles, ctfs)
    images.options = {"datadir": str(root)}
    warn_of_pixel_sizes(volumes, particles.pixel_size, path)
    _check_samples(images, invert)
    return images


def open_volumes(
    path: Path,
    *,
    invert: bool = False,
    bin: int = 1,  # noqa: A002
    mask: str | Path | None = None,
) -> ImageSet:
    """Open a stack of volumes in one MRC file, or a folder of MRC files with one volume each, sorted by name.

    Parameters
    ----------
    invert, bin, mask
        As in `open_subtomograms`.

    Raises
    ------
    SourceError
        A file cannot be used, a volume is not a cube or differs in size from the first, or an option does not
        fit.
    """
    if path.is_dir():
        volumes = find_volumes([file.name for file in mrc_files(path)], path, path)
    else:
        stack = read_header(path)
        volumes = [StoredVolume(stack, number, f"{number + 1}@{path.name}") for number in range(stack.count)]
    box = common_box(volumes, path)
    preparation = preparation_of(path, box, invert=invert, bin=bin, mask=mask)
    table = labelled_table(len(volumes), {}, path)
    table["file"] = [volume.name for volume in volumes]
    pixel_size = volumes[0].file.voxel_size
    images = Subtomograms(str(path), volumes, preparation, table, pixel_size * bin if pixel_size else None)
    if pixel_size is not None:
        warn_of_pixel_sizes(volumes, pixel_size, path)
    _check_samples(images, invert)
    return images


def _labels(particles: Particles, content: str | None) -> dict[str, np.ndarray]:
    """Read the labels: this package's own columns, if present, and the content column that the user names."""
    columns = {"content": IDENTITY, "transformation": CONFORMATION}
    chosen = {factor: column for factor, column in columns.items() if column in particles.table}
    if content is not None:
        chosen["content"] = content
    return {factor: particles.labels(column) for factor, column in chosen.items()}


@lru_cache(maxsize=8)  # many particles share the CTF of their tomogram
def _ctf_cube(file: VolumeFile, number: int, size: int) -> Tensor:
    """Read a CTF as a cube with zero frequency in the middle, up to the Nyquist frequency of `size` voxels."""
    stored = torch.from_numpy(read_volume(file, number))
    cube = stored if stored.shape[-1] == len(stored) else whole_spectrum(stored)
    start = len(cube) // 2 - size // 2
    kept = slice(start, start + size)
    return cube[kept, kept, kept]


def _sample_rows(count: int) -> np.ndarray:
    """Return up to 64 rows spread evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLES)).astype(int))


def _missing_share(ctf: StoredVolume) -> float:
    """Measure the share of low frequencies, except the lowest, at which a CTF is zero."""
    box = ctf.file.shape[0]
    cube = _ctf_cube(ctf.file, ctf.number, box).abs()
    radius = radii(box)
    low = (radius >= 2) & (radius <= min(box // 2, LOW_FREQUENCY))
    return float((cube[low] <= ZERO * cube.max()).float().mean())


def _check_samples(images: Subtomograms, invert: bool) -> None:
    """Inspect up to 64 volumes, to find early what is wrong with all of them.

    Warns if the middle of the mean volume is darker than the background by more than three standard errors.

    Raises
    ------
    SourceError
        A volume has voxels that are not finite, or a constant background.
    """
    rows = _sample_rows(len(images))
    box = images.raw(rows[:1]).shape[-1]
    middle, background = radii(box) < box / 4, outside_sphere(box)
    brightness = np.zeros(len(rows))
    for place, row in enumerate(rows):
        index = np.array([row])
        volumes = normalise(images.raw(index), background)
        images._check_background(volumes, index)
        brightness[place] = volumes[0, 0][middle].mean() * (-1 if invert else 1)
    if len(rows) > 1 and brightness.mean() < -3 * brightness.std(ddof=1) / np.sqrt(len(rows)):
        advice = "leave out `invert`" if invert else "pass `invert=True`"
        warnings.warn(
            f"{images.source}: particles are darker than their background, but protein must be white; {advice}",
            DualContrastWarning,
            stacklevel=3,
        )
