"""Two processes share a training, as torchrun starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.runs import DIGITS

from dualcontrast.api import Run

SCRIPT = """
import sys
from dualcontrast.api import train
settings = {"preset": sys.argv[3], "network": {"decoder": {"hidden": [32]}}}
settings["training"] = {"epochs": 2, "limit": 400, "batch_size": 20}
train(sys.argv[1], out=sys.argv[2], recipe="mnist", settings=settings, device="cpu")
"""


@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_two_processes_train_one_run(preset: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [*launch, script, DIGITS, tmp_path / "run", preset]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    run = Run.open(tmp_path / "run")
    first, second, last = run.read_log()
    assert last["stopped"] == "epochs"
    # 304 images train: 7 updates an epoch, of 2 x 20 images each
    assert (second["step"], second["images_seen"]) == (14, 560)
    assert second["validation"]["total"] < first["validation"]["total"]
