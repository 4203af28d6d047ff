"""Setups and stored results of benchmarks, made up so that every number is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualcontrast.benchmarks.cells import Cell, CellKey, CellResult, TrainingCost
from dualcontrast.benchmarks.runner import Setup

RECIPE: dict[str, Any] = {"method": {"name": "harmony"}, "training": {"minutes": 1.0, "seed": 0, "limit": None}}
KEY = CellKey("table1", "harmony", "mnist", 0, "abc", RECIPE)
CELL = Cell(**vars(KEY), source="/data/mnist", options={})
COST = TrainingCost(
    steps=1230,
    images_seen=123_000,
    epochs=2,
    seconds=90.0,
    stopped_by="minutes",
    peak_memory=2**29,
    device="cpu",
    threads=1,
)


def make_setup(folder: Path, devices: Sequence[str] = ("cpu",)) -> Setup:
    """Put the folders of a benchmark into one folder."""
    return Setup(folder / "results", folder / "work", folder / "out", devices)


def make_result(key: CellKey = KEY, images: int = 70_000, cost: TrainingCost = COST, **scores: Any) -> CellResult:
    """Make a result with scores of content, and others in their place or beside them."""
    content = {"from_content": 0.8, "from_transformation": 0.3, "sap": 0.5, "gap": 0.5, "chance": 0.1}
    every = {
        "content": content,
        "transformation": None,
        "viewpoint": None,
        "swap": None,
        "probes": {"content": {"knn": {"from_content": 0.9, "from_transformation": 0.4}}},
        "protocol": {"classes": 10},
        **scores,
    }
    return CellResult(key, every, images, [1, 28, 28], cost, {"dualcontrast": "0.1.0"})
