"""Checkpoints: a resumed training gives the same numbers as one that was never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from dualcontrast.errors import RunError
from dualcontrast.files import JSONObject, atomic_write
from dualcontrast.methods import Method
from dualcontrast.training.state import TrainingState


def save_checkpoint(
    path: Path,
    state: TrainingState,
    method: Method,
    optimizers: Mapping[str, Optimizer],
) -> None:
    """Write all that resuming needs, as a whole or not at all."""
    stored = {
        "standing": asdict(state),
        "method": method.state_dict(),
        "optimizers": {phase: optimizer.state_dict() for phase, optimizer in optimizers.items()},
        "random": _random_state(),
    }
    with atomic_write(path) as temporary:
        torch.save(stored, temporary)


def load_checkpoint(
    path: Path,
    method: Method,
    optimizers: Mapping[str, Optimizer],
) -> TrainingState:
    """Restore the weights, the optimizers and the random state, and return the state of the training.

    Raises
    ------
    RunError
        The checkpoint is missing or damaged, or belongs to another method.
    """
    if not path.is_file():
        raise RunError(f"{path}: no checkpoint to resume from; train again without `resume=True`")
    try:
        stored: JSONObject = torch.load(path, map_location="cpu", weights_only=True)
        method.load_state_dict(stored["method"])
        for phase, optimizer in optimizers.items():
            optimizer.load_state_dict(stored["optimizers"][phase])
        state = TrainingState(**stored["standing"])
    except Exception as error:  # torch raises many types for a damaged file
        raise RunError(f"{path}: the checkpoint is damaged or belongs to another run ({error})") from None
    _restore_random_state(stored["random"])
    return state


def _random_state() -> dict[str, Tensor | list[Tensor]]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _restore_random_state(state: JSONObject) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
