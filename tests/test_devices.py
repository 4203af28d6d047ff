from __future__ import annotations

import os

import pytest
import torch

from dualcontrast.devices import find_device, processors, seeded
from dualcontrast.errors import DeviceError


def test_cpu_always_exists_and_auto_prefers_a_gpu() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_auto_is_never_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == torch.device("cpu")
    for name in ("mps", "mps:0"):
        with pytest.raises(DeviceError, match=r"mps has no double precision, .* use cpu"):
            find_device(name)


def test_processors_are_counted_on_systems_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert processors() == os.cpu_count()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gpu", "'gpu' is no device; use auto, cpu"), ("cuda:x", "no device"), ("cuda:99", "no device cuda:99 here")],
)
def test_other_names_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        find_device(name)


def test_seeded_draws_are_repeated_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        with seeded(seed, torch.device("cpu")):
            draws.append(torch.rand(3))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_gpu_that_does_not_exist_is_refused_with_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == torch.device("cuda")
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(DeviceError, match="no device cuda:2 here; torch finds 1 x cpu, 2 x cuda"):
        find_device("cuda:2")
