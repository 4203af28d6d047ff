from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.runs import DIGITS, small_run

from dualcontrast.api import Run

TRAIN = ["train", str(DIGITS), "--recipe", "mnist", "--device", "cpu", "--limit", "400", "--seed", "3"]
TRAIN += ["--set", "training.batch_size=40", "--set", "network.decoder.hidden=[32]"]


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from dualcontrast.cli import main; main()", *map(str, words)]


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=250)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("cli") / "run")


def test_every_verb_answers_in_json(run: Run, tmp_path: Path) -> None:
    for words in (
        ["train", DIGITS, "--out", tmp_path / "a", "--limit", "300", "--epochs", "1", "--show-pairs"],
        ["encode", run.path],
        ["encode", run.path, DIGITS, "--out", tmp_path / "codes"],
        ["evaluate", run.path],
        ["transfer", run.path, "--count", "3"],
        ["embed", run.path, "--how", "pca"],
    ):
        done = call(*words, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
    assert (tmp_path / "a" / "figures" / "pairs.png").is_file()
    assert np.load(tmp_path / "codes" / "content.npy").shape == (6000, 10)
    quiet = call("evaluate", run.path, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "nowhere.npz", "--out", "x"], "nowhere.npz: no such file or folder"),
        (["train", DIGITS, "--out", "x", "--set", "training.epoch=3"], "did you mean epochs?"),
        (["train", DIGITS, "--out", "x", "--set", "epochs"], "sets nothing; write it as key=value"),
        (["train", DIGITS, "--out", "x", "--recipe", "mnits"], "did you mean mnist?"),
        (["train", DIGITS, "--out", "x", "--method", "dualcontrst"], "did you mean dualcontrast?"),
        (["train", DIGITS, "--out", "x", "--set", "preset=author"], "did you mean authors-code?"),
        (["train", DIGITS, "--out", "x", "--limit", "50"], "fewer than a batch of 100"),
        (["train", DIGITS, "--out", "x", "--device", "gpu"], "'gpu' is no device"),
        (["evaluate", "nowhere"], "nowhere: no such run folder"),
        (["evaluate", "."], "not a run folder"),
    ],
)
def test_bad_input_ends_in_one_sentence(words: list[str], sentence: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x" / "config.yaml").exists()


def test_images_with_nan_one_class_and_missing_weights(run: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((120, 28, 28)).astype(np.float32)
    content = np.zeros(120, int)
    np.savez(tmp_path / "one.npz", images=pixels, content=content)
    pixels[7, 3, 3] = np.nan
    np.savez(tmp_path / "nan.npz", images=pixels)
    done = call("train", tmp_path / "nan.npz", "--out", tmp_path / "a")
    assert done.returncode == 2
    assert "row 7 holds NaN" in done.stderr
    trained = call(
        "train", tmp_path / "one.npz", "--out", tmp_path / "b", "--epochs", "1", "--set", "training.batch_size=20"
    )
    assert trained.returncode == 0, trained.stderr
    scored = call("evaluate", tmp_path / "b")
    assert scored.returncode == 2
    assert "two classes" in scored.stderr
    (tmp_path / "b" / "weights.safetensors").unlink()
    assert "no weights.safetensors yet" in call("evaluate", tmp_path / "b").stderr


def started(out: Path) -> subprocess.Popen[str]:
    """Start a training that leaves a checkpoint each epoch, and wait for the second."""
    process = subprocess.Popen(
        command(*TRAIN, "--out", out, "--epochs", "40"), stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    deadline = time.monotonic() + 200
    while len(Run(out).read_log()) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert call(*TRAIN, "--out", out, "--epochs", "40").returncode == 0
    return out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(
    number: signal.Signals, status: int, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = started(out)
    second = call(*TRAIN, "--out", out, "--overwrite")
    assert second.returncode == 2
    assert "another process is writing to this run" in second.stderr
    process.send_signal(number)
    message = process.communicate(timeout=100)[1]
    assert process.returncode == status
    assert "Traceback" not in message
    resumed = call("train", DIGITS, "--out", out, "--resume", "--device", "cpu")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("weights.safetensors", "checkpoints/last.safetensors"):
        one, other = load_file(whole / name), load_file(out / name)
        assert all(torch.equal(one[key], other[key]) for key in one)
