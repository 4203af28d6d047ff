from __future__ import annotations

import pytest
import torch

from dualcontrast.devices import device_named
from dualcontrast.errors import DeviceError


def test_cpu_is_always_there_and_auto_is_what_is_there() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("gpu", "'gpu' is no device; use auto, cpu"), ("cuda:x", "no device"), ("cuda:99", "no device cuda:99 here")],
)
def test_other_names_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(DeviceError, match=sentence):
        device_named(name)
