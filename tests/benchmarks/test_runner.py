"""Cells in processes of their own: here any small program stands for the cell."""

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
from dualcontrast.benchmarks.runner import log_path, places_of, reason_of_failure, run_cells
from dualcontrast.errors import DeviceError

Program = Callable[[str], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Let a text of Python stand for the cell; `row` is the cell's row."""
    start = "import json, os, sys, time, signal\nrow = json.loads(sys.stdin.readline())['row']\n"

    def stand_in(text: str) -> None:
        monkeypatch.setattr(runner, "COMMAND", [sys.executable, "-c", start + text])

    return stand_in


def cells(*rows: str) -> list[Cell]:
    return [Cell("table1", row, "mnist", 0, {"method": {"name": row}}, "mnist", {}, "abc") for row in rows]


def test_cells_take_turns_at_their_places_with_one_thread_each(program: Program, tmp_path: Path) -> None:
    program(
        f"from pathlib import Path\nplace = sys.argv[sys.argv.index('--device') + 1]\n"
        f"file = Path({str(tmp_path)!r}) / row\nbegun = time.time()\ntime.sleep(0.3)\n"
        "file.write_text(f\"{place} {os.environ['OMP_NUM_THREADS']} {begun} {time.time()}\")"
    )
    told: list[tuple[int, int | None]] = []
    minutes: dict[str, float] = {}

    def progress(what: str, done: int, total: int | None, /, **taken: float) -> None:
        told.append((done, total))
        minutes.update(taken)

    failed = run_cells(cells(*"abcd"), tmp_path, tmp_path, ["x", "y"], progress)
    assert failed == {}
    assert {name.rpartition("-")[0] for name in minutes} <= {f"minutes of mnist-{row}" for row in "abcd"}
    assert all(taken == round(taken, 1) for taken in minutes.values())
    spans: dict[str, list[tuple[float, float]]] = {"x": [], "y": []}
    for row in "abcd":
        place, threads, begun, ended = (tmp_path / row).read_text().split()
        assert threads == "1"
        spans[place].append((float(begun), float(ended)))
    for taken in spans.values():
        taken.sort()
        assert all(one[1] <= other[0] for one, other in pairwise(taken))
    assert told[0] == (0, 4)
    assert told[-1] == (4, 4)
    assert not list(tmp_path.glob("*.log"))


def test_a_failed_cell_is_told_and_the_others_go_on(program: Program, tmp_path: Path) -> None:
    program(
        "if row == 'a':\n    sys.exit('dualcontrast: the loss is no longer a number')\n"
        "if row == 'b':\n    sys.stderr.write('dualcontrast: no such file\\n'); sys.exit(2)\n"
        "if row == 'c':\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    a, b, c, d = cells(*"abcd")
    assert run_cells([a, b, c, d], tmp_path, tmp_path, ["cpu"]) == {a.name: 1, b.name: 2, c.name: -9}
    assert reason_of_failure(tmp_path, a) == "the loss is no longer a number"
    assert reason_of_failure(tmp_path, b) == "no such file"
    assert reason_of_failure(tmp_path, c) == "ended by signal 9; if that is 9, memory may have run out"
    assert reason_of_failure(tmp_path, d) == ""
    program("")
    assert run_cells([a], tmp_path, tmp_path, ["cpu"]) == {}
    assert not log_path(tmp_path, a).exists()


def once_begun(folder: Path, count: int, *numbers: signal.Signals) -> None:
    """Send this process signals, one after the other, when so many cells have begun."""

    def send() -> None:
        while len(list(folder.glob("*-begun"))) < count:
            time.sleep(0.02)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(1)

    threading.Thread(target=send).start()


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lets_the_cells_end_in_their_own_way_and_starts_no_more(
    number: signal.Signals, ending: type[BaseException], program: Program, tmp_path: Path
) -> None:
    program(
        f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n"
        "def end(*_):\n    time.sleep(0.2); (folder / f'{row}-saved').touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n(folder / f'{row}-begun').touch()\ntime.sleep(60)"
    )
    once_begun(tmp_path, 2, number)
    begun = time.monotonic()
    with pytest.raises(ending):
        run_cells(cells(*"abcd"), tmp_path, tmp_path, ["cpu", "cpu"])
    assert time.monotonic() - begun < 30
    assert len(list(tmp_path.glob("*-begun"))) == len(list(tmp_path.glob("*-saved"))) == 2
    assert not list(tmp_path.glob("*.log"))


def test_a_second_signal_ends_all_at_once(program: Program, tmp_path: Path) -> None:
    program(
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nfile = open({str(tmp_path / 'a-begun')!r}, 'w')\n"
        "file.write(str(os.getpid())); file.close()\ntime.sleep(60)"
    )
    once_begun(tmp_path, 1, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_cells(cells("a"), tmp_path, tmp_path, ["cpu"])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "a-begun").read_text()), 0)


def test_places() -> None:
    assert places_of("cpu", 3) == ["cpu"] * 3
    assert places_of("cpu", None) == ["cpu"] * len(os.sched_getaffinity(0))
    with pytest.raises(DeviceError, match="tpu"):
        places_of("tpu", None)


def test_every_gpu_has_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert places_of("cuda", None) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert places_of("cuda", 2) == ["cuda:0", "cuda:1"]
    assert places_of("cuda:3", None) == ["cuda:3"]
