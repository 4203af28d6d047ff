"""Devices as a user names them, and random draws on them that leave no trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dualcontrast.errors import DeviceError


def device_named(name: str) -> torch.device:
    """Return the device of that name: auto (a GPU where there is one), cpu, cuda or cuda:1.

    Raises
    ------
    DeviceError
        The name is not understood, the machine has no such device, or methods cannot run on it.
    """
    there = {"cpu": 1, "cuda": torch.cuda.device_count()}
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if kind == "mps":
        raise DeviceError("mps has no double precision, which some methods and views compute in; use cpu")
    if kind not in there or (number and not number.isdecimal()):
        raise DeviceError(f"{name!r} is no device; use auto, cpu, cuda or cuda:1")
    if int(number or 0) >= there[kind]:
        found = ", ".join(f"{count} x {kind}" for kind, count in there.items() if count)
        raise DeviceError(f"there is no device {name} here; torch finds {found}")
    return torch.device(name)


def processors() -> int:
    """Return how many of the machine's processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS keeps no such set


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Make random draws on `device` follow `seed`; on leaving, the random state is what it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
