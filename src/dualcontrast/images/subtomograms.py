"""Subtomograms in STAR and MRC files, read and prepared when they are asked for."""

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
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY, Particles, read_particles
from dualcontrast.errors import DualContrastWarning, SourceError
from dualcontrast.images.arrays import labelled_table
from dualcontrast.images.cache import Kept
from dualcontrast.images.imageset import ImageSet
from dualcontrast.images.preparation import Preparation, normalised, outside_sphere, preparation_of, radii
from dualcontrast.images.volume_files import (
    Stored,
    check_ctfs,
    common_box,
    located,
    mrc_files,
    project_folder,
    warn_of_pixel_sizes,
)
from dualcontrast.transforms.fourier import whole_spectrum

VOXELS_AT_ONCE = 1 << 18  # prepared together: few enough to stay in a processor's cache
LOOKED_AT = 64
LOW = 8  # cycles a box: planes of tilts 6 degrees apart still touch there
ZERO = 1e-4  # of the largest value: a CTF that crosses zero is rarely as small on a voxel


class Subtomograms(ImageSet):
    """Subtomograms in MRC files, prepared as they are read.

    A small set stays in memory, prepared, after its first reading; a copy of the set in another process starts
    without. Messages count rows from 1, as they stand in a STAR file.

    Attributes
    ----------
    particles : Particles or None
        What the STAR file says of the subtomograms; None where there is none.
    """

    def __init__(
        self,
        source: str,
        volumes: Sequence[Stored],
        preparation: Preparation,
        table: pd.DataFrame,
        pixel_size: float | None,
        particles: Particles | None = None,
        ctfs: Sequence[Stored] | None = None,
    ) -> None:
        self.source = source
        self.shape = (1, *[preparation.size] * 3)
        self.pixel_size = pixel_size
        self.table = table
        self.particles = particles
        self._volumes, self._ctfs = volumes, ctfs
        self._preparation = preparation
        self._kept = Kept(self._prepared, len(volumes), self.shape, np.float32)

    def raw(self, index: np.ndarray) -> Tensor:
        """Read subtomograms as they lie in their files, (B, 1, N, N, N), float32.

        Raises
        ------
        SourceError
            A volume has voxels that are not finite, or its file is no longer what it was.
        """
        return torch.from_numpy(self._stored(np.asarray(index)))

    def ctf(self, index: np.ndarray) -> Tensor | None:
        """Read the CTFs of subtomograms as `read` returns them: binned, and turned where the pose is undone.

        Returns
        -------
        Tensor or None
            (B, n, n, n), float32, zero frequency at n // 2; None where the STAR file names no CTF.
        """
        if self._ctfs is None:
            return None
        chosen = [self._ctfs[place] for place in np.asarray(index)]
        cubes = torch.stack([_ctf_cube(ctf.file, ctf.place, self.shape[-1]) for ctf in chosen])
        return self._preparation.turned(cubes, np.asarray(index))

    def names(self) -> np.ndarray | None:
        """Return rlnImageName of the STAR file, (N,); None where there is none."""
        return None if self.particles is None else self.particles.image_names

    def tilt_range(self) -> float | None:
        """Tell how far the specimen was tilted either way, by what the CTFs leave out.

        Tilts within -a and a degrees leave out a share 1 - a / 90 of all directions, however they are turned. It
        is counted in up to 64 CTFs, at low frequencies, where neighbouring tilts overlap.

        Returns
        -------
        float or None
            In whole degrees, of the median CTF, 90 where nothing is left out; None where there are no CTFs.
        """
        if self._ctfs is None:
            return None
        spread = _spread_over(len(self))
        shares = [_share_left_out(self._ctfs[place]) for place in spread]
        return float(round(90 * (1 - float(np.median(shares)))))

    def _read(self, index: np.ndarray) -> np.ndarray:
        return self._kept(index)

    def _prepared(self, index: np.ndarray) -> np.ndarray:
        prepared = np.empty((len(index), *self.shape), np.float32)
        at_once = max(1, VOXELS_AT_ONCE // self._preparation.box**3)
        for start in range(0, len(index), at_once):
            some = index[start : start + at_once]
            volumes = self._preparation(self.raw(some), some)
            self._check_background(volumes, some)
            prepared[start : start + at_once] = volumes.numpy()
        return prepared

    def _check_background(self, normalised_volumes: Tensor, index: np.ndarray) -> None:
        constant = ~normalised_volumes.isfinite().flatten(1).all(dim=1)
        if constant.any():
            raise SourceError(
                f"{self._named(index[int(constant.int().argmax())])} has the same value everywhere outside the "
                "sphere, so that its noise cannot be brought to 1; give subtomograms that were not masked"
            )

    def _stored(self, index: np.ndarray) -> np.ndarray:
        stored = np.empty((len(index), 1, *self._volumes[0].file.shape), np.float32)
        for place, volume in enumerate(self._volumes[row] for row in index):
            stored[place, 0] = read_volume(volume.file, volume.place)
        finite = np.isfinite(stored).all(axis=(1, 2, 3, 4))
        if not finite.all():
            row = self._named(index[int(np.argmin(finite))])
            raise SourceError(f"{row} holds NaN or infinite values; mend or leave out that subtomogram")
        return stored

    def _fingerprint(self, index: np.ndarray) -> bytes:
        # Prepared voxels differ in their last bits from machine to machine; those in the files do not.
        return self._stored(index).tobytes() + self._preparation.described

    def _named(self, row: int) -> str:
        return f"{self.source}: row {row + 1} ({self._volumes[row].name})"


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

    The columns dualcontrastIdentity and dualcontrastConformation, where they are there, are the content and the
    transformation.

    Parameters
    ----------
    path
        A STAR file in any dialect that `read_particles` knows.
    datadir
        The folder that paths in the STAR file start from: RELION's project folder. Where it is left out, the
        current folder is tried, then that of the STAR file, and those above it.
    invert
        Turn dark protein white.
    bin
        Shrink boxes by this factor, in Fourier space; an even number of voxels must be left.
    poses
        Undo the rotations and shifts that the STAR file gives.
    mask
        Multiply by the mask in this MRC file, of the box before or after binning; or by a soft `sphere`.
    labels
        The column to take as content in place of dualcontrastIdentity.

    Raises
    ------
    SourceError
        The STAR file cannot be used, a volume is missing, truncated, no cube or of another size than the first,
        or an option does not fit.
    """
    particles = read_particles(path)
    root = project_folder(particles, datadir)
    volumes = located(particles.image_names.tolist(), root, path)
    box = common_box(volumes, path)
    ctfs = None
    if particles.ctf_names is not None:
        ctfs = located(particles.ctf_names.tolist(), root, path)
        check_ctfs(ctfs, box, path)
    aligned_by = particles if poses else None
    preparation = preparation_of(path, box, invert=invert, bin=bin, mask=mask, aligned_by=aligned_by)
    table = labelled_table(len(particles), _labels(particles, labels), path)
    images = Subtomograms(str(path), volumes, preparation, table, particles.pixel_size * bin, particles, ctfs)
    images.options = {"datadir": str(root)}
    warn_of_pixel_sizes(volumes, particles.pixel_size, path)
    _look_at_some(images, invert)
    return images


def open_volumes(
    path: Path,
    *,
    invert: bool = False,
    bin: int = 1,  # noqa: A002
    mask: str | Path | None = None,
) -> ImageSet:
    """Open a stack of volumes in one MRC file, or a folder of MRC files of one volume each, in order of names.

    Parameters
    ----------
    invert, bin, mask
        As in `open_subtomograms`.

    Raises
    ------
    SourceError
        A file cannot be used, a volume is no cube or of another size than the first, or an option does not fit.
    """
    if path.is_dir():
        volumes = located([file.name for file in mrc_files(path)], path, path)
    else:
        stack = read_header(path)
        volumes = [Stored(stack, place, f"{place + 1}@{path.name}") for place in range(stack.count)]
    box = common_box(volumes, path)
    preparation = preparation_of(path, box, invert=invert, bin=bin, mask=mask)
    table = labelled_table(len(volumes), {}, path)
    table["file"] = [volume.name for volume in volumes]
    pixel_size = volumes[0].file.voxel_size
    images = Subtomograms(str(path), volumes, preparation, table, pixel_size * bin if pixel_size else None)
    if pixel_size is not None:
        warn_of_pixel_sizes(volumes, pixel_size, path)
    _look_at_some(images, invert)
    return images


def _labels(particles: Particles, content: str | None) -> dict[str, np.ndarray]:
    """Return the columns of labels: those of this project where they are there, and what the user names."""
    columns = {"content": IDENTITY, "transformation": CONFORMATION}
    named = {what: column for what, column in columns.items() if column in particles.table}
    if content is not None:
        named["content"] = content
    return {what: particles.labels(column) for what, column in named.items()}


@lru_cache(maxsize=8)  # many particles share the CTF of their tomogram
def _ctf_cube(file: VolumeFile, place: int, size: int) -> Tensor:
    """Read a CTF as a cube with zero frequency in the middle, up to the Nyquist frequency of `size` voxels."""
    stored = torch.from_numpy(read_volume(file, place))
    cube = stored if stored.shape[-1] == len(stored) else whole_spectrum(stored)
    start = len(cube) // 2 - size // 2
    kept = slice(start, start + size)
    return cube[kept, kept, kept]


def _spread_over(count: int) -> np.ndarray:
    """Return up to 64 places spread evenly over `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int))


def _share_left_out(ctf: Stored) -> float:
    """Return the share of low frequencies, but the lowest, that a CTF holds at zero."""
    box = ctf.file.shape[0]
    cube = _ctf_cube(ctf.file, ctf.place, box).abs()
    radius = radii(box)
    low = (radius >= 2) & (radius <= min(box // 2, LOW))
    return float((cube[low] <= ZERO * cube.max()).float().mean())


def _look_at_some(images: Subtomograms, invert: bool) -> None:
    """Look at up to 64 volumes, to find at once what is wrong with all.

    Warns where the middle of their mean is darker than the background by more than three standard errors.

    Raises
    ------
    SourceError
        One has voxels that are not finite, or a constant background.
    """
    spread = _spread_over(len(images))
    box = images.raw(spread[:1]).shape[-1]
    middle, background = radii(box) < box / 4, outside_sphere(box)
    brightness = np.zeros(len(spread))
    for place, row in enumerate(spread):
        index = np.array([row])
        volumes = normalised(images.raw(index), background)
        images._check_background(volumes, index)
        brightness[place] = volumes[0, 0][middle].mean() * (-1 if invert else 1)
    if len(spread) > 1 and brightness.mean() < -3 * brightness.std(ddof=1) / np.sqrt(len(spread)):
        advice = "leave out `invert`" if invert else "pass `invert=True`"
        warnings.warn(
            f"{images.source}: particles are darker than their background, and protein must be white; {advice}",
            DualContrastWarning,
            stacklevel=3,
        )
