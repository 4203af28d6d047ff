"""The work of a cell, with training and scoring replaced by stand-ins; test_table has cells that are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.benchmarks import CELL

from dualcontrast import api
from dualcontrast.benchmarks import worker
from dualcontrast.benchmarks.cells import find_result, read_results
from dualcontrast.benchmarks.worker import is_trained, run_cell
from dualcontrast.errors import RunError
from dualcontrast.runs import RunFolder
from dualcontrast.settings import merged

LAST = {"epoch": 3, "step": 12, "images_seen": 480, "seconds": 9.5, "stopped": "minutes"}


class Calls(list[str]):
    """The calls that were made, and the options of the last training."""

    options: dict[str, Any]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls()

    def train(source: str, **options: Any) -> None:
        made.append("train")
        made.options = {"source": source, **options}
        run = RunFolder(options["out"])
        run.weights_path("best").parent.mkdir(parents=True, exist_ok=True)
        run.weights_path("best").touch()
        run.write_log([LAST])

    def embed(run: api.Run, code: str, **_: Any) -> None:
        made.append(f"embed {code}")
        raise RunError("the codes are all equal")

    def transfer(run: api.Run, **_: Any) -> None:
        made.append("transfer")
        run.write_scores({"swap": {"content_kept": 0.5}})

    def scores_of(stored: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(to_json=lambda: stored)

    def evaluate(run: api.Run, **_: Any) -> SimpleNamespace:
        made.append("evaluate")
        return scores_of({"swap": None})

    def read_scores(run: api.Run) -> SimpleNamespace | None:
        stored = run.read_scores()
        return None if stored is None else scores_of(stored)

    monkeypatch.setattr(worker, "train", train)
    monkeypatch.setattr(worker, "read_scores", read_scores)
    monkeypatch.setattr(worker.Run, "encode", lambda run, **_: made.append("encode"))
    monkeypatch.setattr(worker.Run, "evaluate", evaluate)
    monkeypatch.setattr(worker.Run, "transfer", transfer)
    monkeypatch.setattr(worker.Run, "embed", embed)
    data = SimpleNamespace(images=70, shape=(1, 28, 28))
    monkeypatch.setattr(worker.Run, "config", lambda run: SimpleNamespace(data=data))
    return made


def test_a_cell_is_trained_scored_and_stored(calls: Calls, tmp_path: Path) -> None:
    run_cell(CELL, tmp_path / "results", tmp_path)
    assert calls == ["train", "encode", "evaluate", "transfer", "embed content", "embed transformation"]
    assert calls.options["source"] == CELL.source
    assert calls.options["recipe"].method.name == "harmony"
    assert (calls.options["resume"], calls.options["overwrite"]) == (False, True)
    assert calls.options["clock"] is time.process_time  # whatever else runs on the machine
    result = find_result(CELL, read_results(tmp_path / "results", "table1"))
    assert result is not None
    assert result.scores == {"swap": {"content_kept": 0.5}}  # as transfer completed them
    assert (result.images, result.shape, result.training.device) == (70, [1, 28, 28], "cpu")
    assert (result.training.steps, result.training.epochs, result.training.stopped_by) == (12, 3, "minutes")
    assert result.training.peak_memory is not None


def test_a_trained_cell_is_only_scored(calls: Calls, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / CELL.run_name)
    assert not is_trained(run)
    run_cell(CELL, tmp_path / "results", tmp_path)
    assert is_trained(run)
    calls.clear()
    run_cell(CELL, tmp_path / "results", tmp_path)
    assert "train" not in calls
    run.weights_path("best").unlink()
    assert not is_trained(run)


@pytest.mark.parametrize(("stopped", "trains"), [("signal", True), ("minutes", False), ("epochs", False)])
def test_a_stopped_training_resumes_and_a_finished_one_does_not(
    calls: Calls, stopped: str, trains: bool, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / CELL.run_name)
    for path in (run.path / "checkpoints" / "last.pt", run.weights_path("best")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run.write_log([{**LAST, "stopped": stopped}])
    run_cell(CELL, tmp_path / "results", tmp_path)
    assert ("train" in calls) == trains
    if trains:
        assert calls.options["resume"]
        assert not calls.options["overwrite"]
        assert calls.options["recipe"] is None
    memory = json.loads((run.path / "trained.json").read_text())["peak_memory"]
    assert (memory is not None) == trains


def test_a_method_without_a_decoder_makes_no_images(calls: Calls, tmp_path: Path) -> None:
    cell = replace(CELL, recipe=merged(CELL.recipe, {"method": {"name": "simclr"}}))
    run_cell(cell, tmp_path / "results", tmp_path)
    assert "transfer" not in calls
    (result,) = read_results(tmp_path / "results", "table1")
    assert result.scores == {"swap": None}


def test_a_gpu_is_timed_by_the_clock(calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 1234)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"GPU of {device}")
    run_cell(CELL, tmp_path / "results", tmp_path, device="cuda:1")
    assert calls.options["clock"] is time.monotonic
    (result,) = read_results(tmp_path / "results", "table1")
    assert (result.training.peak_memory, result.training.device) == (1234, "GPU of cuda:1")


def test_a_process_ends_with_the_one_that_started_it() -> None:
    script = (
        "import sys, time\nfrom dualcontrast.benchmarks.worker import exit_when_closed\n"
        "exit_when_closed(sys.stdin.fileno())\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout, process.stdin:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"more")
        process.stdin.flush()
        time.sleep(0.1)
        assert process.poll() is None
    assert process.wait(timeout=30) == -signal.SIGTERM
