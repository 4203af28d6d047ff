"""A small simulation, and cells that are trained in this process, for figures 5 and 6."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dualcontrast import api
from dualcontrast.api import Run
from dualcontrast.benchmarks import figures, worker
from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.outcome import Failure
from dualcontrast.benchmarks.runner import Setup
from dualcontrast.files import write_json

STRUCTURES = ("nucleosome=models/2pyo.pdb.gz", "spike=models/6vxx.pdb.gz", "spike=models/6vyb.pdb.gz")


@pytest.fixture(scope="package")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"per_state": 140, "box": 16, "voxel_size": 18.0, "resolution": 36.0, "snr": 2.0}
    return api.simulate(tmp_path_factory.mktemp("figures") / "sim", structures=STRUCTURES, settings=settings).star


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Train cells in this process and score nothing; return the data set and the row of those trained."""
    done: list[str] = []

    def train_here(cells: Sequence[Cell], setup: Setup, *_: Any) -> list[Failure]:
        for cell in cells:
            run = Run(setup.work / cell.run_name)
            worker._train(run, cell, "cpu", lambda *_, **__: None)
            write_json(worker._marker(run), {})
            done.append(f"{cell.data} {cell.row}")
        return []

    monkeypatch.setattr(figures, "run_cells", train_here)
    return done
