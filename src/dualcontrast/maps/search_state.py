"""The state of a search for poses, and the file from which a stopped search resumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dualcontrast.files import atomic_write
from dualcontrast.poses import Poses


@dataclass(frozen=True)
class SearchState:
    """A search for poses between two iterations.

    Attributes
    ----------
    iterations : int
        Completed iterations.
    poses : Poses
        The current poses.
    references : Tensor
        The next reference of each half, (2, N, N, N).
    cutoff : float
        The highest frequency that is matched, in cycles a box.
    """

    iterations: int
    poses: Poses
    references: Tensor
    cutoff: float


def write_search_state(path: Path, state: SearchState, inputs: str) -> None:
    """Write the state of a search, and the inputs that it depends on."""
    matrices, shifts = state.poses
    tensors = {"matrices": matrices, "shifts": shifts, "references": state.references}
    metadata = {"iterations": str(state.iterations), "cutoff": repr(state.cutoff), "made_from": inputs}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata)


def read_search_state(path: Path, inputs: str) -> SearchState | None:
    """Read the state of a search; return None where there is no file, or one of other inputs."""
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        if metadata["made_from"] != inputs:
            return None
        poses = Poses(file.get_tensor("matrices"), file.get_tensor("shifts"))
        return SearchState(
            int(metadata["iterations"]), poses, file.get_tensor("references"), float(metadata["cutoff"])
        )
