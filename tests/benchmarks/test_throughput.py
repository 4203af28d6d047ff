from __future__ import annotations

import pytest
import torch

from dualcontrast.benchmarks import throughput as module
from dualcontrast.benchmarks.throughput import BASELINE, AuthorsSequence, throughput


def test_every_training_is_compared_with_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", 10)  # bfloat16 is slow on some processors
    measured = throughput(rounds=1, steps=1)
    assert set(measured.rates) == set(measured.ratios)
    assert measured.ratios[BASELINE] == 1
    assert min(measured.rates.values()) > 0


def test_the_baseline_trains() -> None:
    torch.manual_seed(0)
    sequence, images = AuthorsSequence(), torch.rand(20, 1, 28, 28)
    before = (sequence.reconstruct(images)[0] - images).square().mean()
    for _ in range(20):
        sequence(images)
    assert (sequence.reconstruct(images)[0] - images).square().mean() < before
