from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.benchmarks import CELL, COST, KEY, RECIPE, make_result

from dualcontrast.benchmarks.cells import (
    Cell,
    CellKey,
    CellResult,
    find_result,
    read_results,
    result_path,
    write_result,
)
from dualcontrast.errors import RunError
from dualcontrast.settings import merged

STORED = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, recipe=merged(RECIPE, {"training": {"minutes": 2.0}})),
        replace(KEY, recipe=merged(RECIPE, {"training": {"limit": 300}})),
        replace(KEY, recipe=merged(RECIPE, {"training": {"seed": 1}})),
        replace(KEY, recipe=merged(RECIPE, {"method": {"weight": 1}})),
        replace(KEY, data_digest="abd"),
    ],
)
def test_another_setting_or_other_images_are_another_cell(other: CellKey) -> None:
    assert other.digest != KEY.digest
    assert find_result(other, [make_result()]) is None


def test_the_place_of_the_images_does_not_matter() -> None:
    moved = replace(CELL, source="/elsewhere")
    assert moved.digest == CELL.digest == KEY.digest
    assert find_result(moved, [make_result()]) is not None


def test_the_order_of_settings_does_not_matter() -> None:
    assert replace(KEY, recipe=dict(reversed(RECIPE.items()))).digest == KEY.digest


def test_tables_share_runs_but_not_results() -> None:
    other = replace(KEY, table="ablation", row="whole")
    assert other.run_name == KEY.run_name
    assert result_path(Path("results"), other) != result_path(Path("results"), KEY)


def test_a_result_is_stored_under_the_name_of_its_cell(tmp_path: Path) -> None:
    write_result(tmp_path, make_result())
    assert (tmp_path / "table1" / f"mnist-harmony-seed0-{KEY.digest}.json").is_file()
    assert read_results(tmp_path, "table1") == [make_result()]
    assert read_results(tmp_path, "table2") == []


@pytest.mark.parametrize("path", sorted(STORED.glob("*/*.json")), ids=lambda path: path.stem)
def test_every_stored_result_is_read_and_written_back_equal(path: Path, tmp_path: Path) -> None:
    result = CellResult.from_json(json.loads(path.read_text()))
    write_result(tmp_path, result)
    assert result_path(tmp_path, result.cell).read_bytes() == path.read_bytes()
    assert result_path(STORED, result.cell) == path


def test_numbers_are_looked_up_by_their_path() -> None:
    result = make_result(swap=None)
    assert result.number("scores", "content", "gap") == 0.5
    assert result.number("scores", "probes", "content", "knn", "from_content") == 0.9
    assert result.number("training", "seconds") == 90.0
    assert result.number("scores", "swap", "content_kept") is None
    assert result.number("scores", "nothing", "gap") is None
    assert result.number("scores", "content") is None
    assert result.number("training", "device") is None
    assert make_result(cost=replace(COST, peak_memory=None)).number("training", "peak_memory") is None


def test_classes_may_be_unknown() -> None:
    assert make_result().classes == 10
    assert make_result(protocol={"classes": None}).classes is None


def test_a_cell_finds_its_result_by_row_data_and_seed() -> None:
    result = make_result()
    assert find_result(CELL, [make_result(replace(KEY, seed=1)), result]) is result
    for other in ({"row": "simclr"}, {"data": "linemod"}, {"seed": 1}):
        assert find_result(replace(CELL, **other), [result]) is None


def test_without_images_a_configuration_is_enough_unless_there_are_several() -> None:
    unknown = replace(CELL, source=None, data_digest=None)
    results = [make_result()]
    assert find_result(unknown, results) is results[0]
    results.append(make_result(replace(KEY, data_digest="other")))
    with pytest.raises(RunError, match=r"results on 2 different sets of images; say which by .* `mnist`"):
        find_result(unknown, results)


def test_a_cell_is_sent_as_one_line() -> None:
    assert "\n" not in CELL.to_json()
    assert Cell.from_json(CELL.to_json()) == CELL
    assert CELL.key == KEY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "damaged; remove it"),
        ("[]", "damaged; remove it"),
        ('{"format": 1, "cell": {}}', "damaged; remove it"),
        (json.dumps({**make_result().to_json(), "training": {}}), "damaged; remove it"),
        ('{"format": 99, "more": {}}', r"newer version \(format 99\); update dualcontrast"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "table1").mkdir()
    (tmp_path / "table1" / "mnist-x.json").write_text(text)
    with pytest.raises(RunError, match=rf"mnist-x\.json: .*{sentence}"):
        read_results(tmp_path, "table1")
