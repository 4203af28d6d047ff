"""The built-in averager as a backend."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps import builtin_backend
from dualcontrast.maps.averaging import Sums, shell_correlation
from dualcontrast.maps.backend import ClusterJob
from dualcontrast.maps.builtin_backend import BuiltinBackend
from dualcontrast.maps.search_state import SearchState, read_search_state, write_search_state
from dualcontrast.poses import Poses
from dualcontrast.progress import silent


def test_poses_are_found_and_the_state_of_the_search_is_kept(job: ClusterJob) -> None:
    found = BuiltinBackend().find_poses(job, silent)
    assert (found.found_by, found.commands) == ("builtin", ())
    state = read_search_state(job.files.search_state, json.dumps(job.inputs.to_json()))
    assert state is not None
    assert state.iterations == 1
    again = BuiltinBackend().find_poses(job, silent)  # nothing is left to do
    assert torch.equal(again.poses.shifts, found.poses.shifts)


def test_the_map_of_all_is_cleaner_than_those_of_halves(job: ClusterJob) -> None:
    assert job.particles.poses is not None
    maps = BuiltinBackend().reconstruct(job, job.particles.poses, silent)
    assert (maps.made_by, maps.commands) == ("builtin", ())
    bar = np.zeros((12, 12, 12))
    bar[5:8, 4:9, 2:10] = 4
    whole, *halves = (np.corrcoef(m.ravel(), bar.ravel())[0, 1] for m in (maps.whole, *maps.halves))
    assert whole > max(halves)
    assert whole > 0.9


def test_a_search_is_given_the_particles_and_resumes_from_its_file(
    job: ClusterJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[tuple[Any, ...], SearchState | None]] = []
    poses = Poses.identity(8)
    state = SearchState(1, poses, torch.ones(2, 12, 12, 12), 3.5)

    def refine(*words: Any, resume_from: SearchState | None, save: Any) -> Poses:
        calls.append((words, resume_from))
        save(state)
        return poses

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None: ...

    monkeypatch.setattr(builtin_backend, "refine", refine)
    found = BuiltinBackend().find_poses(job, progress)
    assert found.poses is poses
    assert (found.found_by, found.commands) == ("builtin", ())
    ((read, halves, mask, voxel_size, search, reports), resumed) = calls[0]
    assert (read, voxel_size, search, reports) == (job.particles.read, 2.0, job.inputs.search, progress)
    assert halves is job.particles.halves
    assert torch.equal(mask, soft_sphere(12))
    assert resumed is None
    stored = read_search_state(job.files.search_state, json.dumps(job.inputs.to_json()))
    assert stored is not None
    assert stored.cutoff == 3.5
    BuiltinBackend().find_poses(job, progress)
    resumed = calls[1][1]
    assert resumed is not None
    assert torch.equal(resumed.references, state.references)
    BuiltinBackend().find_poses(replace(job, inputs=replace(job.inputs, rows="others")), progress)
    assert calls[2][1] is None  # a search of other particles


def test_another_file_of_a_search_is_not_resumed(job: ClusterJob, monkeypatch: pytest.MonkeyPatch) -> None:
    write_search_state(job.files.search_state, SearchState(1, Poses.identity(8), torch.ones(2, 12, 12, 12), 3), "")
    resumed: list[SearchState | None] = []

    def refine(*words: Any, resume_from: SearchState | None, save: Any) -> Poses:
        resumed.append(resume_from)
        return Poses.identity(8)

    monkeypatch.setattr(builtin_backend, "refine", refine)
    BuiltinBackend().find_poses(job, silent)
    assert resumed == [None]


def test_the_maps_are_those_of_the_sums(job: ClusterJob) -> None:
    particles = job.particles
    assert particles.poses is not None
    reports: list[tuple[Any, ...]] = []

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        reports.append((what, done, total))

    maps = BuiltinBackend().reconstruct(job, particles.poses, progress)
    assert reports == [("adding up", 4, 8), ("adding up", 8, 8)]
    halves = []
    for half in (0, 1):
        chosen = np.flatnonzero(particles.halves == half)
        halves.append(Sums(12))
        halves[half].add(particles.read(chosen), particles.poses.select(torch.from_numpy(chosen)))
    for found, sums in zip(maps.halves, halves, strict=True):
        np.testing.assert_allclose(found, sums.volume(), atol=1e-6)
    fsc = shell_correlation(*(sums.volume() * soft_sphere(12).numpy() for sums in halves))
    np.testing.assert_allclose(maps.whole, (halves[0] + halves[1]).volume(fsc), atol=1e-5)
