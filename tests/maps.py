"""A small run on simulated subtomograms whose codes tell its states apart, for the verbs from codes to maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast import api
from dualcontrast.api import Run
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.runs import SavedCodes, write_codes

STATES = (
    "nucleosome=nucleosome/2pyo.pdb.gz",
    "spike=spike/6vxx.pdb.gz",
    "spike=spike/6xra.pdb.gz",
)
SMALL: dict[str, Any] = {"box": 16, "voxel_size": 21.0, "resolution": 40.0, "shift": 1.0, "tilt_range": 60.0}
TINY: dict[str, Any] = {
    "network": {"encoder": {"channels": [4]}, "decoder": {"channels": [4]}},
    "method": {"content_size": 4, "transformation_size": 3},
    "training": {"epochs": 1, "batch_size": 20, "workers": 0},
}


def simulated_run(folder: Path, proteins: Path, **changes: Any) -> tuple[Run, Simulation]:
    """Simulate subtomograms into `folder`/sim, and train for an epoch into `folder`/run.

    Its codes are then replaced by others that a perfect method might have made: the identity is all that the
    content code tells, and the conformation all that the transformation code does.
    """
    settings = {**SMALL, "per_state": 12, "snr": 1.0, **changes}
    simulation = api.simulate(folder / "sim", structures=STATES, settings=settings, data=proteins)
    run = api.train(simulation.star, out=folder / "run", recipe="subtomograms", settings=TINY, device="cpu", bin=2)
    table = run.images().table
    rng = np.random.default_rng(0)
    content = 8 * np.eye(4)[(table["content"] == "spike").astype(int)] + rng.normal(size=(len(table), 4))
    transformation = 8 * np.eye(3)[(table["transformation"] == "6xra").astype(int)]
    transformation += rng.normal(size=(len(table), 3))
    codes = content.astype(np.float32), transformation.astype(np.float32)
    write_codes(run.codes_folder(), SavedCodes(*codes, *codes, table))
    return run, simulation
