"""Poses of the volumes of clusters, and their references, which sharpen from epoch to epoch."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualcontrast.errors import RecipeError
from dualcontrast.poses import Poses
from dualcontrast.poses.real_space import Ball, RealSpaceMatcher, Templates, ball_of
from dualcontrast.poses.search import GridStep, ParabolaStep, search_poses
from dualcontrast.transforms.fourier import filtered, resized

COARSE_GRID = GridStep(1152)  # rotations about 23 degrees apart
FINE_STEPS = (ParabolaStep(7), ParabolaStep(5), ParabolaStep(3))
GRID_STEPS = (COARSE_GRID, GridStep(4608))  # the second about 15 degrees apart
SEARCHED_BOX = 16  # voxels a side; larger boxes are binned to it
STARTS, START_VOLUMES, START_ROUNDS = (
    4,
    150,
    3,
)  # first references, the volumes they are tried on, and for how long
SELDOM = 0.05  # of the volumes; a frequency measured in fewer is damped


class AlignedVolumes(NamedTuple):
    """Volumes whose poses are undone, in the box of the search."""

    poses: Poses
    volumes: Tensor  # (B, 1, n, n, n)
    measured: Tensor | None  # of their frequencies, (B, n, n, n), zero frequency at n // 2; None where all are

    def residual(self, references: Tensor) -> Tensor:
        """Subtract references (B, 1, n, n, n), within what was measured."""
        difference = self.volumes - references
        return difference if self.measured is None else filtered(difference, self.measured[:, None])

    def weighted(self) -> tuple[Tensor, Tensor]:
        """Return the volumes without what was not measured, and the weight of each frequency."""
        if self.measured is None:
            return self.volumes, torch.ones_like(self.volumes[:, 0])
        return filtered(self.volumes, self.measured[:, None]), self.measured


class PoseSearch(nn.Module):
    """The best pose of each volume x with respect to the reference V_k of its cluster k.

        (R, t) = argmax <x, T_R,t V_k> / |T_R,t V_k|                    V_k = mean of T_R,t^-1 x over x in k

    within a ball: but for a constant the maximum of likelihood over pose and amplitude under white noise.
    Rotations are searched on two grids of SO(3) and then refined; the shift is that of the highest correlation,
    after each of these steps. References are recomputed from all images of an epoch: the alternation of
    multi-reference alignment. It begins with an image of the cluster, added to the mean of its images as they are.
    Some images lead to a reference of two poses at once, one on top of the other, which the alternation never
    leaves; so a few are tried on some of the images, and the reference with the smallest residual is taken.

    Where M says for each frequency whether it was measured (1) or is missing (0), as in the missing wedge,
    |M T V| stands in place of |T V|, the correlation constrained to what was measured (F. Foerster et al., J.
    Struct. Biol. 161, 2008), and V_k is the sum of T^-1 M x divided by that of T^-1 M.

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

    def __init__(self, shape: Sequence[int], clusters: int) -> None:
        super().__init__()
        if len(shape) != 4 or shape[0] != 1 or len(set(shape[1:])) != 1:
            raise RecipeError(
                f"poses are found of cubic volumes of one channel, not of images {tuple(shape)}; "
                '`settings={"method": {"pose": "none"}}` leaves them in the transformation'
            )
        self.box = box = min(shape[1], SEARCHED_BOX)
        self.register_buffer("references", torch.zeros(clusters, 1, box, box, box))
        self.register_buffer("sums", torch.zeros(clusters, 1, box, box, box))
        self.register_buffer("counts", torch.zeros(clusters))
        self.register_buffer("measured", torch.zeros(clusters, box, box, box))  # how often, of all in `sums`
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))
        self._templates: Templates | None = None
        self._first: defaultdict[int, list[tuple[Tensor, Tensor | None]]] = defaultdict(list)
        self.register_load_state_dict_post_hook(_drop_templates)  # type: ignore[no-untyped-call]

    @property
    def ball(self) -> Ball:
        """The voxels that are compared."""
        return ball_of(self.box, self.references.device)

    def forward(self, volumes: Tensor, k: Tensor, measured: Tensor | None = None, coarse: bool = False) -> Poses:
        """Return the poses of volumes (B, 1, N, N, N) of clusters k (B,).

        Parameters
        ----------
        measured
            M, (B, N, N, N), zero frequency at N // 2; None where all was measured.
        coarse
            Search the first grid alone, before refining.
        """
        if self._templates is None or self._templates.references is not self.references:  # moved to a device
            self._templates = Templates(self.references)
        spectra = None if measured is None else self.crop(measured)
        matcher = RealSpaceMatcher(self._templates, self.bin(volumes), k, spectra)
        grids = (COARSE_GRID,) if coarse else GRID_STEPS
        found = search_poses(matcher, Poses.identity(len(volumes), volumes.device), (*grids, *FINE_STEPS))
        return Poses(found.rotations, volumes.shape[-1] * (found.shifts / self.box))

    def align(
        self, volumes: Tensor, k: Tensor, measured: Tensor | None = None, coarse: bool = False
    ) -> AlignedVolumes:
        """Bring volumes, and what was measured, to the pose of their reference; arguments as of `forward`."""
        poses = self(volumes, k, measured, coarse)
        undone = self.bin(poses.undo(volumes))
        return AlignedVolumes(poses, undone, None if measured is None else poses.undo_spectra(self.crop(measured)))

    def bin(self, volumes: Tensor) -> Tensor:
        """Bring volumes (B, 1, N, N, N) to the box of the search, (B, 1, n, n, n)."""
        return volumes if volumes.shape[-1] == self.box else resized(volumes, self.box)

    def crop(self, spectra: Tensor) -> Tensor:
        """Bring values at frequencies (B, N, N, N) to the box of the search, (B, n, n, n)."""
        start = spectra.shape[-1] // 2 - self.box // 2
        kept = slice(start, start + self.box)
        return spectra[:, kept, kept, kept]

    # ---- references

    def collect(self, volumes: Tensor, k: Tensor, measured: Tensor | None = None) -> None:
        """Collect volumes for the first references, batch by batch; arguments as of `forward`."""
        volumes = self.bin(volumes)
        spectra = None if measured is None else self.crop(measured)
        for cluster in k.unique().tolist():
            members = (k == cluster).nonzero()[:, 0]
            self.sums[cluster] += volumes[members].sum(dim=0)
            self.counts[cluster] += len(members)
            first = members[: START_VOLUMES - sum(len(part) for part, _ in self._first[cluster])]
            if len(first):
                self._first[cluster].append((volumes[first], None if spectra is None else spectra[first]))

    def initialise(self, epoch: int) -> None:
        """Compute the first references from the volumes that were collected."""
        for cluster, first in self._first.items():
            volumes, spectra = zip(*first, strict=True)
            measured = None if any(part is None for part in spectra) else torch.cat(spectra)
            mean = self.sums[cluster] / self.counts[cluster]
            self.references[cluster] = self._best_start(cluster, torch.cat(volumes), measured, mean)
        self._first.clear()
        self._start_epoch(epoch)

    def _best_start(self, cluster: int, volumes: Tensor, measured: Tensor | None, mean: Tensor) -> Tensor:
        """Alternate from each of a few volumes, and return the reference with the smallest residual."""
        k = torch.full((len(volumes),), cluster, device=volumes.device)
        best, least = volumes[0] + mean, math.inf
        for start in volumes[:STARTS]:
            self.references[cluster] = start + mean
            for _ in range(START_ROUNDS):
                self._templates = None
                aligned = self.align(volumes, k, measured, coarse=True)
                residual = float(aligned.residual(self.references[k]).square().mean())
                summed, weight = (part.sum(dim=0) for part in aligned.weighted())
                self.references[cluster] = weighted_mean(summed, weight, len(volumes))
            if residual < least:
                best, least = self.references[cluster].clone(), residual
        return best

    def accumulate(self, aligned: AlignedVolumes, k: Tensor, epoch: int) -> None:
        """Add volumes of clusters k (B,) to the references of the next epoch, which a new epoch takes into use."""
        if epoch != int(self.epoch):
            for cluster in self.counts.nonzero()[:, 0].tolist():
                count = self.counts[cluster]
                self.references[cluster] = weighted_mean(self.sums[cluster], self.measured[cluster], count)
            self._start_epoch(epoch)
        volumes, measured = aligned.weighted()
        self.sums.index_add_(0, k, volumes)
        self.measured.index_add_(0, k, measured)
        self.counts.index_add_(0, k, torch.ones_like(k, dtype=self.counts.dtype))

    def _start_epoch(self, epoch: int) -> None:
        self.sums.zero_()
        self.counts.zero_()
        self.measured.zero_()
        self.epoch.fill_(epoch)
        self._templates = None


def weighted_mean(summed: Tensor, measured: Tensor, count: Tensor | int) -> Tensor:
    """Divide the sum of `count` volumes by how often each frequency was measured."""
    return filtered(summed, 1 / measured.clamp(min=SELDOM * count))


def _drop_templates(search: PoseSearch, _: object) -> None:
    search._templates = None
