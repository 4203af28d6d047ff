"""Checkpoints: where training stands, kept so that going on equals never having stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dualcontrast.errors import RunError
from dualcontrast.files import written_whole
from dualcontrast.methods import Method


@dataclass
class Standing:
    """Where training stands.

    Attributes
    ----------
    epoch, batch
        The epoch under way, and how many of its batches are done.
    step, images_seen
        Updates and images since the start.
    seconds, epoch_seconds
        Time spent in training, in all and in the epoch under way, over all sittings.
    stage, stage_step
        The stage of the method, from 0, and the updates before it.
    best_loss
        The lowest validation loss so far in that stage.
    sums
        Sums over the epoch's batches of each part of the loss.
    """

    epoch: int = 0
    batch: int = 0
    stage: int = 0
    stage_step: int = 0
    step: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    best_loss: float = math.inf
    sums: dict[str, float] = field(default_factory=dict)

    def begin_epoch(self) -> None:
        """Go to the first batch of an epoch."""
        self.batch, self.epoch_seconds, self.sums = 0, 0.0, {}


def save_checkpoint(
    path: Path,
    standing: Standing,
    method: Method,
    optimizers: Mapping[str, Optimizer],
) -> None:
    """Write everything that going on needs, whole or not at all."""
    state = {
        "standing": asdict(standing),
        "method": method.state_dict(),
        "optimizers": {phase: optimizer.state_dict() for phase, optimizer in optimizers.items()},
        "random": _random_state(),
    }
    with written_whole(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(
    path: Path,
    method: Method,
    optimizers: Mapping[str, Optimizer],
) -> Standing:
    """Put everything back as it was, the random state included.

    Raises
    ------
    RunError
        The checkpoint is missing, damaged, or of another method.
    """
    if not path.is_file():
        raise RunError(f"{path}: no checkpoint to continue from; train again without `resume`")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        method.load_state_dict(state["method"])
        for phase, optimizer in optimizers.items():
            optimizer.load_state_dict(state["optimizers"][phase])
        standing = Standing(**state["standing"])
    except Exception as error:  # torch raises many types for a damaged file; all mean the same to a user
        raise RunError(f"{path}: the checkpoint is damaged or of another run ({error})") from None
    _restore_random_state(state["random"])
    return standing


def _random_state() -> dict[str, Tensor | list[Tensor]]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
