"""How far a training has come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from dualcontrast.methods import Losses


@dataclass
class TrainingState:
    """How far a training has come; a checkpoint holds it.

    Attributes
    ----------
    epoch, batch
        The current epoch, from 0, and the number of its batches that are done.
    stage, stage_step
        The current stage of the method, from 0, and the step at which it began.
    step, images_seen
        Updates and images since the start.
    seconds, epoch_seconds
        Training time in total and in the current epoch, including earlier sessions.
    best_loss
        The lowest validation loss of the current stage.
    sums
        Each part of the loss, summed over the batches of the current epoch.
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
        """Go to the first batch of the current epoch."""
        self.batch, self.epoch_seconds, self.sums = 0, 0.0, {}

    def begin_stage(self) -> None:
        """Go to the next stage, and to the first batch of the current epoch."""
        self.stage += 1
        self.stage_step, self.best_loss = self.step, math.inf
        self.begin_epoch()

    def count_batch(self, images: int, seconds: float) -> None:
        """Count one update on `images` images that took `seconds`."""
        self.batch += 1
        self.step += 1
        self.images_seen += images
        self.seconds += seconds
        self.epoch_seconds += seconds

    def mean_losses(self) -> dict[str, float]:
        """Average each part of the loss over the batches of the current epoch."""
        return {name: value / max(self.batch, 1) for name, value in self.sums.items()}


def add_losses(sums: dict[str, float], losses: Losses, weight: float = 1.0) -> None:
    """Add each part of a loss and its total to `sums`, with one transfer from the device."""
    parts = {**losses.parts, "total": losses.total}
    for name, value in zip(parts, torch.stack(list(parts.values())).detach().tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + weight * value
