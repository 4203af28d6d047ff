from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.support.report import page_of

from dualcontrast.analysis.clusters import Candidates, Numbers, read_clusters
from dualcontrast.analysis.mixtures import Candidate
from dualcontrast.api import Run
from dualcontrast.report.clusters import LABELS_AT_MOST, _choice, _label_table


def test_the_table_has_every_cluster_with_its_size_and_share(run: Run) -> None:
    text = page_of(run.report(how="pca").path).texts["clusters"]
    clusters = read_clusters(run)
    assert "The number of content clusters, 3, was given." in text
    for number, parts in clusters.sizes.items():
        images = sum(parts)
        assert re.search(rf" {number} {images} {100 * images / 400:.1f}.%", text)
        for part, size in enumerate(parts, 1):
            assert re.search(rf" {number}, {part} {size} {100 * size / images:.1f}.% of {number} ", text)
    ari = clusters.agreement["content"].ari
    assert f"Agreement with the content labels: adjusted Rand index {ari:.3f}" in text


def test_other_clusters_of_the_run_are_named(run: Run, tmp_path: Path) -> None:
    copy = Run(shutil.copytree(run.path, tmp_path / "run"))
    copy.cluster(name="two", content=2, transformation=1)
    assert (
        "Other clusters of this run: two. Show them with" in page_of(copy.report(how="pca").path).texts["clusters"]
    )


def test_labels_are_counted_by_cluster() -> None:
    table = pd.DataFrame({"content_cluster": [1, 1, 1, 2], "content": ["a", "a", "b", "b"]})
    labels = _label_table(table)
    assert labels is not None
    assert labels.names == ["a", "b"]
    assert labels.rows == [(1, [(2, 2 / 3), (1, pytest.approx(1 / 3))]), (2, [(0, 0.0), (1, 1.0)])]
    assert _label_table(table.assign(content=None)) is None
    assert _label_table(table[["content_cluster"]]) is None
    count = LABELS_AT_MOST + 1
    assert _label_table(pd.DataFrame({"content_cluster": [1] * count, "content": range(count)})) is None


def test_the_choice_of_the_number_of_clusters_is_explained(run: Run) -> None:
    given = read_clusters(run)
    candidates = [Candidate(number, 0.0, 9, 0.875, 0.9) for number in (1, 2, 3)]
    found = dataclasses.replace(
        given, requested=Numbers("auto", 1), candidates=Candidates(content=candidates, transformation={})
    )
    assert _choice(found).endswith("3 is the largest number on which random halves of the images agree "
                                   "(adjusted Rand index 0.88).")  # fmt: skip
    one = dataclasses.replace(found, sizes={1: [400]})
    assert "no larger number was reproduced" in _choice(one)
