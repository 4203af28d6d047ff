"""A small image demo: the files it makes, and what it prints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.command import call
from tests.support.runs import SMALL

from dualcontrast import api
from dualcontrast.demo import digits as module
from dualcontrast.evaluation import swap
from dualcontrast.settings import merged


def shorter(make: Any, *words: Any, settings: Any, **options: Any) -> Any:
    return make(*words, settings=merged(settings, SMALL), **options)


def test_every_step_makes_its_files_and_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "train", partial(shorter, api.train))
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 20)
    out = tmp_path / "digits"
    ended = call("demo", "--digits", "--out", out)
    assert ended.status == 0, ended.err
    figures = [line.split()[0] for line in ended.out.splitlines() if ".png " in line]
    assert len(figures) == 4
    for figure in figures:
        with Image.open(figure) as picture:
            assert min(picture.size) > 100
    assert ended.out.splitlines()[-1] == f"Report: {out}/report.html; open it in a browser"
    assert "Do hybrids keep both?" in (out / "report.html").read_text(encoding="utf-8")
