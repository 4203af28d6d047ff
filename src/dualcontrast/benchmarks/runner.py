"""Run cells at the same time, each in its own process with one thread or one GPU."""

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
from dataclasses import dataclass
from pathlib import Path

import torch

from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.outcome import Failure
from dualcontrast.devices import find_device, processors
from dualcontrast.progress import Progress, silent
from dualcontrast.training.interrupt import stop_requests

LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA", "VECLIB_MAXIMUM")
SINGLE_THREADED = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}
COMMAND = [sys.executable, "-m", "dualcontrast", "benchmark", "cell"]
GRACE_SECONDS = 60.0  # for stopped cells to save their checkpoints


@dataclass(frozen=True)
class Setup:
    """The folders and devices of a benchmark.

    Attributes
    ----------
    results : Path
        Folder of stored results; a cell that has one is not trained.
    work : Path
        Folder of run folders, from which stopped cells resume, and of the logs of failed cells.
    out : Path
        Folder for tables and figures.
    devices : sequence of str
        The device of each cell that runs at the same time, as `job_devices` lists them.
    """

    results: Path
    work: Path
    out: Path
    devices: Sequence[str]


def job_devices(device: str, jobs: int | None = None) -> list[str]:
    """List the devices of the cells that run at the same time: one GPU each, or the CPU for each of its cores.

    Parameters
    ----------
    device
        auto, cpu, cuda or cuda:1.
    jobs
        The number of cells on the CPU, or the most GPUs to use.

    Raises
    ------
    DeviceError
        There is no such device.
    """
    found = find_device(device)
    if found.type == "cpu":
        return ["cpu"] * (jobs or processors())
    if str(found) == "cuda":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())][:jobs]
    return [str(found)]


def log_path(work: Path, cell: Cell) -> Path:
    """Return the file with the standard error of a cell; it is removed if the cell succeeds."""
    return work / f"{cell.run_name}.log"


def failure_reason(work: Path, cell: Cell) -> str:
    """Read the last sentence of a failed cell; an empty text if it has not failed."""
    path = log_path(work, cell)
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return last.removeprefix("dualcontrast: ")


def run_cells(cells: Sequence[Cell], setup: Setup, progress: Progress = silent) -> list[Failure]:
    """Run cells, one on each device at a time.

    On Ctrl-C or SIGTERM the running cells save a checkpoint, from which another call resumes.

    Parameters
    ----------
    cells
        The cells to train and score.
    setup
        Folders and devices.
    progress
        Called with the number of finished cells, and the minutes that each running cell has taken.

    Returns
    -------
    list of Failure
        The cells that failed, in the order of their failure.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM.
    """
    if not cells:
        return []
    setup.work.mkdir(parents=True, exist_ok=True)
    processes = _CellProcesses(setup)
    with stop_requests() as request, ThreadPoolExecutor(len(setup.devices)) as pool:
        waiting: set[Future[None]] = {pool.submit(processes.run, cell) for cell in cells}
        try:
            while waiting and request.signal is None:
                progress("cells", len(cells) - len(waiting), len(cells), **processes.minutes())
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for finished in done:
                    finished.result()
            if request.signal is not None:
                processes.end()
                wait(waiting, timeout=GRACE_SECONDS)
        finally:
            processes.end(kill=True)
    request.raise_signal()
    progress("cells", len(cells), len(cells))
    return processes.failures


class _CellProcesses:
    """The processes of the cells that are running."""

    def __init__(self, setup: Setup) -> None:
        self.failures: list[Failure] = []
        self._setup = setup
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for device in setup.devices:
            self._free.put(device)
        self._running: dict[str, tuple[subprocess.Popen[str], float]] = {}
        self._lock = threading.Lock()
        self._ending = False

    def run(self, cell: Cell) -> None:
        """Run a cell in its own process on the next free device, unless all are ending."""
        device, log = self._free.get(), log_path(self._setup.work, cell)
        try:
            process = self._start(cell, device)
            if process is None:
                return
            status = process.wait()
            with suppress(BrokenPipeError):  # if it ended before it had read its cell
                assert process.stdin is not None
                process.stdin.close()
            with self._lock:
                del self._running[cell.name]
                succeeded = status == 0 or self._ending
            if succeeded:
                log.unlink()
                return
            if status < 0:
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"ended by signal {-status}; if that is 9, memory may have run out\n")
            self.failures.append(Failure(cell.name, status, failure_reason(self._setup.work, cell)))
        finally:
            self._free.put(device)

    def _start(self, cell: Cell, device: str) -> subprocess.Popen[str] | None:
        """Start a process in its own session, which Ctrl-C does not reach, and send it the cell."""
        folders = ("--results", str(self._setup.results), "--work", str(self._setup.work))
        with self._lock:
            if self._ending:
                return None
            with log_path(self._setup.work, cell).open("w") as log:
                process = subprocess.Popen(
                    [*COMMAND, *folders, "--device", device],
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
            process.stdin.flush()  # and left open: the process ends when it is closed, as when this process ends
        return process

    def end(self, kill: bool = False) -> None:
        """Ask all processes to save a checkpoint and end, or kill them."""
        with self._lock:
            self._ending = True
            for process, _ in self._running.values():
                process.kill() if kill else process.terminate()

    def minutes(self) -> dict[str, float]:
        """Return the minutes that each running cell has taken."""
        with self._lock:
            return {
                f"minutes of {name.rpartition('-')[0]}": round((time.monotonic() - start) / 60, 1)
                for name, (_, start) in self._running.items()
            }
