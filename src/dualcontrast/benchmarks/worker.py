"""The work of one cell, in its own process: train or resume, encode, score, draw, and store the result."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import torch

from dualcontrast.api import Run, train
from dualcontrast.benchmarks.cells import EMBEDDING, Cell, CellResult, TrainingCost, write_result
from dualcontrast.errors import RunError
from dualcontrast.evaluation.results import Scores
from dualcontrast.evaluation.scores import read_scores
from dualcontrast.files import write_json
from dualcontrast.methods import method_named
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import recipe_of
from dualcontrast.runs import RunFolder
from dualcontrast.version import __version__

EMBEDDED = 2000  # images in an embedding


def run_cell(cell: Cell, results: Path, work: Path, device: str = "cpu", progress: Progress = silent) -> None:
    """Train and score a cell, as far as this has not been done, and store its result.

    Parameters
    ----------
    cell
        The cell, with the place of its images.
    results, work
        Folders of stored results and of run folders.
    device
        The device to compute on.
    progress
        Called during training, encoding and scoring.

    Raises
    ------
    DualContrastError
        Training, encoding or scoring raised it.
    """
    run = Run(work / cell.run_name)
    if not is_trained(run):
        trained = _train(run, cell, device, progress)
        peak = _peak_memory(device) if trained else None  # another process, now gone, did the training
        write_json(_marker(run), {"peak_memory": peak, "device": _device_name(device)})
    run.encode(device=device, progress=progress)
    scores = run.evaluate(device=device, progress=progress)
    if method_named(cell.recipe["method"]["name"]).has_decoder:
        run.transfer(device=device, progress=progress)
        scores = read_scores(run) or scores
    for code in ("content", "transformation"):
        with suppress(RunError):  # codes that are all equal, for example, have no embedding; the scores show it
            run.embed(code=code, how=EMBEDDING, limit=EMBEDDED, device=device, progress=progress)
    write_result(results, _result(run, cell, scores))


def is_trained(run: RunFolder) -> bool:
    """Return whether the run of a cell has been trained to its end."""
    return _marker(run).is_file() and run.weights_path("best").is_file()


def exit_when_closed(pipe: int) -> None:
    """End this process, as SIGTERM would, once a pipe is closed because the process at its other end is gone."""

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _marker(run: RunFolder) -> Path:
    """Return the file that marks a finished training."""
    return run.path / "trained.json"


def _train(run: Run, cell: Cell, device: str, progress: Progress) -> bool:
    """Train from the start or from the last checkpoint; return whether there was anything to train."""
    assert cell.source is not None
    resume = (run.path / "checkpoints" / "last.pt").is_file()
    if resume and run.read_log() and run.read_log()[-1].get("stopped") in ("epochs", "minutes"):
        return False  # the process ended after the training, before it wrote the marker
    # Time of the processor does not depend on what else runs on the machine.
    clock = time.process_time if device == "cpu" else time.monotonic
    train(
        cell.source,
        out=run.path,
        recipe=None if resume else recipe_of(cell.recipe),
        device=device,
        resume=resume,
        overwrite=not resume,
        progress=progress,
        clock=clock,
        **cell.options,
    )
    return True


def _result(run: Run, cell: Cell, scores: Scores) -> CellResult:
    """Collect all that a table may show of a cell."""
    last = run.read_log()[-1]
    data = run.config().data
    trained = json.loads(_marker(run).read_text(encoding="utf-8"))
    return CellResult(
        cell=cell.key,
        scores=scores.to_json(),
        images=data.images or 0,
        shape=list(data.shape),
        training=TrainingCost(
            steps=last["step"],
            images_seen=last["images_seen"],
            epochs=last["epoch"],
            seconds=last["seconds"],
            stopped_by=last["stopped"],
            peak_memory=trained["peak_memory"],
            device=trained["device"],
            threads=torch.get_num_threads(),
        ),
        versions={
            "dualcontrast": __version__,
            "torch": str(torch.__version__),
            "python": sys.version.split()[0],
        },
    )


def _peak_memory(device: str) -> int:
    """Measure the most memory used so far, in bytes: of the GPU if there is one, otherwise of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
