"""Matching in real space: voxels within a ball against templates, which are kept from batch to batch."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.poses.poses import Poses
from dualcontrast.poses.search import Matches
from dualcontrast.transforms.fourier import SPATIAL
from dualcontrast.transforms.geometry import resample

LARGEST_SHIFT = 2.0  # voxels along each axis
SHIFT_STEP = 0.25
LEAST_MEASURED = 0.05  # of the power of a template
AT_ONCE = 512  # references rotated at a time


class RealSpaceMatcher:
    """Compares volumes with the rotated references of their clusters, voxel by voxel within a ball.

    Every rotation is scored at the shift that is known. The shift is then that of the highest cross-correlation
    with the reference at the best rotation, up to two voxels along each axis.

    Parameters
    ----------
    templates
        Of the references V_k.
    volumes
        x, (B, 1, n, n, n).
    k
        Clusters, (B,).
    measured
        M, (B, n, n, n), zero frequency at n // 2: 1 where a frequency was measured and 0 where not; None where all
        were.
    """

    candidates = 1

    def __init__(self, templates: Templates, volumes: Tensor, k: Tensor, measured: Tensor | None = None) -> None:
        self.templates, self.k = templates, k
        self.volumes = volumes * templates.ball.mask
        self.measured = None if measured is None else templates.ball.list_frequencies(measured)

    def match(self, rotations: Tensor, shifts: Tensor) -> RealSpaceMatches:
        """Score rotations; see `Matcher`."""
        identity = torch.eye(3, device=shifts.device).expand(len(shifts), 3, 3)
        centred = resample(self.volumes, identity, -shifts).flatten(1)[:, self.templates.ball.inside]
        score = self._score_shared if rotations.ndim == 3 else self._score_own
        return RealSpaceMatches(self, rotations, score(centred, rotations))

    def _score_shared(self, voxels: Tensor, rotations: Tensor) -> Tensor:
        """Score the same rotations for all volumes."""
        scores = voxels.new_empty(len(voxels), len(rotations))
        for cluster in self.k.unique().tolist():
            members = self.k == cluster
            products = voxels[members] @ self.templates.of(cluster, rotations).T
            if self.measured is not None:
                products = products / measured_norms(
                    self.measured[members], self.templates.power_of(cluster, rotations)
                )
            scores[members] = products
        return scores

    def _score_own(self, voxels: Tensor, rotations: Tensor) -> Tensor:
        """Score rotations (B, R, 3, 3), R of each volume's own."""
        shape = rotations.shape[:2]
        units = self.templates.rotate(self.k.repeat_interleave(shape[1]), rotations.flatten(0, 1))
        products: Tensor = (voxels[:, None] * units.unflatten(0, shape)).sum(dim=-1)
        if self.measured is None:
            return products
        power = self.templates.power(units).unflatten(0, shape)
        return products / measured_norms(self.measured[:, None, None], power[:, :, None])[..., 0, 0]

    def shifts(self, rotations: Tensor) -> Tensor:
        """Return the shifts (B, 3) from the references at rotations (B, 3, 3), x first, in voxels.

        The cross-correlation is evaluated between voxels too, as its own Fourier series.
        """
        device, box = self.volumes.device, self.templates.ball.box
        rotated = resample(self.templates.references[self.k], rotations) * self.templates.ball.mask
        spectrum = torch.fft.fftn(self.volumes, dim=SPATIAL) * torch.fft.fftn(rotated, dim=SPATIAL).conj()
        steps = round(LARGEST_SHIFT / SHIFT_STEP)
        offsets = SHIFT_STEP * torch.arange(-steps, steps + 1, device=device)
        waves = torch.exp(2j * math.pi * torch.fft.fftfreq(box, device=device) * offsets[:, None])
        correlation = torch.einsum("bczyx,iz,jy,kx->bijk", spectrum, waves, waves, waves).real
        highest = correlation.flatten(1).argmax(dim=1)
        count = len(offsets)
        indices = [highest % count, highest // count % count, highest // count**2]
        return torch.stack([offsets[index] for index in indices], dim=1)


class RealSpaceMatches(Matches):
    """Scores at the shifts that are known; see `Matches`."""

    def __init__(self, matcher: RealSpaceMatcher, rotations: Tensor, scores: Tensor) -> None:
        self.matcher, self.rotations, self.scores = matcher, rotations, scores

    def locate(self, best: Tensor) -> Poses:
        """See `Matches`; of one rotation for each volume."""
        rotations = self.at(best)[:, 0]
        return Poses(rotations, self.matcher.shifts(rotations))


class Ball:
    """The voxels of a box of n voxels a side that are closer to the voxel n // 2 than n / 2.

    Attributes
    ----------
    mask : Tensor
        1 within and 0 elsewhere, (n, n, n).
    inside : Tensor
        The indices of its voxels in a flattened volume, (voxels,).
    positions : Tensor
        Those of its voxels, (voxels, 3), x first.
    """

    def __init__(self, box: int, device: torch.device | str = "cpu") -> None:
        squares = (torch.arange(box, device=device) - box // 2).square()
        radii = torch.stack(torch.meshgrid(squares, squares, squares, indexing="ij")).sum(dim=0).sqrt()
        self.box = box
        self.mask = (radii < box / 2).float()
        self.inside = self.mask.flatten().nonzero()[:, 0]
        self.positions = self.mask.nonzero().flip(1).float() - box // 2

    def list_frequencies(self, spectra: Tensor, half: bool = False) -> Tensor:
        """List the frequencies below Nyquist's with k_x >= 0, (B, frequencies), of whole or of half spectra.

        Parameters
        ----------
        spectra
            (B, n, n, n), zero frequency at n // 2.
        half
            They are (B, n, n, n // 2 + 1) instead, with k_x = 0 first.
        """
        below = self.mask[..., self.box // 2 :] > 0
        kept = spectra[..., : below.shape[-1]] if half else spectra[..., self.box // 2 :]
        return kept[:, below]


@lru_cache(maxsize=8)
def ball_of(box: int, device: torch.device) -> Ball:
    """Return the ball of a box, made once for each device."""
    return Ball(box, device)


class Templates:
    """Rotated references, as unit vectors of mean zero over the voxels of a ball.

    Parameters
    ----------
    references
        V_k, (K, 1, n, n, n). They must not change: templates of shared rotations are kept.
    """

    def __init__(self, references: Tensor) -> None:
        self.references = references
        self.ball = ball_of(references.shape[-1], references.device)
        self._templates: dict[tuple[int, Tensor], Tensor] = {}  # tensors are keys by their identity
        self._powers: dict[tuple[int, Tensor], Tensor] = {}

    def of(self, cluster: int, rotations: Tensor) -> Tensor:
        """Return the templates of a reference at rotations (R, 3, 3), (R, voxels), computed once."""
        if (cluster, rotations) not in self._templates:
            k = torch.tensor(cluster, device=rotations.device)
            parts = [self.rotate(k, part) for part in rotations.split(AT_ONCE)]
            self._templates[cluster, rotations] = torch.cat(parts)
        return self._templates[cluster, rotations]

    def power_of(self, cluster: int, rotations: Tensor) -> Tensor:
        """Return the `power` of the templates `of` a reference, (R, frequencies), computed once."""
        if (cluster, rotations) not in self._powers:
            parts = [self.power(part) for part in self.of(cluster, rotations).split(AT_ONCE)]
            self._powers[cluster, rotations] = torch.cat(parts)
        return self._powers[cluster, rotations]

    def rotate(self, k: Tensor, rotations: Tensor) -> Tensor:
        """Return the references of clusters k, (B,) or one for all, at rotations (B, 3, 3), (B, voxels)."""
        box = self.ball.box
        sources = self.ball.positions @ rotations  # R^-1 p, as rows: what comes to p was at the source
        grid = ((2 * (sources + box // 2) + 1) / box - 1)[:, None, None]
        references = self.references[k].expand(len(rotations), -1, -1, -1, -1)
        rotated = F.grid_sample(references, grid, padding_mode="zeros", align_corners=False).flatten(1)
        rotated = rotated - rotated.mean(dim=1, keepdim=True)
        units: Tensor = rotated / rotated.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return units

    def power(self, units: Tensor) -> Tensor:
        """Return the share of the power of templates (B, voxels) at each listed frequency, (B, frequencies)."""
        cubes = units.new_zeros(len(units), self.ball.box**3)
        cubes[:, self.ball.inside] = units
        spectra = torch.fft.rfftn(cubes.unflatten(1, (self.ball.box,) * 3), dim=SPATIAL)
        power = spectra.abs().square()
        power[..., 1:] *= 2  # each stands for its opposite as well
        listed = self.ball.list_frequencies(torch.fft.fftshift(power, dim=(-3, -2)), half=True)
        shares: Tensor = listed / listed.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return shares


def measured_norms(measured: Tensor, power: Tensor) -> Tensor:
    """Return |M T V| for |T V| = 1, (..., B, R), from M (..., B, F) and the power of templates (..., R, F)."""
    return (measured @ power.mT).clamp(min=LEAST_MEASURED).sqrt()
