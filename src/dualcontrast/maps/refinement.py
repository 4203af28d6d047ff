"""Alignment of subtomograms whose poses are unknown, to references computed from each half alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.cryoet.ctf import low_pass
from dualcontrast.maps.alignment import find_poses, pose_of_map, refine_poses
from dualcontrast.maps.averaging import Sums, WeightedVolumes, resolution, shell_correlation
from dualcontrast.maps.search_state import SearchState
from dualcontrast.poses import Poses
from dualcontrast.progress import Progress, silent
from dualcontrast.transforms.fourier import filtered

INITIAL_RESOLUTION = 60.0  # of the first reference, in Angstrom
RANDOM_SUBSET = 50
VOXELS_AT_ONCE = 1 << 20

Read = Callable[[np.ndarray], WeightedVolumes]  # reads the subtomograms of indices (B,)


@dataclass(frozen=True)
class Search:
    """Settings of a search for poses.

    Attributes
    ----------
    iterations : int
        The first half of them search all rotations, the others near the best.
    degrees : float
        From one rotation to the next, at first; halved with each iteration near the best.
    seed : int
        Of the random orientations of a first reference.
    """

    iterations: int = 6
    degrees: float = 15.0
    seed: int = 0


def random_reference(read: Read, count: int, voxel_size: float, seed: int) -> np.ndarray:
    """Average at most 50 subtomograms rotated at random, up to 60 A: their mean radial density."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(count)[:RANDOM_SUBSET])
    rotations = torch.from_numpy(Rotation.random(len(chosen), random_state=rng).as_matrix()).float()
    volumes = read(chosen)
    sums = Sums(volumes.data.shape[-1])
    sums.add(volumes, Poses(rotations, torch.zeros(len(chosen), 3)))
    return coarse(sums.volume(), voxel_size)


def coarse(volume: np.ndarray, voxel_size: float) -> np.ndarray:
    """Low-pass a volume (N, N, N) to 60 A."""
    cutoff = initial_cutoff(len(volume), voxel_size)
    return filtered(torch.from_numpy(volume), torch.from_numpy(low_pass(len(volume), cutoff)).float()).numpy()


def initial_cutoff(box: int, voxel_size: float) -> float:
    """Return 60 A in cycles a box, but at least 3 cycles and at most the Nyquist frequency."""
    return min(max(box * voxel_size / INITIAL_RESOLUTION, 3.0), box / 2)


def first_reference(
    read: Read, count: int, mask: Tensor, voxel_size: float, search: Search, progress: Progress = silent
) -> np.ndarray:
    """Align at most 50 subtomograms in three iterations of `refine`, and low-pass their average to 60 A.

    For programs that cannot improve a reference without features.
    """
    rng = np.random.default_rng(search.seed)
    chosen = np.sort(rng.permutation(count)[:RANDOM_SUBSET])
    halves = rng.permutation(len(chosen)) % 2

    def read_chosen(indices: np.ndarray) -> WeightedVolumes:
        return read(chosen[indices])

    short = replace(search, iterations=3)
    poses = refine(read_chosen, halves, mask, voxel_size, short, progress)
    one, other = averaged(read_chosen, halves, poses)
    return coarse((one + other).volume(), voxel_size)


