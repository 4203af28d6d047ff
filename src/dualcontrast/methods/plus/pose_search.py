"""Poses of volumes, found by comparing each with a turned reference of its cluster, and undone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.poses import Poses
from dualcontrast.transforms import resample, rotation_grid, rotations_by
from dualcontrast.transforms.fourier import SPATIAL, filtered, resized

ROTATIONS = (1152, 4608)  # compared one after the other: about 23 and 15 degrees from one to the next
REFINED_WITHIN = (7.0, 5.0, 3.0)  # degrees, one after the other
LARGEST_SHIFT = 2.0  # voxels of the compared boxes
SHIFT_STEP = 0.25
SEARCHED_BOX = 16  # voxels a side; larger boxes are binned to it
STARTS, TRIED_ON, ROUNDS = 4, 150, 3  # images that a reference begins with, is tried on; and epochs of these
SELDOM = 0.05  # of the volumes; a frequency measured in fewer is damped
LEAST_MEASURED = 0.05  # of the power of a template
AT_ONCE = 512  # turned references made at a time


class Aligned(NamedTuple):
    """Volumes whose poses are undone, in the box that is searched, and what was measured of them."""

    poses: Poses
    volumes: Tensor  # (B, 1, n, n, n)
    measured: Tensor | None  # (B, n, n, n), zero frequency at n // 2; all where there is none

    def less(self, references: Tensor) -> Tensor:
        """Return how volumes differ from references (B, 1, n, n, n), in what was measured."""
        difference = self.volumes - references
        return difference if self.measured is None else filtered(difference, self.measured[:, None])


class PoseSearch(nn.Module):
    """The pose of each volume x of a cluster k: of all, the one at which its reference V_k fits best.

        (R, t) = argmax <x, T_R,t V_k> / |T_R,t V_k|                    V_k = mean of T_R,t^-1 x over x in k

    within a ball: but for a constant the maximum of likelihood over pose and amplitude under white noise. The
    rotation is sought on two grids of SO(3) and then refined; the shift is that of the highest correlation, after
    each of them. References are made anew from all of an epoch's images: the alternation of multi-reference
    alignment. It begins with an image of the cluster, added to the mean of its images as they are. Some images
    lead to a reference of two poses at once, one on top of the other, which the alternation never leaves; so a few
    are tried on some of the images, and the reference that these differ from least is taken.

    Where M tells for each frequency whether it was measured (1) or is missing (0), as in the wedge that tilts
    leave out, |M T V| stands in place of |T V|, the correlation constrained to what was measured (F. Foerster et
    al., J. Struct. Biol. 161, 2008), and V_k is the sum of T^-1 M x over that of T^-1 M, not over their number.

    Parameters
    ----------
    shape
        (1, N, N, N).
    clusters
        K.

    Raises
    ------
    RecipeError
        The images are no cubes of one channel.
    """

    references: Tensor
    sums: Tensor
    counts: Tensor
    measured: Tensor
    epoch: Tensor
    ball: Tensor

    def __init__(self, shape: Sequence[int], clusters: int) -> None:
        super().__init__()
        if len(shape) != 4 or shape[0] != 1 or len(set(shape[1:])) != 1:
            raise RecipeError(
                f"poses are found of cubic volumes of one channel, not of images {tuple(shape)}; "
                "--set method.pose=none leaves them in the transformation"
            )
        self.box = box = min(shape[1], SEARCHED_BOX)
        positions = torch.arange(box) - box // 2
        radii = torch.stack(torch.meshgrid(*[positions.square()] * 3, indexing="ij")).sum(dim=0).sqrt()
        self.register_buffer("ball", (radii < box / 2).float(), persistent=False)
        self.register_buffer("references", torch.zeros(clusters, 1, box, box, box))
        self.register_buffer("sums", torch.zeros(clusters, 1, box, box, box))
        self.register_buffer("counts", torch.zeros(clusters))
        self.register_buffer("measured", torch.zeros(clusters, box, box, box))  # how often, of all in `sums`
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))
        self._templates: dict[tuple[int, int], Tensor] = {}
        self._powers: dict[tuple[int, int], Tensor] = {}
        self._first: defaultdict[int, list[tuple[Tensor, Tensor | None]]] = defaultdict(list)
        self.register_load_state_dict_post_hook(_forget_templates)  # type: ignore[no-untyped-call]

    def begin(self, volumes: Tensor, k: Tensor, measured: Tensor | None = None) -> None:
        """See volumes (B, 1, N, N, N) of clusters k (B,) before the first epoch; `measured` as in `forward`."""
        volumes = self.searched(volumes)
        spectra = None if measured is None else self.searched_spectra(measured)
        for cluster in k.unique().tolist():
            own = (k == cluster).nonzero()[:, 0]
            self.sums[cluster] += volumes[own].sum(dim=0)
            self.counts[cluster] += len(own)
            some = own[: TRIED_ON - sum(len(part) for part, _ in self._first[cluster])]
            if len(some):
                self._first[cluster].append((volumes[some], None if spectra is None else spectra[some]))

    def begun(self, epoch: int) -> None:
        """Make the first references of what was seen."""
        for cluster, first in self._first.items():
            volumes, spectra = zip(*first, strict=True)
            measured = None if any(part is None for part in spectra) else torch.cat(spectra)
            mean = self.sums[cluster] / self.counts[cluster]
            self.references[cluster] = self._best_start(cluster, torch.cat(volumes), measured, mean)
        self._first.clear()
        self._start_epoch(epoch)

    def _best_start(self, cluster: int, volumes: Tensor, measured: Tensor | None, mean: Tensor) -> Tensor:
        """Return the reference that volumes differ from least, of those to which each of a few of them leads."""
        k = torch.full((len(volumes),), cluster, device=volumes.device)
        best, least = volumes[0] + mean, math.inf
        for start in volumes[:STARTS]:
            self.references[cluster] = start + mean
            for _ in range(ROUNDS):
                self._forget()
                aligned = self.aligned(volumes, k, measured, coarse=True)
                difference = float(aligned.less(self.references[k]).square().mean())
                self.references[cluster] = _mean(aligned)
            if difference < least:
                best, least = self.references[cluster].clone(), difference
        return best

    def aligned(self, volumes: Tensor, k: Tensor, measured: Tensor | None = None, coarse: bool = False) -> Aligned:
        """Bring volumes, and what was measured, to the pose of their reference; arguments as of `forward`."""
        poses = self(volumes, k, measured, coarse)
        undone = self.searched(poses.undo(volumes))
        if measured is None:
            return Aligned(poses, undone, None)
        return Aligned(poses, undone, poses.undo_spectra(self.searched_spectra(measured)))

    def forward(self, volumes: Tensor, k: Tensor, measured: Tensor | None = None, coarse: bool = False) -> Poses:
        """Return the poses of volumes (B, 1, N, N, N) of clusters k (B,).

        Parameters
        ----------
        measured
            M, (B, N, N, N), zero frequency at N // 2; all was measured where it is left out.
        coarse
            Look at the first grid alone, before refining.
        """
        x = self.searched(volumes) * self.ball
        m = None if measured is None else self._listed(self.searched_spectra(measured))
        rotations = torch.eye(3, device=x.device).repeat(len(x), 1, 1)
        shifts = torch.zeros(len(x), 3, device=x.device)
        for count in ROTATIONS[:1] if coarse else ROTATIONS:
            grid, centred = rotation_grid(count).to(x.device), _shifted(x, -shifts)
            for cluster in k.unique().tolist():
                own = k == cluster
                scores = centred[own].flatten(1)[:, self.inside] @ self._template(cluster, count).T
                if m is not None:
                    scores = scores / _norms(m[own], self._power(cluster, count))
                rotations[own] = grid[scores.argmax(dim=1)]
            shifts = self._shifts_of(x, k, rotations)
        for degrees in REFINED_WITHIN:
            rotations = self._refined(_shifted(x, -shifts), k, m, rotations, degrees)
            shifts = self._shifts_of(x, k, rotations)
        return Poses(rotations, volumes.shape[-1] * (shifts / self.box))

    def remember(self, aligned: Aligned, k: Tensor, epoch: int) -> None:
        """Add volumes of clusters k (B,) to the references of the next epoch."""
        if epoch != int(self.epoch):
            for cluster in self.counts.nonzero()[:, 0].tolist():
                count = self.counts[cluster]
                self.references[cluster] = _restored(self.sums[cluster], self.measured[cluster], count)
            self._start_epoch(epoch)
        volumes, measured = _weighted(aligned)
        self.sums.index_add_(0, k, volumes)
        self.measured.index_add_(0, k, measured)
        self.counts.index_add_(0, k, torch.ones_like(k, dtype=self.counts.dtype))

    def _start_epoch(self, epoch: int) -> None:
        self.sums.zero_()
        self.counts.zero_()
        self.measured.zero_()
        self.epoch.fill_(epoch)
        self._forget()

    def _forget(self) -> None:
        """Drop what was made of references that are no longer there."""
        self._templates.clear()
        self._powers.clear()

    @property
    def inside(self) -> Tensor:
        """The places of the ball's voxels in a flattened volume."""
        return self.ball.flatten().nonzero()[:, 0]

    @property
    def _positions(self) -> Tensor:
        """The positions of the ball's voxels, (voxels, 3), x first."""
        return self.ball.nonzero().flip(1).float() - self.box // 2

    def searched(self, volumes: Tensor) -> Tensor:
        """Return volumes in the box that is searched, (B, 1, n, n, n)."""
        return volumes if volumes.shape[-1] == self.box else resized(volumes, self.box)

    def searched_spectra(self, spectra: Tensor) -> Tensor:
        """Return what is said of frequencies (B, N, N, N) for the box that is searched, (B, n, n, n)."""
        start = spectra.shape[-1] // 2 - self.box // 2
        kept = slice(start, start + self.box)
        return spectra[:, kept, kept, kept]

    def _template(self, cluster: int, count: int) -> Tensor:
        """Return a reference in all rotations of a grid, as unit vectors of mean zero, (count, voxels)."""
        if (cluster, count) not in self._templates:
            rotations = rotation_grid(count).to(self.ball.device)
            parts = [self._turned(torch.tensor(cluster), some) for some in rotations.split(AT_ONCE)]
            self._templates[cluster, count] = torch.cat(parts)
        return self._templates[cluster, count]

    def _turned(self, k: Tensor, rotations: Tensor) -> Tensor:
        """Return the references of clusters k, turned, as unit vectors of mean zero of the ball, (B, voxels)."""
        places = self._positions @ rotations  # R^-1 p, as rows: what comes to p stood there
        grid = ((2 * (places + self.box // 2) + 1) / self.box - 1)[:, None, None]
        references = self.references[k].expand(len(rotations), -1, -1, -1, -1)
        turned = F.grid_sample(references, grid, padding_mode="zeros", align_corners=False).flatten(1)
        turned = turned - turned.mean(dim=1, keepdim=True)
        units: Tensor = turned / turned.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return units

    def _power(self, cluster: int, count: int) -> Tensor:
        """Return what share of the templates' power is at each listed frequency, (count, frequencies)."""
        if (cluster, count) not in self._powers:
            parts = [self._power_of(some) for some in self._template(cluster, count).split(AT_ONCE)]
            self._powers[cluster, count] = torch.cat(parts)
        return self._powers[cluster, count]

    def _power_of(self, units: Tensor) -> Tensor:
        """Return what share of the power of volumes, listed in the ball, is at each listed frequency."""
        cubes = units.new_zeros(len(units), self.box**3)
        cubes[:, self.inside] = units
        spectra = torch.fft.rfftn(cubes.unflatten(1, (self.box,) * 3), dim=SPATIAL)
        power = spectra.abs().square()
        power[..., 1:] *= 2  # each stands for its opposite as well
        listed = self._listed(torch.fft.fftshift(power, dim=(-3, -2)), half=True)
        shares: Tensor = listed / listed.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return shares

    def _listed(self, spectra: Tensor, half: bool = False) -> Tensor:
        """List the frequencies below Nyquist's with k_x >= 0, (B, frequencies), of cubes or their halves."""
        below = self.ball[..., self.box // 2 :] > 0
        kept = spectra[..., : below.shape[-1]] if half else spectra[..., self.box // 2 :]
        return kept[:, below]

    def _shifts_of(self, x: Tensor, k: Tensor, rotations: Tensor) -> Tensor:
        """Return the shifts of x (B, 1, n, n, n) from the turned references, (B, 3), x first, in voxels.

        The cross-correlation is evaluated between voxels too, as its own Fourier series.
        """
        turned = resample(self.references[k], rotations) * self.ball
        spectrum = torch.fft.fftn(x, dim=SPATIAL) * torch.fft.fftn(turned, dim=SPATIAL).conj()
        steps = round(LARGEST_SHIFT / SHIFT_STEP)
        offsets = SHIFT_STEP * torch.arange(-steps, steps + 1, device=x.device)
        waves = torch.exp(2j * math.pi * torch.fft.fftfreq(self.box, device=x.device) * offsets[:, None])
        correlation = torch.einsum("bczyx,iz,jy,kx->bijk", spectrum, waves, waves, waves).real
        highest = correlation.flatten(1).argmax(dim=1)
        count = len(offsets)
        places = [highest % count, highest // count % count, highest // count**2]
        return torch.stack([offsets[place] for place in places], dim=1)

    def _refined(self, x: Tensor, k: Tensor, m: Tensor | None, rotations: Tensor, degrees: float) -> Tensor:
        """Turn about each axis to the vertex of the parabola through three scores; kept where it is better."""
        step = math.radians(degrees)
        here = self._score(x, k, m, rotations)
        turns = torch.zeros(len(x), 3, device=x.device)
        for axis in range(3):
            turn = torch.zeros(3, device=x.device)
            turn[axis] = step
            more, less = (self._score(x, k, m, rotations @ rotations_by(t)) for t in (turn, -turn))
            curvature = more + less - 2 * here
            vertex = (less - more) / (2 * curvature.clamp(max=-1e-12))
            turns[:, axis] = step * torch.where(curvature < 0, vertex.clamp(-1, 1), (more - less).sign())
        refined = rotations @ rotations_by(turns)
        better = self._score(x, k, m, refined) > here
        return torch.where(better[:, None, None], refined, rotations)

    def _score(self, x: Tensor, k: Tensor, m: Tensor | None, rotations: Tensor) -> Tensor:
        """Return <x, T V> / |M T V|, (B,)."""
        units = self._turned(k, rotations)
        product = (x.flatten(1)[:, self.inside] * units).sum(dim=1)
        return product if m is None else product / _norms(m[:, None], self._power_of(units)[:, None])[:, 0, 0]


def _norms(m: Tensor, power: Tensor) -> Tensor:
    """Return |M T V| of |T V| = 1, (..., volumes, templates), from M and the power at the same frequencies."""
    return (m @ power.mT).clamp(min=LEAST_MEASURED).sqrt()


def _shifted(x: Tensor, shifts: Tensor) -> Tensor:
    identity = torch.eye(3, device=x.device).expand(len(x), 3, 3)
    return resample(x, identity, shifts)


def _weighted(aligned: Aligned) -> tuple[Tensor, Tensor]:
    """Return aligned volumes with nothing in them that was not measured, and what was, as numbers."""
    if aligned.measured is None:
        return aligned.volumes, torch.ones_like(aligned.volumes[:, 0])
    return filtered(aligned.volumes, aligned.measured[:, None]), aligned.measured


def _restored(summed: Tensor, measured: Tensor, count: Tensor | int) -> Tensor:
    """Return the mean of so many volumes by how often each frequency was measured."""
    return filtered(summed, 1 / measured.clamp(min=SELDOM * count))


def _mean(aligned: Aligned) -> Tensor:
    volumes, measured = _weighted(aligned)
    return _restored(volumes.sum(dim=0), measured.sum(dim=0), len(volumes))


def _forget_templates(search: PoseSearch, _: object) -> None:
    search._forget()
