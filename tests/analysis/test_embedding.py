from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.runs import small_run

from dualcontrast.analysis.embedding import embed
from dualcontrast.api import Run
from dualcontrast.errors import RunError
from dualcontrast.runs import SavedCodes, write_codes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose content codes lie in three groups far apart, by label."""
    run = small_run(tmp_path_factory.mktemp("embed") / "run")
    rng = np.random.default_rng(0)
    table = run.images().table.assign(content=np.arange(400) % 3)
    groups = 20 * np.eye(10)[table["content"]]
    content, transformation = groups + rng.normal(size=(400, 10)), rng.normal(size=(400, 10))
    codes = [each.astype(np.float32) for each in (content, transformation)]
    write_codes(run.codes_folder(), SavedCodes(*codes, *codes, table))
    return run


@pytest.mark.parametrize("how", ["umap", "tsne", "pca"])
def test_groups_stay_groups(run: Run, how: Any) -> None:
    points = embed(run, code="content", how=how)
    kept = pd.read_csv(run.figure_path(f"embedding_content_{how}").with_suffix(".csv"))
    assert run.figure_path(f"embedding_content_{how}").is_file()
    test = run.images().table.query("split == 'test'")
    assert kept["row"].tolist() == test["row"].tolist()
    np.testing.assert_allclose(kept[["x", "y"]], points, rtol=1e-6)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    labels = kept["content"].to_numpy()
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.98
    np.testing.assert_array_equal(embed(run, code="content", how=how), points)


def test_at_most_so_many_are_drawn(run: Run) -> None:
    assert embed(run, code="transformation", how="pca", limit=20).shape == (20, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"code": "contend"}, "no code is called contend; did you mean content?"),
        ({"how": "t-sne"}, r"no layout is called t-sne; did you mean tsne\?"),
        ({"limit": 3}, "3 images are too few to lay out"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(run: Run, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        embed(run, **options)
