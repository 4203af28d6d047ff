from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.support.report import figures_of
from tests.support.runs import small_run

from dualcontrast.api import Run
from dualcontrast.evaluation.probes import is_test
from dualcontrast.report.grid import _sources
from dualcontrast.report.material import ReportOptions, gather


def test_a_method_without_a_decoder_has_no_grid_and_a_code_of_one_component_no_layout(tmp_path: Path) -> None:
    method = {"name": "simclr", "content_size": 1, "transformation_size": 4}
    run = small_run(tmp_path / "run", {"method": method, "training": {"epochs": 1}})
    run.encode()
    left_out = run.report(how="pca").left_out
    assert "SimCLR has no decoder" in left_out["Transfer"]
    assert "a content code of one component cannot be laid out" in left_out["Embeddings"]
    assert list(figures_of(run.report_path())["embeddings"]["codes"]) == ["transformation"]


def test_the_grid_has_contents_in_rows_and_transformations_in_columns(run: Run) -> None:
    page = run.report(how="pca").path.read_text(encoding="utf-8")
    assert 'id="mosaic" data-rows="10" data-columns="10"' in page
    assert 'alt="10 contents in 10 transformations" class="pixels"' in page


def test_sources_are_test_images_and_differ(run: Run) -> None:
    material = gather(run, ReportOptions())
    left, top = _sources(material)
    assert len(left) == len(top) == 10
    assert not set(left) & set(top)
    assert is_test(material.codes.table)[np.concatenate([left, top])].all()
