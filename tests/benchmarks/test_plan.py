"""The whole of a benchmark is checked before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.runs import DIGITS

from dualcontrast.benchmarks import plan
from dualcontrast.benchmarks.plan import Source, Wanted, plan_of
from dualcontrast.errors import DualContrastError, DualContrastWarning, MethodError, RecipeError, SourceError
from dualcontrast.images import open_images
from dualcontrast.methods import vitae


def wanted(table: str = "table1", path: Path | str = DIGITS, data: str = "mnist", **more: Any) -> Wanted:
    return Wanted(table, {data: Source(str(path))}, limit=300, **more)


def test_a_cell_for_each_row_data_set_and_seed() -> None:
    made = plan_of(wanted(rows=("harmony", "simclr"), seeds=(0, 3), budget=0.5))
    assert (made.rows, made.data) == (("harmony", "simclr"), ("mnist", "linemod", "subtomograms"))
    cells = made.trainable()
    assert [(cell.row, cell.seed) for cell in cells] == [
        ("harmony", 0),
        ("simclr", 0),
        ("harmony", 3),
        ("simclr", 3),
    ]
    assert len({cell.digest for cell in cells}) == 4
    for cell in cells:
        training = cell.recipe["training"]
        assert (training["minutes"], training["limit"], training["seed"]) == (0.5, 300, cell.seed)
        assert training["workers"] == 0
        assert cell.source == str(DIGITS)
    assert made.hindered == {
        (data, row): f"no images given (--{data})"
        for data in ("linemod", "subtomograms")
        for row in ("harmony", "simclr")
    }


def test_seeds_draw_other_images() -> None:
    cells = plan_of(wanted(rows=("simclr",), seeds=(0, 1))).trainable()
    assert cells[0].data_digest != cells[1].data_digest


def test_a_source_that_is_a_name_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "open_images", lambda path: open_images(DIGITS) if path == "mnist" else None)
    (cell,) = plan_of(wanted(path="mnist", rows=("simclr",), seeds=(0,))).trainable()
    assert cell.source == "mnist"


def volumes(path: Path, side: int = 16, **labels: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.standard_normal((300, side, side, side)).astype(np.float32), **labels)
    return path


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        ({"rows": ("harmny",)}, RecipeError, "no row of table1 is called harmny; did you mean harmony"),
        ({"data": ("mnits",)}, RecipeError, "no data set of table1 is called mnits; did you mean mnist"),
        ({"data": ("linemod",)}, SourceError, "no images of linemod are given; say where they are with `linemod`"),
        ({"path": "/nowhere"}, SourceError, "/nowhere: no such file or folder"),
        ({"table": "table3"}, RecipeError, "no table is called table3; did you mean table"),
        ({"table": "table2", "data": "linemod"}, RecipeError, "on LineMod"),
    ],
)
def test_what_cannot_be_done_is_refused(
    asked: dict[str, Any], error: type[DualContrastError], sentence: str
) -> None:
    if asked.get("data") == "linemod":  # grey pictures of 28 x 28 where colours of 64 x 64 are needed
        asked = {**asked, "rows": ("hue",)}
    elif "data" in asked:
        given = wanted()
        with pytest.raises(error, match=sentence):
            plan_of(Wanted("table1", given.sources, data=asked["data"]))
        return
    with pytest.raises(error, match=sentence):
        plan_of(wanted(**asked))


def test_views_that_do_not_fit_the_channels_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (300, 64, 64), dtype=np.uint8)
    np.savez(tmp_path / "grey.npz", images=grey, content=np.arange(300) % 3)
    with pytest.raises(RecipeError, match="hue on LineMod: the view hue changes colours; the images have 1 chan"):
        plan_of(wanted("table2", tmp_path / "grey.npz", "linemod", rows=("rotation", "hue")))


def test_no_data_at_all_are_refused() -> None:
    with pytest.raises(SourceError, match=r"no images of mnist are given; .*`mnist`, `linemod`, `subtomograms`"):
        plan_of(Wanted("table1", {}))


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    path = volumes(tmp_path / "volumes.npz")
    with pytest.raises(SourceError, match=r"volumes\.npz: there are no two content labels to score by"):
        plan_of(wanted(path=path, data="subtomograms"))


def test_too_few_images_are_refused() -> None:
    given = wanted().sources
    with pytest.raises(SourceError, match=r"^simclr on MNIST: .*fewer than a batch"):
        plan_of(Wanted("table1", given, limit=50, rows=("simclr",)))


def test_a_row_that_was_not_asked_for_is_left_out_where_there_are_too_few_images() -> None:
    """The batches of dualcontrast_plus are the largest."""
    with pytest.warns(DualContrastWarning, match=r"dualcontrast_plus is left out on MNIST: .*fewer than a batch"):
        made = plan_of(Wanted("table1", wanted().sources, data=("mnist",), limit=300, seeds=(0,)))
    assert "dualcontrast_plus" not in {cell.row for cell in made.trainable()}
    assert {cell.row for cell in made.trainable()} >= {"harmony", "dualcontrast"}


def test_a_method_that_cannot_do_the_images_is_left_out_or_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitae, "LARGEST_VOLUME", 7)
    path = volumes(tmp_path / "volumes.npz", content=np.arange(300) % 3)
    with pytest.warns(DualContrastWarning, match="vitae is left out on Subtomograms: vitae takes volumes of at"):
        made = plan_of(wanted(path=path, data="subtomograms", seeds=(0,)))
    assert "vitae takes volumes of at most 7 voxels" in made.hindered["subtomograms", "vitae"]
    assert {cell.row for cell in made.trainable()} == set(made.rows) - {"vitae"}
    with pytest.raises(MethodError, match="vitae takes volumes of at most 7 voxels"):
        plan_of(wanted(path=path, data="subtomograms", rows=("vitae",)))


def test_a_part_that_a_method_has_not_is_not_taken_away(tmp_path: Path) -> None:
    path = volumes(tmp_path / "volumes.npz", content=np.arange(300) % 3)
    rows = ("dualcontrast_plus", "plus_without_contrast", "plus_without_hybrids")
    made = plan_of(wanted("ablation", path, "subtomograms", rows=rows, seeds=(0,)))
    assert made.hindered["subtomograms", "plus_without_hybrids"] == (
        "the linear model of aligned volumes has no such part"
    )
    assert {cell.row for cell in made.trainable()} == set(rows[:2])
    assert made.cells["subtomograms", "plus_without_hybrids"] == []


def test_tables_of_what_is_stored_need_no_method_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitae, "LARGEST_VOLUME", 7)
    path = volumes(tmp_path / "volumes.npz", content=np.arange(300) % 3)
    assert plan_of(wanted(path=path, data="subtomograms", rows=("vitae",), tables_only=True)).trainable()


def test_tables_of_what_is_stored_need_no_data() -> None:
    made = plan_of(Wanted("table2", {}, tables_only=True))
    assert made.hindered == {}
    assert [len(cells) for cells in made.cells.values()] == [3] * 7
