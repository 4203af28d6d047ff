"""The report of a run: one page, whole in itself, that says what is there and how to make what is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.runs import small_run

from dualcontrast.analysis.scores import percent
from dualcontrast.api import Run
from dualcontrast.errors import RunError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = small_run(tmp_path_factory.mktemp("report") / "run")
    made.encode()
    made.evaluate()
    return made


def test_the_page_asks_nothing_of_the_network(run: Run) -> None:
    done = run.report(how="pca")
    page = done.path.read_text(encoding="utf-8")
    assert done.path == run.path / "report.html"
    assert done.size == done.path.stat().st_size < 10_000_000
    asked = re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']+)""", re.sub(r"(?s)<script.*?</script>", "", page))
    assert asked == []


def test_what_is_missing_is_told_with_the_command_that_makes_it(run: Run) -> None:
    done = run.report(how="pca")
    page = done.path.read_text(encoding="utf-8")
    assert done.left_out
    assert f"dualcontrast cluster {run.path}" in page
    assert f"dualcontrast transfer {run.path}" in page


def test_the_scores_of_the_run_are_on_the_page(run: Run) -> None:
    page = run.report(how="pca").path.read_text(encoding="utf-8")
    scores = run.read_scores()
    assert scores is not None
    assert percent(scores["content"]["from_content"]) in page


def test_a_run_without_codes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    untouched = small_run(tmp_path / "run")
    with pytest.raises(RunError, match="dualcontrast encode"):
        untouched.report(how="pca")
    assert not (untouched.path / "report.html").exists()
