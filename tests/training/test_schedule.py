from __future__ import annotations

import math
from typing import Any

import pytest

from dualcontrast.recipe import TrainingSettings
from dualcontrast.training.schedule import (
    WARM_UP_STEPS,
    completed_fraction,
    learning_rate,
    total_images,
    warm_up,
)
from dualcontrast.training.state import TrainingState


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**{"epochs": 10, "learning_rate": 0.01, **changes})


@pytest.mark.parametrize(
    ("epoch", "seconds", "minutes", "fraction"),
    [
        (0, 0.0, None, 0.0),
        (4, 1e6, None, 0.4),
        (4, 30.0, 1.0, 0.5),  # the minutes are further than the epochs
        (4, 6.0, 1.0, 0.4),
        (4, 90.0, 1.0, 1.0),
        (12, 0.0, 1.0, 1.0),
    ],
)
def test_the_completed_fraction_is_that_of_epochs_or_minutes(
    epoch: int, seconds: float, minutes: float | None, fraction: float
) -> None:
    assert completed_fraction(TrainingState(epoch=epoch, seconds=seconds), settings(minutes=minutes)) == fraction


def test_steps_multiply_the_rate_every_so_many_epochs() -> None:
    decaying = settings(schedule="steps", decay_every=2, decay_by=0.5)
    rates = [learning_rate(TrainingState(epoch=epoch, stage=1), decaying, (0.3, 1.0)) for epoch in range(5)]
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025])


@pytest.mark.parametrize("schedule", ["cosine", "warm_cosine"])
def test_a_cosine_falls_over_each_stage(schedule: str) -> None:
    def rate(epoch: int, stage: int) -> float:
        return learning_rate(TrainingState(epoch=epoch, stage=stage), settings(schedule=schedule), (0.4, 1.0))

    assert rate(0, 0) == 0.01
    assert rate(1, 0) == pytest.approx(0.005 * (1 + math.cos(math.pi / 4)))
    assert rate(2, 0) == pytest.approx(0.005)
    assert rate(5, 0) == 0.0  # its stage is over, but the next begins with an epoch
    assert rate(4, 1) == 0.01
    assert rate(7, 1) == pytest.approx(0.005)
    assert rate(10, 1) == pytest.approx(0.0)
    assert rate(2, 1) == 0.01  # minutes began the stage early, and are now forgotten


def test_only_a_warm_cosine_warms_up_and_does_so_in_each_stage() -> None:
    state = TrainingState(step=1000, stage_step=1000)
    assert warm_up(state, settings(schedule="cosine")) == 1.0
    warm = settings(schedule="warm_cosine")
    assert warm_up(state, warm) == 1 / WARM_UP_STEPS
    assert warm_up(TrainingState(step=1049, stage_step=1000), warm) == 50 / WARM_UP_STEPS
    for step in (1099, 1100, 5000):
        assert warm_up(TrainingState(step=step, stage_step=1000), warm) == 1.0


def test_the_images_to_come_are_those_of_all_epochs_or_of_the_minutes() -> None:
    state = TrainingState(images_seen=300, seconds=30.0)
    assert total_images(state, settings(), 100) == 1000
    assert total_images(state, settings(minutes=1.0), 100) == 600
    assert total_images(state, settings(minutes=5.0), 100) == 1000
    assert total_images(state, settings(minutes=0.1), 100) == 300  # never fewer than were seen
    assert total_images(TrainingState(), settings(minutes=1.0), 100) == 1000  # no speed is known yet
