from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy

from dualcontrast.errors import DeviceError
from dualcontrast.training import fabric as module
from dualcontrast.training.fabric import make_fabric


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Collect what Fabric is given, on a machine with two GPUs."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(module, "Fabric", lambda **options: given.update(options))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return given


@pytest.mark.parametrize(
    ("device", "accelerator", "devices"),
    [
        ("cpu", "cpu", 1),
        ("cpu:0", "cpu", 1),
        ("cuda", "cuda", 1),
        ("cuda:1", "cuda", [1]),
        ("cuda:0", "cuda", [0]),
    ],
)
def test_one_process_has_one_device(
    options: dict[str, Any], device: str, accelerator: str, devices: int | list[int]
) -> None:
    make_fabric(device, "bf16-mixed", find_unused_parameters=True)
    assert options == {"accelerator": accelerator, "devices": devices, "precision": "bf16-mixed"}


@pytest.mark.parametrize(("local", "nodes"), [("2", 2), (None, 1)])
def test_processes_of_several_nodes_share_a_training(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, local: str | None, nodes: int
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if local is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    make_fabric("cuda", "32-true", find_unused_parameters=True)
    strategy = options.pop("strategy")
    assert isinstance(strategy, DDPStrategy)
    assert strategy._ddp_kwargs == {"find_unused_parameters": True}
    assert options == {"accelerator": "cuda", "devices": 4 // nodes, "num_nodes": nodes, "precision": "32-true"}


def test_another_device_is_refused() -> None:
    with pytest.raises(DeviceError, match="'tpu' is no device"):
        make_fabric("tpu", "32-true", find_unused_parameters=False)
