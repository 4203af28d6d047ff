"""Alignment of subtomograms from random orientations, and how a stopped one resumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.maps.test_averaging import blob, likeness, turned

from dualcontrast.cryoet.ctf import low_pass, wedge_volume
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps import refinement
from dualcontrast.maps.alignment import pose_of_map
from dualcontrast.maps.averaging import Sums, WeightedVolumes, aligned, shell_correlation
from dualcontrast.maps.refinement import (
    Search,
    averaged,
    coarse,
    first_reference,
    initial_cutoff,
    joined,
    random_reference,
    refine,
)
from dualcontrast.maps.search_state import SearchState, read_search_state, write_search_state
from dualcontrast.poses import Poses
from dualcontrast.transforms.fourier import filtered

BOX = 8
QUARTER_TURN = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # takes x to y


@dataclass
class Reader:
    """Reads random subtomograms with random weights, and notes what was asked for."""

    count: int
    asked: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(4)
        shape = (self.count, BOX, BOX, BOX)
        self.volumes = torch.from_numpy(rng.normal(size=shape)).float()
        self.weights = torch.from_numpy(rng.uniform(0.5, 1.5, shape)).float()

    def __call__(self, indices: np.ndarray) -> WeightedVolumes:
        self.asked.append(indices.tolist())
        return WeightedVolumes(self.volumes[indices], self.weights[indices])


@dataclass
class Calls:
    """Calls of the alignment functions; what replaces them moves particles by known amounts."""

    found: list[dict[str, Any]] = field(default_factory=list)
    refined: list[dict[str, Any]] = field(default_factory=list)
    mapped: list[dict[str, Any]] = field(default_factory=list)
    resolved: list[dict[str, Any]] = field(default_factory=list)

    resolutions: tuple[float, ...] = (20.0, 1e4, 1e-4, 20.0, 20.0)  # that are measured, one after another
    map_pose = Poses(QUARTER_TURN[None], torch.tensor([[1.0, 0, -1]]))

    def find_poses(
        self, reference: torch.Tensor, volumes: WeightedVolumes, degrees: float, *, shifts: torch.Tensor, **kw: Any
    ) -> Poses:
        self.found.append(
            {"reference": reference, "data": volumes.data, "degrees": degrees, "shifts": shifts, **kw}
        )
        return Poses(torch.eye(3).repeat(len(volumes), 1, 1), shifts + 1)

    def refine_poses(
        self, reference: torch.Tensor, volumes: WeightedVolumes, poses: Poses, degrees: float, **kw: Any
    ) -> Poses:
        self.refined.append(
            {"reference": reference, "data": volumes.data, "poses": poses, "degrees": degrees, **kw}
        )
        return Poses(poses.rotations @ QUARTER_TURN, poses.shifts - 0.5)

    def pose_of_map(self, one: np.ndarray, other: np.ndarray, *, cutoff: float) -> Poses:
        self.mapped.append({"one": one, "other": other, "cutoff": cutoff})
        return self.map_pose

    def resolution(self, fsc: np.ndarray, box: int, voxel_size: float) -> float:
        self.resolved.append({"fsc": fsc, "box": box, "voxel_size": voxel_size})
        return self.resolutions[(len(self.resolved) - 1) % len(self.resolutions)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    for name in ("find_poses", "refine_poses", "pose_of_map", "resolution"):
        monkeypatch.setattr(refinement, name, getattr(calls, name))
    return calls


def sums_of(reader: Reader, chosen: np.ndarray | list[int], poses: Poses) -> Sums:
    sums = Sums(BOX)
    sums.add(WeightedVolumes(reader.volumes[chosen], reader.weights[chosen]), poses)
    return sums


@pytest.mark.parametrize(
    ("box", "voxel_size", "cutoff"),
    [
        (24, 10.0, 4.0),
        (48, 5.0, 4.0),
        (8, 10.0, 3.0),
        (19, 10.0, 19 / 6),
        (8, 60.0, 4.0),
        (7, 60.0, 3.5),
        (5, 1.0, 2.5),
    ],
)
def test_the_first_cutoff_is_60_angstrom_within_bounds(box: int, voxel_size: float, cutoff: float) -> None:
    assert initial_cutoff(box, voxel_size) == pytest.approx(cutoff)


def test_a_coarse_volume_is_the_low_passed_one() -> None:
    noise = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    transfer = np.fft.ifftshift(low_pass(12, 12 * 20 / 60))
    expected = np.fft.ifftn(np.fft.fftn(noise) * transfer).real
    np.testing.assert_allclose(coarse(noise, 20.0), expected, atol=1e-5)
    assert coarse(noise, 20.0).dtype == np.float32


@pytest.mark.parametrize(("count", "used"), [(60, 50), (5, 5)])
def test_a_random_reference_averages_some_particles_at_random_rotations(count: int, used: int) -> None:
    reader, rng = Reader(count), np.random.default_rng(3)
    chosen = np.sort(rng.permutation(count)[:used])
    rotations = torch.from_numpy(Rotation.random(used, random_state=rng).as_matrix()).float()
    found = random_reference(reader, count, 10.0, 3)
    assert reader.asked == [chosen.tolist()]
    average = sums_of(reader, chosen, Poses(rotations, torch.zeros(used, 3))).volume()
    np.testing.assert_allclose(found, coarse(average, 10.0), atol=1e-6)


@pytest.mark.parametrize(("count", "used"), [(60, 50), (5, 5)])
def test_a_first_reference_is_that_of_a_short_search(
    monkeypatch: pytest.MonkeyPatch, count: int, used: int
) -> None:
    reader, rng = Reader(count), np.random.default_rng(7)
    chosen, expected_halves = np.sort(rng.permutation(count)[:used]), rng.permutation(used) % 2
    shifts = torch.arange(3.0 * used).reshape(used, 3) % 3 - 1
    poses = Poses(QUARTER_TURN.repeat(used, 1, 1), shifts)
    seen: list[tuple[Any, ...]] = []

    def refine(read: Any, halves: np.ndarray, *rest: Any) -> Poses:
        seen.append((read(np.array([2, 0])), halves, *rest))
        return poses

    monkeypatch.setattr(refinement, "refine", refine)
    mask, reports = torch.ones(BOX, BOX, BOX), []

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        reports.append(what)

    found = first_reference(reader, count, mask, 10.0, Search(9, 20.0, 7), progress)
    ((volumes, halves, *rest),) = seen
    assert torch.equal(volumes.data, reader.volumes[chosen[[2, 0]]])
    assert halves.tolist() == expected_halves.tolist()
    assert rest == [mask, 10.0, Search(3, 20.0, 7), progress]
    np.testing.assert_allclose(found, coarse(sums_of(reader, chosen, poses).volume(), 10.0), atol=1e-5)
    first_reference(reader, count, mask, 10.0, Search(9, 20.0, 7))
    assert seen[1][-1] is refinement.silent


def test_the_second_half_is_brought_into_the_frame_of_the_first(calls: Calls) -> None:
    rng = np.random.default_rng(0)
    rotations, shifts = Rotation.random(5, random_state=rng).as_matrix(), rng.normal(size=(5, 3))
    poses = Poses(torch.from_numpy(rotations).float(), torch.from_numpy(shifts).float())
    maps = [np.full((BOX, BOX, BOX), value) for value in (1.0, 2.0)]
    pose = joined(poses, np.array([0, 1, 1, 0, 1]), maps, 3.5)
    assert pose is calls.map_pose
    (mapped,) = calls.mapped
    assert (mapped["one"] is maps[0], mapped["other"] is maps[1], mapped["cutoff"]) == (True, True, 3.5)
    for place in (1, 2, 4):  # R (Q p + s) + t
        shifts[place] += rotations[place] @ [1, 0, -1]
        rotations[place] = rotations[place] @ QUARTER_TURN.numpy()
    np.testing.assert_allclose(poses.rotations, rotations, atol=1e-6)
    np.testing.assert_allclose(poses.shifts, shifts, atol=1e-6)


def test_each_half_is_summed_eight_at_a_time() -> None:
    reader, rng = Reader(22), np.random.default_rng(1)
    halves = np.array([1, 0] * 10 + [0, 0])
    first, second = np.flatnonzero(halves == 0), np.flatnonzero(halves)
    shifts = torch.from_numpy(rng.uniform(-1, 1, (22, 3))).float()
    poses = Poses(torch.from_numpy(Rotation.random(22, random_state=rng).as_matrix()).float(), shifts)
    reports: list[tuple[Any, ...]] = []

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        reports.append((what, done, total, numbers))

    sums = averaged(reader, halves, poses, progress)
    assert reader.asked == [part.tolist() for part in (first[:8], first[8:], second[:8], second[8:])]
    assert reports == [("adding up", done, 22, {}) for done in (8, 12, 20, 22)]
    for found, chosen in zip(sums, (first, second), strict=True):
        expected = sums_of(reader, chosen, poses.select(torch.from_numpy(chosen)))
        torch.testing.assert_close(found.data, expected.data)
        torch.testing.assert_close(found.weight, expected.weight)
        assert found.count == expected.count
    assert [half.count for half in averaged(reader, halves, poses)] == [12, 10]


SEARCH, VOXEL_SIZE, HALVES = Search(iterations=5, degrees=40.0, seed=2), 10.0, np.array([0, 1, 0, 1, 0])
MASK = soft_sphere(BOX) * torch.linspace(0.5, 1, BOX)


def test_a_search_matches_ever_finer(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "VOXELS_AT_ONCE", 2 * BOX**3 + 1)
    reader, reports = Reader(5), []
    start = torch.from_numpy(random_reference(reader, 5, VOXEL_SIZE, 2)) * MASK
    reader.asked.clear()

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        reports.append((what, done, total, numbers))

    poses = refine(reader, HALVES, MASK, VOXEL_SIZE, SEARCH, progress)
    batches = [[0, 2], [4], [1, 3]]
    assert reader.asked[1:] == 5 * batches  # after the first reference
    assert [tuple(call["data"].shape) for call in calls.refined] == 5 * [(n, BOX, BOX, BOX) for n in (2, 1, 2)]
    for call in calls.found[:3] + calls.refined[:3]:
        torch.testing.assert_close(call["reference"], start)
    for call, batch in zip(calls.refined, 5 * batches, strict=True):
        assert torch.equal(call["data"], reader.volumes[batch])
    # all rotations in 3 of 5 iterations, and up to the first cutoff; afterwards nearby ones alone
    assert len(calls.found) == 9
    assert {(call["degrees"], call["cutoff"]) for call in calls.found} == {(40.0, 3.0)}
    assert [call["reach"] for call in calls.found] == 3 * [1.0] + 6 * [0.5]
    assert {call["reach"] for call in calls.refined} == {1.0}
    assert [call["degrees"] for call in calls.refined[::3]] == [20.0, 20.0, 20.0, 10.0, 5.0]
    # The first cutoff, then what the halves share: 80 A / 20 A, at least the first and at most Nyquist.
    assert [call["cutoff"] for call in calls.refined[::3]] == [3.0, 4.0, 3.0, 4.0, 4.0]
    assert {(call["box"], call["voxel_size"]) for call in calls.resolved} == {(BOX, VOXEL_SIZE)}
    assert {call["cutoff"] for call in calls.mapped} == {3.0}
    done = [2, 3, 5]
    agreed = [None, 20.0, 1e4, 1e-4, 20.0]
    assert reports == [
        ("aligning", 5 * k + n, 25, {"iteration": k + 1} | ({"resolution": agreed[k]} if k else {}))
        for k in range(5)
        for n in done
    ]
    # Each global iteration moves particles by 1/2, and each local one by -1/2.
    first = torch.from_numpy(HALVES == 0)
    torch.testing.assert_close(poses.shifts[first], torch.full((3, 3), 3 * 0.5 - 2 * 0.5))


def test_a_cutoff_between_its_bounds_is_the_resolution(calls: Calls) -> None:
    calls.resolutions = (80 / 3.5,)
    states: list[SearchState] = []
    refine(Reader(5), HALVES, MASK, VOXEL_SIZE, Search(2, 40.0), save=states.append)
    assert [state.cutoff for state in states] == pytest.approx([3.5, 3.5])
    assert calls.refined[2]["cutoff"] == pytest.approx(3.5)


def test_each_iteration_stores_the_references_that_its_poses_give(calls: Calls) -> None:
    reader = Reader(5)
    stored: list[tuple[int, Poses, torch.Tensor]] = []

    def save(state: SearchState) -> None:
        stored.append((state.iterations, Poses(*(t.clone() for t in state.poses)), state.references))

    last = refine(reader, HALVES, MASK, VOXEL_SIZE, Search(2, 40.0, 2), save=save)
    assert [iterations for iterations, _, _ in stored] == [1, 2]
    members, mask = [[0, 2, 4], [1, 3]], MASK.numpy()
    for iteration, (_, poses, references) in enumerate(stored):
        calls_of_half = calls.refined[2 * iteration : 2 * iteration + 2]
        one, other = (
            sums_of(reader, chosen, Poses(call["poses"].rotations @ QUARTER_TURN, call["poses"].shifts - 0.5))
            for chosen, call in zip(members, calls_of_half, strict=True)
        )
        mapped = calls.mapped[iteration]
        np.testing.assert_allclose(mapped["one"], one.volume(), atol=1e-5)
        np.testing.assert_allclose(mapped["other"], other.volume(), atol=1e-5)
        turned_back = other.aligned(calls.map_pose)
        fsc = shell_correlation(one.volume() * mask, turned_back.volume() * mask)
        np.testing.assert_allclose(calls.resolved[iteration]["fsc"], fsc, atol=1e-5)
        for found, half in zip(references, (one, turned_back), strict=True):
            np.testing.assert_allclose(found, half.volume(fsc) * mask, atol=1e-4)
        for half, call in enumerate(calls.refined[2 * iteration + 2 : 2 * iteration + 4]):  # those of the next one
            assert torch.equal(call["reference"], references[half])
        second = calls_of_half[1]["poses"]
        rotations = second.rotations @ QUARTER_TURN
        torch.testing.assert_close(poses.rotations[[1, 3]], rotations @ QUARTER_TURN)
        shift = rotations @ torch.tensor([1.0, 0, -1])
        torch.testing.assert_close(poses.shifts[[1, 3]], second.shifts - 0.5 + shift)
    assert torch.equal(last.rotations, stored[1][1].rotations)
    assert torch.equal(last.shifts, stored[1][1].shifts)


def test_a_resumed_search_starts_from_its_state(calls: Calls) -> None:
    reader, reports = Reader(5), []
    poses = Poses(QUARTER_TURN.repeat(5, 1, 1), torch.arange(15.0).reshape(5, 3))
    references = torch.from_numpy(np.random.default_rng(0).normal(size=(2, BOX, BOX, BOX))).float()

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        reports.append((done, total, numbers))

    start = Poses(*(values.clone() for values in poses))
    state = SearchState(3, start, references, 3.25)
    found = refine(reader, HALVES, MASK, VOXEL_SIZE, Search(4, 40.0), progress, resume_from=state)
    assert reader.asked == [[0, 2, 4], [1, 3]]
    assert calls.found == []
    for half, (call, members) in enumerate(zip(calls.refined, reader.asked, strict=True)):
        assert torch.equal(call["reference"], references[half])
        assert torch.equal(call["poses"].shifts, poses.shifts[members])
        assert torch.equal(call["poses"].rotations, poses.rotations[members])
        assert (call["cutoff"], call["degrees"]) == (3.25, 40 / 8)
    assert reports == [(18, 20, {"iteration": 4}), (20, 20, {"iteration": 4})]
    torch.testing.assert_close(found.shifts[[0, 2, 4]], poses.shifts[[0, 2, 4]] - 0.5)


def test_volumes_larger_than_a_batch_are_matched_one_by_one(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "VOXELS_AT_ONCE", BOX**3 - 1)
    reader = Reader(5)
    refine(reader, HALVES, MASK, VOXEL_SIZE, Search(1, 40.0))
    assert reader.asked[1:] == [[0], [2], [4], [1], [3]]


def test_a_search_without_iterations_rotates_nothing(calls: Calls) -> None:
    poses = refine(Reader(5), HALVES, MASK, VOXEL_SIZE, Search(0))
    assert torch.equal(poses.rotations, torch.eye(3).repeat(5, 1, 1))
    assert not poses.shifts.any()


def test_an_average_is_found_from_random_orientations() -> None:
    """The reference knows nothing of the truth, and the halves nothing of each other."""
    box, voxel_size = 12, 20.0
    volume = blob(seed=3, box=box)
    copies, _, _ = turned(volume, 24)
    wedge = torch.from_numpy(wedge_volume(box, 60)).float().expand(24, -1, -1, -1)
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=copies.shape)).float()
    seen = filtered(copies + 0.5 * copies.std() * noise, wedge)
    asked: list[set[int]] = []

    def read(places: np.ndarray) -> WeightedVolumes:
        asked.append(set(places.tolist()))
        return WeightedVolumes.of(seen[places], wedge[places])

    halves = np.arange(24) % 2
    start = random_reference(read, 24, voxel_size, 0)
    asked.clear()
    poses = refine(read, halves, torch.ones(box, box, box), voxel_size, Search(iterations=4, degrees=30))
    assert all(len({place % 2 for place in places}) == 1 for places in asked[1:])  # the first is the reference's
    one, other = (sums.volume() for sums in averaged(read, halves, poses))
    truth = volume.numpy()

    def likeness_to_truth(average: np.ndarray) -> float:
        pose = pose_of_map(truth, average, cutoff=4)
        return likeness(aligned(torch.from_numpy(average)[None], *pose)[0], truth)

    assert likeness_to_truth(0.5 * (one + other)) > max(0.85, likeness_to_truth(start) + 0.1)
    assert shell_correlation(one, other)[1:4].min() > 0.5
    again = refine(read, halves, torch.ones(box, box, box), voxel_size, Search(iterations=4, degrees=30))
    assert torch.equal(again.rotations, poses.rotations)


def test_a_search_goes_on_after_its_last_whole_iteration(tmp_path: Path) -> None:
    copies, _, _ = turned(blob(seed=3, box=12), 8)
    halves, mask, search = np.arange(8) % 2, torch.ones(12, 12, 12), Search(iterations=3, degrees=45)
    asked: list[int] = []

    def read(places: np.ndarray) -> WeightedVolumes:
        asked.extend(places)
        return WeightedVolumes.of(copies[places], None)

    class StoppedError(Exception):
        pass

    def stop(state: SearchState) -> None:
        write_search_state(tmp_path / "search.safetensors", state, "these")
        if state.iterations == 2:
            raise StoppedError

    whole = refine(read, halves, mask, 20.0, search)
    with pytest.raises(StoppedError):
        refine(read, halves, mask, 20.0, search, save=stop)
    assert read_search_state(tmp_path / "search.safetensors", "others") is None
    state = read_search_state(tmp_path / "search.safetensors", "these")
    asked.clear()
    found = refine(read, halves, mask, 20.0, search, resume_from=state)
    assert sorted(asked) == list(range(8))  # the last iteration alone
    assert torch.equal(found.rotations, whole.rotations)
    assert torch.equal(found.shifts, whole.shifts)


def test_a_coarse_volume_holds_nothing_beyond_60_angstrom() -> None:
    noise = np.random.default_rng(0).normal(size=(24, 24, 24)).astype(np.float32)
    power = np.abs(np.fft.fftshift(np.fft.fftn(coarse(noise, 10.0)))) ** 2
    k = np.arange(24) - 12
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2)
    assert power[radius / 240 > 1 / 60].max() < 1e-6 * power.max()
    assert power[(radius > 0) & (radius < 3)].min() > 0
