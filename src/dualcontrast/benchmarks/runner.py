"""Cells, several at a time, each in a process of its own with one thread, or with a GPU."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import torch

from dualcontrast.benchmarks.cells import Cell
from dualcontrast.devices import device_named, processors
from dualcontrast.progress import Progress, silent
from dualcontrast.training.interrupt import stop_requests

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")
SINGLE_THREADED = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}
COMMAND = [sys.executable, "-m", "dualcontrast", "benchmark", "cell"]
PATIENCE = 60.0  # seconds that cells which are asked to stop have for their checkpoint


def places_of(device: str, jobs: int | None) -> list[str]:
    """Return where cells run at the same time: a GPU each, or as many on the CPU as it has cores.

    Parameters
    ----------
    device
        auto, cpu, cuda or cuda:1.
    jobs
        So many on the CPU; at most so many GPUs.

    Raises
    ------
    DeviceError
        There is no such device.
    """
    found = device_named(device)
    if found.type == "cpu":
        return ["cpu"] * (jobs or processors())
    if str(found) == "cuda":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())][:jobs]
    return [str(found)]


def log_path(work: Path, cell: Cell) -> Path:
    """Return the file of what a cell said on its standard error; there is none where all went well."""
    return work / f"{cell.run_name}.log"


def reason_of_failure(work: Path, cell: Cell) -> str:
    """Return the sentence that a failed cell ended with; an empty text where it has not failed."""
    path = log_path(work, cell)
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last.removeprefix("dualcontrast: ")


def run_cells(
    cells: Sequence[Cell], results: Path, work: Path, places: Sequence[str], progress: Progress = silent
) -> dict[str, int]:
    """Do cells, one at each place at a time.

    On Ctrl-C or SIGTERM the cells under way leave a checkpoint, from which another call goes on.

    Parameters
    ----------
    cells
        What to do.
    results, work
        Folders of stored results, and of run folders and the logs of cells that failed.
    places
        As `places_of` returns them.
    progress
        Told of cells that ended, and the minutes that those under way have taken.

    Returns
    -------
    dict
        The exit status of each cell that failed, by its name.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM.
    """
    work.mkdir(parents=True, exist_ok=True)
    children = _Children(results, work, places)
    with stop_requests() as request, ThreadPoolExecutor(len(places)) as pool:
        waiting: set[Future[None]] = {pool.submit(children.do, cell) for cell in cells}
        try:
            while waiting and request.signal is None:
                progress("cells", len(cells) - len(waiting), len(cells), **children.minutes())
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for each in done:
                    each.result()
            if request.signal is not None:
                children.end()
                wait(waiting, timeout=PATIENCE)
        finally:
            children.end(at_once=True)
    request.raise_signal()
    progress("cells", len(cells), len(cells))
    return children.failed


class _Children:
    """The processes of cells, which all end when they are told to."""

    def __init__(self, results: Path, work: Path, places: Sequence[str]) -> None:
        self.failed: dict[str, int] = {}
        self._results, self._work = results, work
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for place in places:
            self._free.put(place)
        self._running: dict[str, tuple[subprocess.Popen[str], float]] = {}
        self._lock = threading.Lock()
        self._ending = False

    def do(self, cell: Cell) -> None:
        """Do a cell in a process of its own at the next place that is free; not if all are ending."""
        place, log = self._free.get(), log_path(self._work, cell)
        try:
            process = self._start(cell, place)
            if process is None:
                return
            status = process.wait()
            with suppress(BrokenPipeError):  # where it ended before it had read its cell
                assert process.stdin is not None
                process.stdin.close()
            with self._lock:
                del self._running[cell.name]
                if status == 0 or self._ending:
                    log.unlink()
                    return
                self.failed[cell.name] = status
            if status < 0:
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"ended by signal {-status}; if that is 9, memory may have run out\n")
        finally:
            self._free.put(place)

    def _start(self, cell: Cell, place: str) -> subprocess.Popen[str] | None:
        """Start a process in a session of its own, which Ctrl-C does not reach, and hand it the cell."""
        words = [*COMMAND, "--results", str(self._results), "--work", str(self._work), "--device", place]
        with self._lock:
            if self._ending:
                return None
            with log_path(self._work, cell).open("w") as log:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    text=True,
                    env={**os.environ, **SINGLE_THREADED},
                    start_new_session=True,
                )
            self._running[cell.name] = process, time.monotonic()
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(cell.to_json() + "\n")
            process.stdin.flush()  # and left open: the process ends when it is closed, and so when this one does
        return process

    def end(self, at_once: bool = False) -> None:
        """Ask all to stop and leave a checkpoint, or kill them."""
        with self._lock:
            self._ending = True
            for process, _ in self._running.values():
                process.kill() if at_once else process.terminate()

    def minutes(self) -> dict[str, float]:
        """Return the minutes that each cell under way has taken."""
        with self._lock:
            return {
                f"minutes of {name.rpartition('-')[0]}": round((time.monotonic() - begun) / 60, 1)
                for name, (_, begun) in self._running.items()
            }
