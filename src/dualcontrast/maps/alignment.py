"""Poses of subtomograms and of maps with respect to a reference."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dualcontrast.maps.averaging import WeightedVolumes
from dualcontrast.poses import Poses
from dualcontrast.poses.fourier import FourierMatcher
from dualcontrast.poses.search import GridStep, NearbyStep, search_poses
from dualcontrast.transforms.geometry import grid_size


def find_poses(
    reference: Tensor,
    volumes: WeightedVolumes,
    degrees: float,
    *,
    cutoff: float,
    reach: float,
    shifts: Tensor | None = None,
) -> Poses:
    """Find the pose of each subtomogram among rotations that cover SO(3).

    Parameters
    ----------
    reference
        V, (N, N, N).
    volumes
        B subtomograms.
    degrees
        From one rotation to the next.
    cutoff
        The highest frequency that is compared, in cycles a box.
    reach
        The largest shift along each axis, in voxels, from `shifts`.
    shifts
        Where the particles are thought to be, (B, 3); in the middle by default.
    """
    matcher = FourierMatcher(reference, volumes.data, volumes.weight, cutoff=cutoff, reach=reach)
    start = Poses.identity(len(volumes), reference.device)
    if shifts is not None:
        start = start._replace(shifts=shifts)
    return search_poses(matcher, start, [GridStep(grid_size(degrees))])


def refine_poses(
    reference: Tensor, volumes: WeightedVolumes, poses: Poses, degrees: float, *, cutoff: float, reach: float
) -> Poses:
    """Find better poses within twice so many degrees and a third of the shortest wave of known ones."""
    matcher = FourierMatcher(reference, volumes.data, volumes.weight, cutoff=cutoff)
    found = search_poses(matcher, poses, [NearbyStep(degrees)])
    return Poses(found.rotations, found.shifts.clamp(-reach, reach))


def pose_of_map(reference: np.ndarray, volume: np.ndarray, *, cutoff: float, finest: float = 1.5) -> Poses:
    """Find the pose of a map with respect to another, (1, ...): over all of SO(3), then ever finer.

    Parameters
    ----------
    reference, volume
        (N, N, N).
    cutoff
        In cycles a box, of the search over all rotations; it is doubled with each finer step.
    finest
        The last step, in degrees.
    """
    target = torch.from_numpy(reference).float()
    volumes = WeightedVolumes.of(torch.from_numpy(volume).float()[None], None)
    reach, degrees = len(reference) / 6, 20.0
    poses = find_poses(target, volumes, degrees, cutoff=cutoff, reach=reach)
    while degrees > finest:
        degrees, cutoff = degrees / 2, 2 * cutoff
        poses = refine_poses(target, volumes, poses, degrees, cutoff=cutoff, reach=reach)
    return poses
