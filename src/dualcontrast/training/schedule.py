"""Schedules: the completed fraction of a training, and the learning rate there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dualcontrast.recipe import TrainingSettings
from dualcontrast.training.state import TrainingState

WARM_UP_STEPS = 100


def completed_fraction(state: TrainingState, settings: TrainingSettings) -> float:
    """Compute the completed fraction of a training, by epochs or by minutes, whichever is larger."""
    by_epochs = state.epoch / settings.epochs
    by_minutes = state.seconds / (60 * settings.minutes) if settings.minutes else 0.0
    return min(max(by_epochs, by_minutes), 1.0)


def learning_rate(state: TrainingState, settings: TrainingSettings, stages: Sequence[float]) -> float:
    """Compute the learning rate of the current epoch.

    A cosine falls from the start of each stage to its end; a decay by steps counts all epochs.

    Parameters
    ----------
    state, settings
        How far the training has come, and its settings.
    stages
        The completed fractions at which the stages of the method end.
    """
    if settings.schedule in ("cosine", "warm_cosine"):
        start = stages[state.stage - 1] if state.stage else 0.0
        position = (completed_fraction(state, settings) - start) / (stages[state.stage] - start)
        factor = 0.5 * (1 + math.cos(math.pi * min(max(position, 0.0), 1.0)))
    else:
        factor = settings.decay_by ** (state.epoch // settings.decay_every)
    return factor * settings.learning_rate


def warm_up(state: TrainingState, settings: TrainingSettings) -> float:
    """Compute the factor by which the first steps of a stage reduce the learning rate.

    Full steps of fresh networks can leave a decoder that outputs one colour and has no gradient.
    """
    if settings.schedule != "warm_cosine":
        return 1.0
    return min(1.0, (state.step - state.stage_step + 1) / WARM_UP_STEPS)


def total_images(state: TrainingState, settings: TrainingSettings, images_per_epoch: int) -> int:
    """Estimate how many images a training will see: those of all epochs, or fewer if its minutes end first."""
    images = settings.epochs * images_per_epoch
    if settings.minutes is None or not state.seconds:
        return images
    in_time = int(60 * settings.minutes * state.images_seen / state.seconds)
    return max(min(images, in_time), state.images_seen)
