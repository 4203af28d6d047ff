"""The verb doctor: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest
import torch
from tests.support.command import call

from dualcontrast import __version__, doctor
from dualcontrast.doctor import Examination, Part

SOUND = Examination(
    versions={"dualcontrast": "1.2", "Python": "3.11"},
    processors=4,
    threads=2,
    missing=[],
    parts=[Part("a", "x", "get it"), Part("b", "y", "get it", "1.2")],
)


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        (SOUND, []),
        (replace(SOUND, missing=["p is missing; pip install p"]), ["p is missing; pip install p"]),
        (replace(SOUND, parts=[Part("c", "z", "get it", "1", "no such symbol")]), ["c: no such symbol"]),
    ],
)
def test_faults_decide_the_status(monkeypatch: pytest.MonkeyPatch, found: Examination, faults: list[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: found)
    lines, as_json, silent = call("doctor"), call("doctor", "--json"), call("doctor", "--quiet")
    assert {lines.status, as_json.status, silent.status} == {2 if faults else 0}
    assert lines.out.splitlines() == found.describe()
    printed = json.loads(as_json.out)
    assert printed == json.loads(json.dumps(found.as_dict()))
    assert printed["faults"] == faults
    assert silent.out == lines.err == as_json.err == silent.err == ""


def test_the_command_prints_lines_and_json() -> None:
    ended = call("doctor")
    assert ended.status == 0
    assert ended.out.startswith(
        f"dualcontrast {__version__}, Python {sys.version.split()[0]}, torch {torch.__version__}"
    )
    printed = json.loads(call("doctor", "--json").out)
    assert printed["faults"] == printed["missing"] == []
    assert printed["threads"] == torch.get_num_threads()
    assert printed["processors"] <= (os.cpu_count() or 1)
    names = [part["name"] for part in printed["parts"]]
    assert names == ["GPU", "RELION", "libcpab", "trimesh", "embreex", "mkdocs-material", "Chromium"]
    for each in printed["parts"]:
        assert each["adds"]
        assert each["get"]
        assert f"  {each['name']}: " in ended.out
    assert call("doctor", "--quiet").out == ""
