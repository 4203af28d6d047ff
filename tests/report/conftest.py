"""Runs that reports are made of. Tests that change one take a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.maps import CodedRun, simulated_run
from tests.support.runs import small_run

from dualcontrast.api import Run


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on digits, scored."""
    run = small_run(tmp_path_factory.mktemp("report") / "run")
    run.encode()
    run.evaluate()
    return run


@pytest.fixture(scope="session")
def run(scored: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, clustered."""
    run = Run(shutil.copytree(scored.path, tmp_path_factory.mktemp("clustered") / "run"))
    run.cluster(content=3, transformation=2)
    return run


@pytest.fixture(scope="session")
def maps(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CodedRun:
    """A run on simulated subtomograms, with averages of its clusters."""
    run, _ = simulated_run(tmp_path_factory.mktemp("report"), shared_data / "proteins")
    run.cluster()
    run.average(by="builtin")
    return run
