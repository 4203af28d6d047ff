from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.runs import small_run

from dualcontrast.analysis.transfer import source_images, transfer, transfer_grid
from dualcontrast.api import Run
from dualcontrast.errors import MethodError
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import Batch, Codes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("transfer") / "run")


def test_cell_i_j_has_content_i_and_transformation_j(run: Run) -> None:
    method = run.load_method()
    left, top = run.images().read(np.arange(3)), run.images().read(np.arange(3, 7))
    grid = transfer_grid(method, left, top)
    assert grid.shape == (3, 4, 1, 28, 28)
    with torch.no_grad():
        for i in range(3):
            for j in range(4):
                content = method.encode(Batch.of(left[i : i + 1])).content
                transformation = method.encode(Batch.of(top[j : j + 1])).transformation
                cell = method.decode(Codes(content, transformation))[0]
                torch.testing.assert_close(grid[i, j], cell)


def test_a_run_is_transferred_scored_and_drawn(run: Run) -> None:
    run.write_scores({"content": {"kept": 1}})
    done = transfer(run, count=10)
    assert done.figure == run.figure_path("transfer")
    assert done.figure.is_file()
    assert done.grid.shape[:2] == (10, 10)
    table = run.images().table.set_index("row")
    for rows in (done.content_rows, done.transformation_rows):
        assert table.loc[list(rows), "content"].tolist() == list(range(10))
        assert set(table.loc[list(rows), "split"]) == {"test"}
    assert not set(done.content_rows) & set(done.transformation_rows)
    scores = run.read_scores()
    assert scores is not None
    assert scores["swap"] == done.swap
    assert scores["content"] == {"kept": 1}
    assert done.describe()[0].startswith("Of ")
    again = transfer(run, count=10)
    assert (again.content_rows, again.swap) == (done.content_rows, done.swap)


def test_without_labels_there_is_a_grid_and_no_score() -> None:
    table = pd.DataFrame({"row": np.arange(9), "split": "train"})
    images = ArrayImages(np.zeros((9, 1, 8, 8), np.uint8), "blank", table)
    left, top = source_images(images, 4, seed=0)
    assert len(left) == len(top) == 4
    assert not set(left) & set(top)


def test_a_method_without_a_decoder_says_so_before_any_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dualcontrast.methods.dualcontrast import DualContrast
    from dualcontrast.methods.method import Method

    monkeypatch.setattr(DualContrast, "has_decoder", False)
    monkeypatch.setattr(DualContrast, "decode", Method.decode)
    monkeypatch.setattr(type(run), "images", lambda self: pytest.fail("images were opened"))
    with pytest.raises(MethodError, match="has no decoder and makes no images"):
        transfer(run)


def test_another_weights_figure_has_a_name_of_its_own(run: Run) -> None:
    assert run.figure_path("transfer", "last") == Path(run.path) / "figures" / "transfer-last.png"
