"""Averages of subtomograms whose poses are not known: matched to references that are made anew from each half."""

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
from dualcontrast.maps.search_state import Standing
from dualcontrast.poses import Poses
from dualcontrast.progress import Progress, silent
from dualcontrast.transforms.fourier import filtered

INITIAL_RESOLUTION = 60.0  # in Angstrom: what a first reference holds
RANDOM_SUBSET = 50
VOXELS_AT_ONCE = 1 << 20

Read = Callable[[np.ndarray], WeightedVolumes]  # subtomograms by their places, from 0


@dataclass(frozen=True)
class Search:
    """How poses are looked for.

    Attributes
    ----------
    iterations : int
        The first half of them look through all rotations, the others near the best.
    degrees : float
        From one rotation to the next, at first; it is halved for each iteration near the best.
    seed : int
        Of the random orientations of a first reference.
    """

    iterations: int = 6
    degrees: float = 15.0
    seed: int = 0


def random_reference(read: Read, count: int, voxel_size: float, seed: int) -> np.ndarray:
    """Return the average of at most 50 subtomograms turned at random, up to 60 A: their mean radial density."""
    rng = np.random.default_rng(seed)
    places = np.sort(rng.permutation(count)[:RANDOM_SUBSET])
    turns = torch.from_numpy(Rotation.random(len(places), random_state=rng).as_matrix()).float()
    observed = read(places)
    sums = Sums(observed.data.shape[-1])
    sums.add(observed, turns, torch.zeros(len(places), 3))
    return coarse(sums.volume(), voxel_size)


def coarse(volume: np.ndarray, voxel_size: float) -> np.ndarray:
    """Return a volume (N, N, N) up to 60 A."""
    cutoff = initial_cutoff(len(volume), voxel_size)
    return filtered(torch.from_numpy(volume), torch.from_numpy(low_pass(len(volume), cutoff)).float()).numpy()


def initial_cutoff(box: int, voxel_size: float) -> float:
    """Return 60 A in cycles a box, but at least 3 cycles and at most the Nyquist frequency."""
    return min(max(box * voxel_size / INITIAL_RESOLUTION, 3.0), box / 2)


def first_reference(
    read: Read, count: int, mask: Tensor, voxel_size: float, search: Search, progress: Progress = silent
) -> np.ndarray:
    """Return 60 A of the average of at most 50 subtomograms, after three iterations of `refine`.

    For programs that would leave a reference without features as it is.
    """
    rng = np.random.default_rng(search.seed)
    chosen = np.sort(rng.permutation(count)[:RANDOM_SUBSET])
    halves = rng.permutation(len(chosen)) % 2

    def read_chosen(places: np.ndarray) -> WeightedVolumes:
        return read(chosen[places])

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
    begun: Standing | None = None,
    keep: Callable[[Standing], None] = lambda standing: None,
) -> Poses:
    """Find the poses of all subtomograms, those of each half from that half alone.

    Each half is matched to its own reference, the average of its subtomograms in the iteration before: up to 60 A
    where all rotations are tried, and near the best of them up to the resolution at which the two halves agree.
    They share their first reference, the average of some subtomograms turned at random, which holds nothing beyond
    60 A. After each iteration the second half's average is turned onto the first's, so that they can be compared.

    Parameters
    ----------
    read
        What reads the subtomograms at given places.
    halves
        0 or 1 for each subtomogram, (B,).
    mask
        What is kept of a reference, (N, N, N).
    voxel_size
        In Angstrom.
    search
        How poses are looked for.
    progress
        Told of subtomograms matched, in all iterations together.
    begun
        How far an earlier search of the same came, which goes on there.
    keep
        Given, after each iteration, what the search can go on from; its poses change afterwards.
    """
    box = len(mask)
    lowest = initial_cutoff(box, voxel_size)
    standing = begun or _start(read, len(halves), mask, voxel_size, search.seed)
    reach = box / 8
    everywhere = math.ceil(search.iterations / 2)
    poses = standing.poses
    matched = standing.iterations * len(halves)
    told: dict[str, float] = {}
    for iteration in range(standing.iterations, search.iterations):
        sums = [Sums(box), Sums(box)]
        step = search.degrees / 2 ** (1 + max(0, iteration - everywhere + 1))
        for half, places in _parts(halves, box):
            observed, start = read(places), poses.select(torch.from_numpy(places))
            target = standing.references[half]
            if iteration < everywhere:
                near = reach / 2 if iteration else reach  # once the first has brought particles to the middle
                start = find_poses(
                    target, observed, search.degrees, cutoff=lowest, reach=near, shifts=start.shifts
                )
            found = refine_poses(target, observed, start, step, cutoff=standing.cutoff, reach=reach)
            poses.rotations[places], poses.shifts[places] = found
            sums[half].add(observed, *found)
            matched += len(places)
            progress("aligning", matched, search.iterations * len(halves), iteration=iteration + 1, **told)
        turn = joined(poses, halves, [half.volume() for half in sums], lowest)
        sums[1] = sums[1].aligned(*turn)
        maps = [half.volume() * mask.numpy() for half in sums]
        fsc = shell_correlation(*maps)
        agreed = resolution(fsc, box, voxel_size)
        cutoff = min(max(lowest, box * voxel_size / agreed), box / 2)
        references = torch.stack([torch.from_numpy(half.volume(fsc)) * mask for half in sums])
        standing = Standing(iteration + 1, poses, references, cutoff)
        keep(standing)
        told = {"resolution": agreed}
    return poses


def _start(read: Read, count: int, mask: Tensor, voxel_size: float, seed: int) -> Standing:
    """Return where a search begins: all unturned, and both halves with the same reference."""
    reference = torch.from_numpy(random_reference(read, count, voxel_size, seed)) * mask
    return Standing(0, Poses.identity(count), reference.repeat(2, 1, 1, 1), initial_cutoff(len(mask), voxel_size))


def joined(poses: Poses, halves: np.ndarray, maps: list[np.ndarray], cutoff: float) -> Poses:
    """Bring the poses of the second half, in place, into the frame of the first; return the pose of its map."""
    turn = pose_of_map(*maps, cutoff=cutoff)
    second = torch.from_numpy(halves == 1)
    poses.rotations[second], poses.shifts[second] = poses.select(second).compose(turn)
    return turn


def averaged(read: Read, halves: np.ndarray, poses: Poses, progress: Progress = silent) -> list[Sums]:
    """Return the sums of both halves of subtomograms whose poses are known; told of are those added."""
    sums: list[Sums] = []
    added = 0
    for half, places in _parts(halves, None):
        observed = read(places)
        sums = sums or [Sums(observed.data.shape[-1]) for _ in range(2)]
        sums[half].add(observed, *poses.select(torch.from_numpy(places)))
        added += len(places)
        progress("adding up", added, len(halves))
    return sums


def _parts(halves: np.ndarray, box: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (half, places), a few places at a time."""
    at_once = 8 if box is None else max(1, VOXELS_AT_ONCE // box**3)
    for half in (0, 1):
        own = np.flatnonzero(halves == half)
        for start in range(0, len(own), at_once):
            yield half, own[start : start + at_once]
