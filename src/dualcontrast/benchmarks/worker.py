"""The work of one cell, in a process of its own: train or go on, encode, score, draw, and store the result."""

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
from typing import Any

import torch

from dualcontrast.api import Run, train
from dualcontrast.benchmarks.cells import EMBEDDING, Cell, write_result
from dualcontrast.errors import RunError
from dualcontrast.evaluation.results import Scores
from dualcontrast.evaluation.scores import read_scores
from dualcontrast.files import write_json
from dualcontrast.methods import method_named
from dualcontrast.progress import Progress, silent
from dualcontrast.recipe import recipe_of
from dualcontrast.runs import RunFolder
from dualcontrast.version import __version__

EMBEDDED = 2000  # images in a picture of codes


def do_cell(cell: Cell, results: Path, work: Path, device: str = "cpu", progress: Progress = silent) -> None:
    """Do what is still to be done of a cell, and store its result.

    Parameters
    ----------
    cell
        What to train and where its images are.
    results, work
        Folders of stored results and of run folders.
    device
        Where to compute.
    progress
        Told of training, encoding and scoring.

    Raises
    ------
    DualContrastError
        As training, encoding and scoring do.
    """
    run = Run(work / cell.run_name)
    if not is_trained(run):
        trained = _train(run, cell, device, progress)
        peak = _peak_memory(device) if trained else None  # that of this process would tell nothing of the training
        write_json(_mark(run), {"peak_memory": peak, "device": _device_name(device)})
    run.encode(device=device, progress=progress)
    scores = run.evaluate(device=device, progress=progress)
    if method_named(cell.recipe["method"]["name"]).has_decoder:
        run.transfer(device=device, progress=progress)
        scores = read_scores(run) or scores
    for code in ("content", "transformation"):
        with suppress(RunError):  # codes that are all equal, say, cannot be laid out; their scores show it
            run.embed(code=code, how=EMBEDDING, limit=EMBEDDED, device=device, progress=progress)
    write_result(results, cell, _result(run, cell, scores))


def is_trained(run: RunFolder) -> bool:
    """Return whether a cell's run has been trained to its end."""
    return _mark(run).is_file() and run.weights_path("best").is_file()


def end_with(pipe: int) -> None:
    """End this process, as SIGTERM would, once a pipe is closed: whoever held its other end is gone."""

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _mark(run: RunFolder) -> Path:
    """Return the file that is written once a run's training is over."""
    return run.path / "trained.json"


def _train(run: Run, cell: Cell, device: str, progress: Progress) -> bool:
    """Train from the start, or from the last checkpoint; return whether there was anything to train."""
    assert cell.source is not None
    begun = (run.path / "checkpoints" / "last.pt").is_file()
    if begun and run.read_log() and run.read_log()[-1].get("stopped") in ("epochs", "minutes"):
        return False  # it was over, and the process ended before that was noted
    train(
        cell.source,
        out=run.path,
        recipe=None if begun else recipe_of(cell.recipe),
        device=device,
        resume=begun,
        overwrite=not begun,
        progress=progress,
        clock=time.process_time
        if device == "cpu"
        else time.monotonic,  # of one thread: whatever else runs beside it
        **cell.options,
    )
    return True


def _result(run: Run, cell: Cell, scores: Scores) -> dict[str, Any]:
    """Return what is stored of a cell: all that a table may show."""
    last = run.read_log()[-1]
    data = run.config().data
    trained = json.loads(_mark(run).read_text(encoding="utf-8"))
    return {
        "scores": scores.to_json(),
        "data": {"images": data.images, "shape": list(data.shape)},
        "training": {
            "steps": last["step"],
            "images_seen": last["images_seen"],
            "epochs": last["epoch"],
            "seconds": last["seconds"],
            "stopped_by": last["stopped"],
            "peak_memory": trained["peak_memory"],
            "device": trained["device"],
            "threads": torch.get_num_threads(),
        },
        "versions": {
            "dualcontrast": __version__,
            "torch": str(torch.__version__),
            "python": sys.version.split()[0],
        },
    }


def _peak_memory(device: str) -> int:
    """Return the most memory used so far, in bytes: of the GPU where there is one, else of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
