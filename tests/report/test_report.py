from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tests.support.command import assert_refused, call
from tests.support.runs import small_run

from dualcontrast.api import Run
from dualcontrast.errors import RunError


def test_a_run_without_codes_is_refused(tmp_path: Path) -> None:
    untouched = small_run(tmp_path / "run")
    with pytest.raises(RunError, match=r"call `run\.encode\(\)`"):
        untouched.report(how="pca")
    assert not (untouched.path / "report.html").exists()


def test_weights_have_reports_of_their_own(run: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(run.path, tmp_path / "run"))
    with pytest.raises(RunError, match=r"call `run\.encode\(weights='last'\)`"):
        run.report(weights="last")
    with pytest.raises(RunError, match="has no weights 'lst'; it has best, last"):
        run.report(weights="lst")
    run.encode(weights="last")
    done = run.report(weights="last", how="pca")
    assert done.path == run.path / "report-last.html"
    assert done.left_out["Scores"].endswith(f"dualcontrast evaluate {run.path} --weights last")
    assert "made with the weights best" in done.left_out["Clusters"]


def test_newer_runs_and_unknown_names_are_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({**config, "format": 99}))
    assert_refused(call("report", tmp_path / "run"), "made by a newer version (format 99")
    assert_refused(call("report", run.path, "--clusters", "none"), "has no clusters called none")
    assert_refused(call("report", run.path, "--how", "som"), "no layout is called som")
    assert_refused(call("report", tmp_path / "nothing"), "no such run folder")


def test_the_verb_prints_the_path_of_the_report(run: Run) -> None:
    ended = call("report", run.path, "--how", "pca")
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0].startswith("Left out of Scores: Hybrids are not scored yet: dualcontrast transfer ")
    assert re.fullmatch(r"Report: .*report\.html \(\d\.\d MB\); open it in a browser", lines[1])
    found = json.loads(call("report", run.path, "--how", "pca", "--json", "--quiet").out)
    assert found["report"] == str(run.report_path())
    assert found["bytes"] == run.report_path().stat().st_size
    assert set(found["left_out"]) == {"Scores"}
    silent = call("report", run.path, "--how", "pca", "--quiet")
    assert (silent.status, silent.out, silent.err) == (0, "", "")
