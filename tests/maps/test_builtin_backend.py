"""The built-in averager as a backend."""

from __future__ import annotations

import json

import numpy as np
import torch

from dualcontrast.maps.backend import ClusterJob
from dualcontrast.maps.builtin_backend import BuiltinBackend
from dualcontrast.maps.search_state import read_search_state
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
