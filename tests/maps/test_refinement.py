"""Alignment of subtomograms from random orientations, and how a stopped one resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.maps.test_averaging import blob, likeness, turned

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.maps.alignment import pose_of_map
from dualcontrast.maps.averaging import WeightedVolumes, aligned, shell_correlation
from dualcontrast.maps.refinement import Search, averaged, coarse, random_reference, refine
from dualcontrast.maps.search_state import SearchState, read_search_state, write_search_state
from dualcontrast.transforms.fourier import filtered


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
