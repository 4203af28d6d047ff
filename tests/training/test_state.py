from __future__ import annotations

import math

import pytest
import torch

from dualcontrast.methods import Losses
from dualcontrast.training.state import TrainingState, add_losses


def losses(first: float, second: float) -> Losses:
    objective = Losses()
    objective.add("first", torch.tensor(first, requires_grad=True), weight=2.0)
    objective.add("second", torch.tensor(second), weight=0.5)
    return objective


def test_batches_are_counted_and_their_losses_averaged() -> None:
    state = TrainingState(epoch=3, step=10, images_seen=400, seconds=5.0)
    assert state.mean_losses() == {}
    for first in (1.0, 3.0):
        add_losses(state.sums, losses(first, 4.0))
        state.count_batch(40, 0.25)
    assert state.mean_losses() == {"first": 2.0, "second": 4.0, "total": 6.0}
    assert (state.epoch, state.batch, state.step, state.images_seen) == (3, 2, 12, 480)
    assert (state.seconds, state.epoch_seconds) == (5.5, 0.5)


def test_losses_are_weighted_by_the_images_of_a_batch() -> None:
    sums: dict[str, float] = {"first": 1.0}
    add_losses(sums, losses(1.5, 2.0), weight=4)
    assert sums == {"first": 7.0, "second": 8.0, "total": 16.0}


def test_an_epoch_begins_without_batches_and_keeps_the_totals() -> None:
    state = TrainingState(
        epoch=1, batch=7, step=20, seconds=9.0, epoch_seconds=4.0, best_loss=0.5, sums={"a": 1.0}
    )
    state.begin_epoch()
    assert state == TrainingState(epoch=1, step=20, seconds=9.0, best_loss=0.5)


def test_a_stage_begins_with_an_epoch_and_forgets_the_best_loss() -> None:
    state = TrainingState(batch=3, stage=1, stage_step=5, step=20, best_loss=0.5, sums={"a": 1.0})
    state.begin_stage()
    assert (state.stage, state.stage_step, state.batch, state.sums) == (2, 20, 0, {})
    assert state.best_loss == pytest.approx(math.inf)
