from __future__ import annotations

import pytest

from dualcontrast.progress import Progress, silent


def test_silent_takes_any_progress_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = silent
    progress("encoding", 3, None)
    progress("training", 3, 10, epoch=1, total=0.5)  # a part of a loss may have the name of a parameter
    assert capsys.readouterr() == ("", "")
