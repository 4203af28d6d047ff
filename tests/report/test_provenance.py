from __future__ import annotations

import torch
from tests.support.report import page_of

from dualcontrast.api import Run
from dualcontrast.version import __version__


def test_the_page_says_how_run_and_report_were_made(run: Run) -> None:
    text = page_of(run.report(how="pca").path).texts["provenance"]
    assert f"Run folder {run.path.resolve()} " in text
    assert "Weights best (lowest validation loss) " in text
    assert f"Report dualcontrast {__version__}, torch {torch.__version__}, " in text
    assert "Trained on cpu, " in text
    assert f"dualcontrast report {run.path} --how pca" in text
    assert "name: dualcontrast" in text
