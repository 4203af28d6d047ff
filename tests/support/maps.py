"""Small runs on subtomograms whose codes a test says, for the verbs from codes to maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dualcontrast import api
from dualcontrast.api import Run
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.images import open_images
from dualcontrast.maps.cluster_average import ClusterAverage, ClusterId, Inputs, StateComparison
from dualcontrast.maps.refinement import Search
from dualcontrast.recipe import recipe_of
from dualcontrast.runs import SavedCodes, prepared_images, write_codes
from dualcontrast.settings import merged

STATES = (
    "nucleosome=nucleosome/2pyo.pdb.gz",
    "spike=spike/6vxx.pdb.gz",
    "spike=spike/6xra.pdb.gz",
)
SMALL: dict[str, Any] = {"box": 16, "voxel_size": 21.0, "resolution": 40.0, "shift": 1.0, "tilt_range": 60.0}
TINY: dict[str, Any] = {
    "network": {"encoder": {"channels": [4]}, "decoder": {"hidden": [8]}},
    "method": {"content_size": 4, "transformation_size": 3},
    "training": {"batch_size": 20, "workers": 0},
}


class CodedRun(Run):
    """A run whose codes a test says."""

    def keep_codes(self, content: np.ndarray, transformation: np.ndarray) -> None:
        """Write codes as those of the run's images."""
        codes = content.astype(np.float32), transformation.astype(np.float32)
        write_codes(self.codes_folder(), SavedCodes(*codes, *codes, self.images().table))


def untrained_run(
    folder: Path, source: Path, changes: Mapping[str, Any] | None = None, **options: Any
) -> CodedRun:
    """Make a run on a source whose weights are those that a method starts with."""
    run = CodedRun(folder)
    recipe = recipe_of(merged(TINY, changes or {}))
    images = open_images(source, **options)
    prepared = prepared_images(images, recipe.training.limit, recipe.training.seed)
    data = {
        "source": str(source.resolve()),
        "options": dict(images.options),
        "digest": prepared.digest(),
        "names": prepared.names_digest(),
        "images": len(prepared),
        "shape": list(prepared.shape),
        "pixel_size": prepared.pixel_size,
    }
    run.write_config(recipe, data, {"command": "a test"})
    run.save_weights(recipe.build(images.shape), "best")
    return run


def simulated_run(folder: Path, proteins: Path, **changes: Any) -> tuple[CodedRun, Simulation]:
    """Simulate subtomograms into `folder`/sim, and make a run of them, binned, in `folder`/run.

    Its codes are such as a perfect method might make: the identity is all that the content code tells, and the
    conformation all that the transformation code does.
    """
    settings = {**SMALL, "per_state": 12, "snr": 1.0, **changes}
    simulation = api.simulate(folder / "sim", structures=STATES, settings=settings, data=proteins)
    run = untrained_run(folder / "run", simulation.star, bin=2)
    table = run.images().table
    rng = np.random.default_rng(0)
    content = 8 * np.eye(4)[(table["content"] == "spike").astype(int)] + rng.normal(size=(len(table), 4))
    transformation = 8 * np.eye(3)[(table["transformation"] == "6xra").astype(int)]
    run.keep_codes(content, transformation + rng.normal(size=(len(table), 3)))
    return run, simulation


def cluster_average(content: int, *truth: StateComparison, **changes: Any) -> ClusterAverage:
    """Describe the average of a content cluster, as if it were made."""
    values: dict[str, Any] = {
        "cluster": ClusterId(content, 1),
        "particles": 40,
        "voxel_size": 10.0,
        "box": 8,
        "poses": "stated",
        "averaged_by": "builtin",
        "resolution": 25.0,
        "fsc": (1.0, 0.9, 0.5, 0.2, 0.1),
        "truth": truth,
        "commands": (),
        "inputs": Inputs("rows", "stated", "builtin", False, Search()),
    }
    return ClusterAverage(**{**values, **changes})
