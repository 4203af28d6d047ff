"""Cells in their own processes: here a small program stands for the cell."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from dualcontrast.benchmarks import runner
from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.outcome import Failure
from dualcontrast.benchmarks.runner import Setup, failure_reason, job_devices, log_path, run_cells
from dualcontrast.errors import DeviceError

Program = Callable[[str], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Let a Python script stand for the cell; `row` is the row of the cell."""
    start = "import json, os, sys, time, signal\nrow = json.loads(sys.stdin.readline())['row']\n"

    def stand_in(text: str) -> None:
        monkeypatch.setattr(runner, "COMMAND", [sys.executable, "-c", start + text])

    return stand_in


def setup(folder: Path, *devices: str) -> Setup:
    return Setup(folder, folder, folder, devices)


def cells(*rows: str) -> list[Cell]:
    return [Cell("table1", row, "mnist", 0, "abc", {"method": {"name": row}}, "mnist", {}) for row in rows]


def test_cells_take_turns_on_their_devices_with_one_thread_each(program: Program, tmp_path: Path) -> None:
    program(
        f"from pathlib import Path\ndevice = sys.argv[sys.argv.index('--device') + 1]\n"
        f"file = Path({str(tmp_path)!r}) / row\nbegun = time.time()\ntime.sleep(0.3)\n"
        "file.write_text(f\"{device} {os.environ['OMP_NUM_THREADS']} {begun} {time.time()}\")"
    )
    counts: list[tuple[int, int | None]] = []
    minutes: dict[str, float] = {}

    def progress(what: str, done: int, total: int | None, /, **taken: float) -> None:
        counts.append((done, total))
        minutes.update(taken)

    assert run_cells(cells(*"abcd"), setup(tmp_path, "x", "y"), progress) == []
    assert {name.rpartition("-")[0] for name in minutes} <= {f"minutes of mnist-{row}" for row in "abcd"}
    assert all(taken == round(taken, 1) for taken in minutes.values())
    spans: dict[str, list[tuple[float, float]]] = {"x": [], "y": []}
    for row in "abcd":
        device, threads, begun, ended = (tmp_path / row).read_text().split()
        assert threads == "1"
        spans[device].append((float(begun), float(ended)))
    for taken in spans.values():
        taken.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(taken))
    assert counts[0] == (0, 4)
    assert counts[-1] == (4, 4)
    assert not list(tmp_path.glob("*.log"))


def test_a_failed_cell_is_reported_and_the_others_run(program: Program, tmp_path: Path) -> None:
    program(
        "if row == 'a':\n    sys.exit('dualcontrast: the loss is no longer a number')\n"
        "if row == 'b':\n    sys.stderr.write('dualcontrast: no such file\\n'); sys.exit(2)\n"
        "if row == 'c':\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    a, b, c, d = cells(*"abcd")
    assert run_cells([a, b, c, d], setup(tmp_path, "cpu")) == [
        Failure(a.name, 1, "the loss is no longer a number"),
        Failure(b.name, 2, "no such file"),
        Failure(c.name, -9, "ended by signal 9; if that is 9, memory may have run out"),
    ]
    assert failure_reason(tmp_path, a) == "the loss is no longer a number"
    assert failure_reason(tmp_path, d) == ""
    program("")
    assert run_cells([a], setup(tmp_path, "cpu")) == []
    assert not log_path(tmp_path, a).exists()


def send_signals(folder: Path, count: int, *numbers: signal.Signals) -> None:
    """Send this process signals, one after the other, once `count` cells have begun."""

    def send() -> None:
        while len(list(folder.glob("*-begun"))) < count:
            time.sleep(0.02)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(1)

    threading.Thread(target=send).start()


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lets_the_running_cells_end_and_starts_no_more(
    number: signal.Signals, ending: type[BaseException], program: Program, tmp_path: Path
) -> None:
    program(
        f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n"
        "def end(*_):\n    time.sleep(0.2); (folder / f'{row}-saved').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n(folder / f'{row}-begun').touch()\ntime.sleep(60)"
    )
    send_signals(tmp_path, 2, number)
    begun = time.monotonic()
    with pytest.raises(ending):
        run_cells(cells(*"abcd"), setup(tmp_path, "cpu", "cpu"))
    assert time.monotonic() - begun < 30
    assert len(list(tmp_path.glob("*-begun"))) == len(list(tmp_path.glob("*-saved"))) == 2
    assert not list(tmp_path.glob("*.log"))


def test_a_second_signal_kills_the_running_cells(program: Program, tmp_path: Path) -> None:
    program(
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nfile = open({str(tmp_path / 'a-begun')!r}, 'w')\n"
        "file.write(str(os.getpid())); file.close()\ntime.sleep(60)"
    )
    send_signals(tmp_path, 1, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells("a"), setup(tmp_path, "cpu"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "a-begun").read_text()), 0)


def test_the_cpu_runs_a_cell_on_each_core() -> None:
    assert job_devices("cpu", 3) == ["cpu"] * 3
    assert job_devices("cpu", None) == ["cpu"] * len(os.sched_getaffinity(0))
    with pytest.raises(DeviceError, match="tpu"):
        job_devices("tpu", None)


def test_every_gpu_runs_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert job_devices("cuda", None) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert job_devices("cuda", 2) == ["cuda:0", "cuda:1"]
    assert job_devices("cuda:3", None) == ["cuda:3"]


def test_without_cells_nothing_is_made(tmp_path: Path) -> None:
    assert run_cells([], setup(tmp_path / "new", "cpu")) == []
    assert not (tmp_path / "new").exists()
