"""Small runs for tests, trained for real on the packaged digits."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from dualcontrast.api import Run, train
from dualcontrast.settings import merged

DIGITS = Path(str(resources.files("dualcontrast"))) / "data" / "digits.npz"
# A small network, so that an epoch on 400 digits takes a fraction of a second.
SMALL: dict[str, Any] = {
    "network": {"encoder": {"channels": [4, 8, 8]}, "decoder": {"code_width": 16, "hidden": [32]}},
    "training": {"epochs": 3, "limit": 400, "batch_size": 40, "learning_rate": 1e-3, "seed": 3},
}


def small_run(out: Path, changes: Mapping[str, Any] | None = None, **options: Any) -> Run:
    """Train a small network on 400 digits for three epochs."""
    options = {"device": "cpu", **options}
    return train(DIGITS, out=out, recipe="mnist", settings=merged(SMALL, changes or {}), **options)
