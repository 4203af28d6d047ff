from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dualcontrast.benchmarks.cells import Cell, result_of, result_path, stored_results, write_result
from dualcontrast.errors import RunError
from dualcontrast.settings import merged

RECIPE: dict[str, Any] = {"method": {"name": "harmony"}, "training": {"minutes": 1.0, "seed": 0, "limit": None}}
CELL = Cell("table1", "harmony", "mnist", 0, RECIPE, "/data/mnist", {}, "abc")
RESULT: dict[str, Any] = {"scores": {"content": {"from_content": 0.5}}, "training": {"seconds": 60.0}}


@pytest.mark.parametrize(
    "other",
    [
        replace(CELL, recipe=merged(RECIPE, {"training": {"minutes": 2.0}})),
        replace(CELL, recipe=merged(RECIPE, {"training": {"limit": 300}})),
        replace(CELL, recipe=merged(RECIPE, {"training": {"seed": 1}})),
        replace(CELL, recipe=merged(RECIPE, {"method": {"weight": 1}})),
        replace(CELL, data_digest="abd"),
    ],
)
def test_a_changed_setting_or_other_data_change_the_digest(other: Cell, tmp_path: Path) -> None:
    assert other.digest != CELL.digest
    write_result(tmp_path, CELL, RESULT)
    assert result_of(other, stored_results(tmp_path, "table1")) is None


def test_where_the_data_are_does_not_change_it(tmp_path: Path) -> None:
    moved = replace(CELL, source="/elsewhere")
    assert moved.digest == CELL.digest
    write_result(tmp_path, CELL, RESULT)
    assert result_of(moved, stored_results(tmp_path, "table1")) is not None


def test_the_digest_does_not_depend_on_the_order_of_settings() -> None:
    assert replace(CELL, recipe=dict(reversed(RECIPE.items()))).digest == CELL.digest


def test_tables_share_runs_but_not_results() -> None:
    other = replace(CELL, table="ablation", row="whole")
    assert other.run_name == CELL.run_name
    assert result_path(Path("results"), other) != result_path(Path("results"), CELL)


def test_a_result_comes_back(tmp_path: Path) -> None:
    write_result(tmp_path, CELL, RESULT)
    path = result_path(tmp_path, CELL)
    assert path == tmp_path / "table1" / f"mnist-harmony-seed0-{CELL.digest}.json"
    (stored,) = stored_results(tmp_path, "table1")
    assert stored["scores"] == RESULT["scores"]
    assert result_of(CELL, [stored]) == stored
    assert result_of(replace(CELL, row="simclr"), [stored]) is None
    assert stored_results(tmp_path, "table2") == []


def test_without_data_a_configuration_is_enough_unless_there_are_several(tmp_path: Path) -> None:
    unknown = replace(CELL, source=None, data_digest=None)
    write_result(tmp_path, CELL, RESULT)
    assert result_of(unknown, stored_results(tmp_path, "table1")) is not None
    write_result(tmp_path, replace(CELL, data_digest="other"), RESULT)
    with pytest.raises(RunError, match="results on 2 different sets of images; say which with `mnist`"):
        result_of(unknown, stored_results(tmp_path, "table1"))


def test_a_cell_comes_back_from_its_line() -> None:
    assert "\n" not in CELL.to_json()
    assert Cell.from_json(CELL.to_json()) == CELL


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "damaged; remove it"),
        ("[]", "damaged; remove it"),
        ('{"format": 1, "cell": {}}', "damaged; remove it"),
        (
            json.dumps({"format": 99, "cell": {"recipe": {}}, **RESULT}),
            r"newer version \(format 99\); update dualcontrast",
        ),
    ],
)
def test_what_cannot_be_read_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "table1").mkdir()
    (tmp_path / "table1" / "mnist-x.json").write_text(text)
    with pytest.raises(RunError, match=rf"mnist-x\.json: .*{sentence}"):
        stored_results(tmp_path, "table1")
