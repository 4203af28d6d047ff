"""The search for poses: the best rotations of a grid, the shift of each, then rotations nearby.

Training and averaging share this search and differ in how they match. Training keeps its `RealSpaceMatcher` beside
the `FourierMatcher` of averaging, because Fourier matching takes twice as long for boxes of 16 voxels and would
move the poses of training by 3 to 6 degrees in the median.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dualcontrast.poses.poses import Poses
from dualcontrast.transforms.geometry import rotation_grid, rotations_by


class Matches(ABC):
    """Scores of B volumes at some rotations of their references.

    The score is the correlation constrained to what was measured, <x, T V> / |M T V|: but for a constant, the root
    of the log-likelihood of a pose T at the best amplitude of V under white noise (F. Foerster et al., J. Struct.
    Biol. 161, 2008).

    Attributes
    ----------
    rotations : Tensor
        (R, 3, 3), the same for all volumes, or (B, R, 3, 3).
    scores : Tensor
        (B, R).
    """

    rotations: Tensor
    scores: Tensor

    @abstractmethod
    def locate(self, best: Tensor) -> Poses:
        """Find the shifts at the rotations of indices `best`, (B, C), and return the best pose of each volume."""

    def at(self, chosen: Tensor) -> Tensor:
        """Return the rotations of indices (B, C), (B, C, 3, 3)."""
        if self.rotations.ndim == 3:
            return self.rotations[chosen]
        return self.rotations[torch.arange(len(chosen), device=chosen.device)[:, None], chosen]


class Matcher(Protocol):
    """Compares volumes with rotated references."""

    candidates: int  # rotations whose shifts are located, of all that are scored

    def match(self, rotations: Tensor, shifts: Tensor) -> Matches:
        """Score rotations, (R, 3, 3) or (B, R, 3, 3), of volumes near the shifts (B, 3), in voxels."""


class Step(Protocol):
    """One step of a search: better poses from those of the step before."""

    def __call__(self, matcher: Matcher, poses: Poses) -> Poses:
        """Return better poses."""


def search_poses(matcher: Matcher, poses: Poses, steps: Iterable[Step]) -> Poses:
    """Improve poses step by step."""
    for step in steps:
        poses = step(matcher, poses)
    return poses


@dataclass(frozen=True)
class GridStep:
    """The best of `count` rotations that cover SO(3) evenly."""

    count: int

    def __call__(self, matcher: Matcher, poses: Poses) -> Poses:
        """See `Step`."""
        return _best(matcher, grid_on(self.count, poses.shifts.device), poses.shifts)


@dataclass(frozen=True)
class NearbyStep:
    """The best of the rotations within twice so many degrees that `rotations_near` gives."""

    degrees: float

    def __call__(self, matcher: Matcher, poses: Poses) -> Poses:
        """See `Step`."""
        near = rotations_near(self.degrees, poses.rotations.device)
        return _best(matcher, poses.rotations[:, None] @ near, poses.shifts)


@dataclass(frozen=True)
class ParabolaStep:
    """The vertex of a parabola through the scores at 0 and so many degrees about each axis, where it is better."""

    degrees: float

    def __call__(self, matcher: Matcher, poses: Poses) -> Poses:
        """See `Step`."""
        step, device = math.radians(self.degrees), poses.rotations.device
        axes = torch.eye(3, device=device)
        axes = torch.cat([torch.zeros_like(axes[:1]), axes, -axes])
        scores = matcher.match(poses.rotations[:, None] @ rotations_by(step * axes), poses.shifts).scores
        here, more, less = scores.split((1, 3, 3), dim=1)
        turns = step * torch.stack([torch.zeros_like(more), _vertices(less, here, more)], dim=1)
        matches = matcher.match(poses.rotations[:, None] @ rotations_by(turns), poses.shifts)
        return matches.locate((matches.scores[:, 1:] > matches.scores[:, :1]).long())


def _vertices(low: Tensor, middle: Tensor, high: Tensor) -> Tensor:
    """Return where parabolas through values at -1, 0 and 1 are highest within these."""
    curvature = (high + low - 2 * middle).clamp(max=-1e-12)  # without a vertex, the higher side
    return ((low - high) / (2 * curvature)).clamp(-1, 1)


def _best(matcher: Matcher, rotations: Tensor, shifts: Tensor) -> Poses:
    """Score rotations, and locate the shifts of the best."""
    matches = matcher.match(rotations, shifts)
    count = min(matcher.candidates, matches.scores.shape[1])
    if count == 1:
        return matches.locate(matches.scores.argmax(dim=1, keepdim=True))
    return matches.locate(matches.scores.topk(count).indices)


@lru_cache(maxsize=8)
def grid_on(count: int, device: torch.device) -> Tensor:
    """Return the same tensor of `rotation_grid` each time, so that what is computed for it can be kept."""
    return rotation_grid(count).to(device)


def rotations_near(degrees: float, device: torch.device | str = "cpu") -> Tensor:
    """Return rotations of 0, `degrees`, or up to twice as much about axes on a lattice, (33, 3, 3)."""
    vectors = lattice(2, device).double()
    vectors = vectors[vectors.norm(dim=1) <= 2]
    return rotations_by(math.radians(degrees) * vectors).float()


def lattice(reach: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the points whose coordinates are whole numbers up to `reach`, (n, 3), x first and fastest."""
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32, device=device)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).reshape(-1, 3)