def refine(
    read: Read,
    halves: np.ndarray,
    mask: Tensor,
    voxel_size: float,
    search: Search,
    progress: Progress = silent,
    resume_from: SearchState | None = None,
    save: Callable[[SearchState], None] = lambda state: None,
) -> Poses:
    """Find the poses of all subtomograms, those of each half from that half alone.

    Each half is matched to its own reference, the average of its subtomograms in the previous iteration: up to
    60 A where all rotations are searched, and near the best of them up to the resolution at which the halves
    agree. They share their first reference, the average of some subtomograms rotated at random, which holds
    nothing beyond 60 A. After each iteration the second half's average is aligned to the first's, so that they can
    be compared.

    Parameters
    ----------
    read
        Reads the subtomograms of given indices.
    halves
        0 or 1 for each subtomogram, (B,).
    mask
        By which references are multiplied, (N, N, N).
    voxel_size
        In Angstrom.
    search
        Settings.
    progress
        Called with the number of subtomograms matched, in all iterations together.
    resume_from
        The state of a stopped search with the same arguments.
    save
        Called with the state after each iteration; the next one changes its poses in place.
    """
    box = len(mask)
    lowest = initial_cutoff(box, voxel_size)
    state = resume_from or _first_state(read, len(halves), mask, voxel_size, search.seed)
    reach = box / 8
    global_iterations = math.ceil(search.iterations / 2)
    poses = state.poses
    matched = state.iterations * len(halves)
    reported: dict[str, float] = {}
    for iteration in range(state.iterations, search.iterations):
        sums = [Sums(box), Sums(box)]
        step = search.degrees / 2 ** (1 + max(0, iteration - global_iterations + 1))
        for half, indices in _batches(halves, box):
            volumes, found = read(indices), poses.select(torch.from_numpy(indices))
            reference = state.references[half]
            if iteration < global_iterations:
                near = reach / 2 if iteration else reach  # the first iteration brings particles to the middle
                found = find_poses(
                    reference, volumes, search.degrees, cutoff=lowest, reach=near, shifts=found.shifts
                )
            found = refine_poses(reference, volumes, found, step, cutoff=state.cutoff, reach=reach)
            poses.rotations[indices], poses.shifts[indices] = found
            sums[half].add(volumes, found)
            matched += len(indices)
            progress("aligning", matched, search.iterations * len(halves), iteration=iteration + 1, **reported)
        pose = joined(poses, halves, [half.volume() for half in sums], lowest)
        sums[1] = sums[1].aligned(pose)
        maps = [half.volume() * mask.numpy() for half in sums]
        fsc = shell_correlation(*maps)
        agreed = resolution(fsc, box, voxel_size)
        cutoff = min(max(lowest, box * voxel_size / agreed), box / 2)
        references = torch.stack([torch.from_numpy(half.volume(fsc)) * mask for half in sums])
        state = SearchState(iteration + 1, poses, references, cutoff)
        save(state)
        reported = {"resolution": agreed}
    return poses


def _first_state(read: Read, count: int, mask: Tensor, voxel_size: float, seed: int) -> SearchState:
    """Return the state before the first iteration: no rotations, and both halves with the same reference."""
    reference = torch.from_numpy(random_reference(read, count, voxel_size, seed)) * mask
    return SearchState(
        0, Poses.identity(count), reference.repeat(2, 1, 1, 1), initial_cutoff(len(mask), voxel_size)
    )


def joined(poses: Poses, halves: np.ndarray, maps: list[np.ndarray], cutoff: float) -> Poses:
    """Bring the poses of the second half, in place, into the frame of the first; return the pose of its map."""
    pose = pose_of_map(*maps, cutoff=cutoff)
    second = torch.from_numpy(halves == 1)
    poses.rotations[second], poses.shifts[second] = poses.select(second).compose(pose)
    return pose


def averaged(read: Read, halves: np.ndarray, poses: Poses, progress: Progress = silent) -> list[Sums]:
    """Sum the subtomograms of each half, whose poses are known; report those added."""
    sums: list[Sums] = []
    added = 0
    for half, indices in _batches(halves, None):
        volumes = read(indices)
        sums = sums or [Sums(volumes.data.shape[-1]) for _ in range(2)]
        sums[half].add(volumes, poses.select(torch.from_numpy(indices)))
        added += len(indices)
        progress("adding up", added, len(halves))
    return sums


def _batches(halves: np.ndarray, box: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (half, indices), a few indices at a time."""
    at_once = 8 if box is None else max(1, VOXELS_AT_ONCE // box**3)
    for half in (0, 1):
        members = np.flatnonzero(halves == half)
        for start in range(0, len(members), at_once):
            yield half, members[start : start + at_once]
