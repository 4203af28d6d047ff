"""How far a search for poses has come, and the file from which it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dualcontrast.files import written_whole
from dualcontrast.poses import Poses


@dataclass(frozen=True)
class Standing:
    """A search for poses between two iterations.

    Attributes
    ----------
    iterations : int
        Those that are done.
    poses : Poses
        What was found.
    references : Tensor
        What each half is matched to next, (2, N, N, N).
    cutoff : float
        Up to which frequency, in cycles a box.
    """

    iterations: int
    poses: Poses
    references: Tensor
    cutoff: float


def write_standing(path: Path, standing: Standing, made_from: str) -> None:
    """Write how far a search has come, and what it depends on."""
    tensors = {
        "matrices": standing.poses.rotations,
        "shifts": standing.poses.shifts,
        "references": standing.references,
    }
    said = {"iterations": str(standing.iterations), "cutoff": repr(standing.cutoff), "made_from": made_from}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, said)


def read_standing(path: Path, made_from: str) -> Standing | None:
    """Return how far a search has come; None where there is no file, or that of a search of other things."""
    if not path.is_file():
        return None
    with safe_open(path, "pt") as file:
        said = file.metadata()
        if said["made_from"] != made_from:
            return None
        poses = Poses(file.get_tensor("matrices"), file.get_tensor("shifts"))
        return Standing(int(said["iterations"]), poses, file.get_tensor("references"), float(said["cutoff"]))
