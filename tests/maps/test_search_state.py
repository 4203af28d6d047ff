"""A search for poses resumes from its file, but only with the same inputs."""

from __future__ import annotations

from pathlib import Path

import torch

from dualcontrast.maps.search_state import SearchState, read_search_state, write_search_state
from dualcontrast.poses import Poses


def test_a_state_is_read_as_written_and_for_its_inputs_only(tmp_path: Path) -> None:
    path = tmp_path / "search.safetensors"
    assert read_search_state(path, "these") is None
    poses = Poses(torch.eye(3).repeat(4, 1, 1), torch.arange(12.0).reshape(4, 3))
    write_search_state(path, SearchState(2, poses, torch.ones(2, 8, 8, 8), 1 / 3), "these")
    assert read_search_state(path, "others") is None
    state = read_search_state(path, "these")
    assert state is not None
    assert (state.iterations, state.cutoff) == (2, 1 / 3)
    assert torch.equal(state.poses.shifts, poses.shifts)
    assert torch.equal(state.poses.rotations, poses.rotations)
    assert torch.equal(state.references, torch.ones(2, 8, 8, 8))
