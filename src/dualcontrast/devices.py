"""Devices as a user names them, and random draws on them that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dualcontrast.errors import DeviceError


def device_named(name: str) -> torch.device:
    """Return the device of that name: auto (a GPU where there is one), cpu, cuda, cuda:1 or mps.

    Raises
    ------
    DeviceError
        The name is not understood, or the machine has no such device.
    """
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if name == "auto":
        name = next((kind for kind in ("cuda", "mps") if there[kind]), "cpu")
    kind, _, number = name.partition(":")
    if kind not in there or (number and not number.isdecimal()):
        raise DeviceError(f"{name!r} is no device; use auto, cpu, cuda, cuda:1 or mps")
    if int(number or 0) >= there[kind]:
        found = ", ".join(f"{count} x {kind}" for kind, count in there.items() if count)
        raise DeviceError(f"there is no device {name} here; torch finds {found}")
    return torch.device(name)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Make random draws on `device` follow `seed`; on leaving, the random state is what it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
