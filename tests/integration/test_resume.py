"""A run that was ended, by whatever means, goes on as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.command import assert_refused, call, command
from tests.support.runs import DIGITS, SMALL, small_run
from tests.training.test_loop import assert_same_run

from dualcontrast.api import Run

EPOCHS = 30
PRESETS = ("paper", "authors-code")


def long_settings(preset: str) -> dict[str, Any]:
    """Return settings that last long enough to be ended on the way, with many checkpoints within an epoch."""
    return {"preset": preset, "training": {"epochs": EPOCHS, "checkpoint_minutes": 1e-3}}


def as_options(settings: dict[str, Any], inside: str = "") -> list[str]:
    """Return nested settings as the command line takes them."""
    options = []
    for key, value in settings.items():
        if isinstance(value, dict):
            options += as_options(value, f"{inside}{key}.")
        else:
            options += ["--set", f"{inside}{key}={value}"]
    return options


def started(out: Path, preset: str, workers: int = 0) -> subprocess.Popen[str]:
    """Start a long training in a process group of its own, and wait until it has two epochs behind it."""
    options = as_options(SMALL) + as_options(long_settings(preset)) + ["--set", f"training.workers={workers}"]
    words = command("train", DIGITS, "--out", out, "--recipe", "mnist", "--device", "cpu", *options)
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while len(Run(out).read_log()) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.01)
    return process


def in_a_process(*words: object) -> None:
    """Call a verb in a process of its own: numbers must not depend on what this one has loaded and set."""
    done = subprocess.run(command(*words, "--quiet"), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def resumed(run: Path) -> Run:
    in_a_process("train", DIGITS, "--out", run, "--resume", "--device", "cpu")
    return Run(run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Trained without a stop, by either preset, in processes of their own like those that are ended."""
    folder = tmp_path_factory.mktemp("whole")
    for preset in PRESETS:
        options = as_options(SMALL) + as_options(long_settings(preset))
        in_a_process("train", DIGITS, "--out", folder / preset, "--recipe", "mnist", "--device", "cpu", *options)
    return {preset: Run(folder / preset) for preset in PRESETS}


@pytest.mark.parametrize(
    ("number", "status", "preset"),
    [
        (signal.SIGTERM, 143, "paper"),
        (signal.SIGINT, 130, "authors-code"),
        (signal.SIGKILL, -9, "paper"),
        (signal.SIGKILL, -9, "authors-code"),
    ],
)
def test_resumed_equals_uninterrupted(
    number: signal.Signals, status: int, preset: str, whole: dict[str, Run], tmp_path: Path
) -> None:
    process = started(tmp_path / "run", preset)
    process.send_signal(number)
    out, err = process.communicate(timeout=100)
    assert process.returncode == status
    assert out == ""
    assert "Traceback" not in err
    run = Run.open(tmp_path / "run")
    assert (run.path / "checkpoints" / "last.pt").is_file()
    if number != signal.SIGKILL:
        assert run.read_log()[-1]["stopped"] == "signal"
    assert run.read_log()[-1]["step"] < whole[preset].read_log()[-1]["step"]
    assert_same_run(whole[preset], resumed(run.path))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_processes_leaves_the_workers_to_the_training(
    number: signal.Signals, status: int, whole: dict[str, Run], tmp_path: Path
) -> None:
    """As Ctrl-C does in a terminal, and SIGTERM in a batch system."""
    process = started(tmp_path / "run", "paper", workers=1)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == status, err
    assert "Traceback" not in err
    assert Run(tmp_path / "run").read_log()[-1]["stopped"] == "signal"
    assert_same_run(whole["paper"], resumed(tmp_path / "run"))


def test_a_second_training_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    process = started(tmp_path / "run", "paper")
    try:
        ended = call("train", DIGITS, "--out", tmp_path / "run", "--overwrite", "--device", "cpu")
        assert_refused(ended, "another process is writing to this run; wait for it, or choose another --out")
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "run" / "weights.safetensors").is_file()


# ---- what a resumed run takes, and what it refuses


def test_minutes_end_a_run_and_more_of_them_go_on(tmp_path: Path) -> None:
    plain = small_run(tmp_path / "plain")
    run = small_run(tmp_path / "run", {"training": {"minutes": 1e-6}})
    assert run.read_log()[-1]["stopped"] == "minutes"
    ended = call("train", DIGITS, "--out", run.path, "--resume", "--minutes", 60, "--device", "cpu", "--quiet")
    assert ended.status == 0
    assert_same_run(plain, run)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("finished") / "run", {"training": {"epochs": 1}}).path


# ---- what a resumed run leaves


def test_each_line_of_the_log_is_json(finished: Path) -> None:
    for line in (finished / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
