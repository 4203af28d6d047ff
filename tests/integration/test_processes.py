"""Two processes share a training, as torchrun starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.runs import DIGITS

from dualcontrast.api import Run

SCRIPT = """
import sys
from dualcontrast.api import train
settings = {"preset": sys.argv[3], "network": {"decoder": {"hidden": [32]}}}
settings["training"] = {"epochs": 2, "limit": 400, "batch_size": int(sys.argv[4])}
train(sys.argv[1], out=sys.argv[2], recipe="mnist", settings=settings, device="cpu")
"""

CLOCKS = """
import json
import os
import sys
from pathlib import Path
from dualcontrast.api import train
from dualcontrast.training.loop import Training

rates, set_rate = [], Training._set_learning_rate

def noted(self):
    set_rate(self)
    rates.append(next(iter(self.optimizers.values())).param_groups[0]["lr"])

Training._set_learning_rate = noted
settings = {"network": {"decoder": {"hidden": [32]}}}
settings["training"] = {"epochs": 1000, "minutes": 0.1, "limit": 400, "batch_size": 20, "schedule": "cosine"}
train(sys.argv[1], out=sys.argv[2], recipe="mnist", settings=settings, device="cpu")
Path(sys.argv[2], f"rates-{os.environ['RANK']}.json").write_text(json.dumps(rates))
"""


def in_two_processes(folder: Path, script: str, *words: object) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(script)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = list(map(str, [*launch, path, DIGITS, folder / "run", *words]))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_two_processes_train_one_run(preset: str, tmp_path: Path) -> None:
    done = in_two_processes(tmp_path, SCRIPT, preset, 20)
    assert done.returncode == 0, done.stderr
    run = Run.open(tmp_path / "run")
    first, second, last = run.read_log()
    assert last["stopped"] == "epochs"
    # 311 images train: 7 updates an epoch, of 2 x 20 images each
    assert (second["step"], second["images_seen"]) == (14, 560)
    assert second["validation"]["total"] < first["validation"]["total"]


def test_rates_go_by_one_clock(tmp_path: Path) -> None:
    done = in_two_processes(tmp_path, CLOCKS)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / "run" / f"rates-{rank}.json").read_text()) for rank in (0, 1))
    assert len(first) > 1
    assert first == second


def test_too_few_images_for_all_processes_are_refused(tmp_path: Path) -> None:
    done = in_two_processes(tmp_path, SCRIPT, "paper", 200)
    assert done.returncode
    assert "311 images to train on are fewer than a batch of 200 for each of 2 processes" in done.stderr
