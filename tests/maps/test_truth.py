"""Averages compared with the maps that a simulation was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.maps import CodedRun, simulated_run, untrained_run

from dualcontrast.analysis.clustering import cluster
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.evaluation import scores
from dualcontrast.maps.average import average
from dualcontrast.progress import silent

TRUTH = ["6vxx", "6xra", "2pyo"]


@pytest.fixture(scope="module")
def simulated(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CodedRun, Simulation]:
    run, simulation = simulated_run(tmp_path_factory.mktemp("averages"), shared_data / "proteins")
    cluster(run)
    average(run, by="builtin")
    return run, simulation


def test_other_labels_than_identities_are_not_taken_for_them(
    simulated: tuple[CodedRun, Simulation], tmp_path: Path
) -> None:
    _, simulation = simulated
    run = untrained_run(tmp_path / "run", simulation.star, bin=2, labels="dualcontrastConformation")
    table = run.images().table
    assert set(table["content"]) == set(TRUTH)
    run.keep_codes(np.zeros((len(table), 4)), np.zeros((len(table), 3)))
    assert scores._ideal_observer(run, table, silent) is None
    cluster(run, content=1, transformation=1)
    (unit,) = average(run, by="builtin").clusters
    assert {state.conformation: state.share for state in unit.truth} == dict.fromkeys(TRUTH, 0.3333)
