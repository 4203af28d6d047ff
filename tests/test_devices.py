from __future__ import annotations

import os

import pytest
import torch

from dualcontrast.devices import device_named, processors
from dualcontrast.errors import DeviceError


def test_cpu_is_always_there_and_auto_is_what_is_there() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_auto_is_never_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device_named("auto") == torch.device("cpu")
    for name in ("mps", "mps:0"):
        with pytest.raises(DeviceError, match=r"mps has no double precision, .* use cpu"):
            device_named(name)


def test_processors_are_counted_where_the_system_keeps_no_set_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= processors() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert processors() == os.cpu_count()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gpu", "'gpu' is no device; use auto, cpu"), ("cuda:x", "no device"), ("cuda:99", "no device cuda:99 here")],
)
def test_other_names_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        device_named(name)
