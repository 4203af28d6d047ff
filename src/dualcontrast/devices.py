"""Devices by name, and seeded random draws on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dualcontrast.errors import DeviceError


def find_device(name: str) -> torch.device:
    """Find a device by name: auto (a GPU if there is one), cpu, cuda or cuda:1.

    Raises
    ------
    DeviceError
        The name is unknown, the machine has no such device, or methods cannot run on it.
    """
    counts = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if name == "auto":
        name = "cuda" if counts["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if kind == "mps":
        raise DeviceError("mps has no double precision, which some methods and views need; use cpu")
    if kind not in counts or (number and not number.isdecimal()):
        raise DeviceError(f"{name!r} is no device; use auto, cpu, cuda or cuda:1")
    if int(number or 0) >= counts[kind]:
        found = ", ".join(f"{count} x {kind}" for kind, count in counts.items() if count)
        raise DeviceError(f"there is no device {name} here; torch finds {found}")
    return torch.device(name)


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no such function


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random draws on `device`, and restore the random state on leaving."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
