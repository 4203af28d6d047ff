"""Runs that have codes, but no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dualcontrast.runs import RunFolder, SavedCodes, write_codes


def run_with_codes(folder: Path, contents: np.ndarray, transformations: np.ndarray, **columns: Any) -> RunFolder:
    """Make a run with codes of the rows from 50; its weights are older than they, and never read."""
    run = RunFolder(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    run.weights_path("best").touch()
    table = pd.DataFrame({"row": np.arange(len(contents)) + 50, **columns})
    codes = contents.astype(np.float32), transformations.astype(np.float32)
    write_codes(run.codes_folder(), SavedCodes(*codes, *codes, table))
    return run
