from __future__ import annotations

from tests.support.report import page_of

from dualcontrast.api import Run


def test_a_report_says_what_was_run_and_found(run: Run) -> None:
    done = run.report(how="pca")
    assert done.path == run.path / "report.html"
    assert done.size == done.path.stat().st_size < 10_000_000
    page = page_of(done.path)
    scores = run.read_scores()
    assert scores is not None
    head = page.texts[""]
    assert "dualcontrast on 400 pictures of 28 x 28 pixels" in head
    assert " 3 content clusters, as asked for" in head
    for code in ("content", "transformation"):
        assert f"{100 * scores['content'][f'from_{code}']:.1f} %" in head
    assert f"(chance {100 * scores['content']['chance']:.1f} %)" in head
    assert "10 contents: never seen in training" in page.texts["run"]
    assert run.config().data.digest in page.texts["provenance"]
    assert run.config().made_by["command"] in page.texts["provenance"]
    assert "Seed 3 " in page.texts["provenance"]
    assert f"dualcontrast report {run.path}" in page.texts["provenance"]
