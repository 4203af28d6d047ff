"""What the verbs on clusters say comes next."""

from __future__ import annotations

from pathlib import Path

from tests.support.command import call
from tests.support.runs import small_run


def test_clusters_of_pictures_lead_to_the_report_since_they_have_no_averages(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"epochs": 1}})
    ended = call("cluster", run.path, "--content", 2, "--transformation", 1, "--name", "two", "--device", "cpu")
    assert ended.status == 0, ended.err
    assert ended.out.endswith(f"Next: dualcontrast report {run.path} --clusters two\n")
