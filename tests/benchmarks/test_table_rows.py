from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
from tests.support.benchmarks import COST, make_result

from dualcontrast.benchmarks.cells import CellResult
from dualcontrast.benchmarks.paper import paper_scores
from dualcontrast.benchmarks.table_rows import COLUMNS, Column, TableRow

GAP = Column("gap_c", "gap(c)", ("scores", "content", "gap"))
ACCURACY = next(column for column in COLUMNS if column.name == "D_c_c")


def row_of(*results: CellResult, row: str = "harmony", data: str = "mnist", missing: str = "") -> TableRow:
    return TableRow(data, row, row.capitalize(), results, missing, paper_scores("table1", data, row))


def with_accuracy(accuracy: float) -> CellResult:
    return make_result(content={"from_content": accuracy})


def test_columns_have_different_names() -> None:
    assert len({column.name for column in COLUMNS}) == len({column.title for column in COLUMNS}) == len(COLUMNS)


def test_a_column_reads_the_results_that_have_its_number_in_its_unit() -> None:
    minutes = Column("minutes", "minutes", ("training", "seconds"), unit=60)
    assert minutes.numbers([make_result(), make_result(cost=replace(COST, seconds=30.0))]) == [1.5, 0.5]
    assert GAP.numbers([make_result(content=None), make_result()]) == [0.5]


def test_mean_and_deviation_over_seeds() -> None:
    row = row_of(*map(with_accuracy, (0.80, 0.82, 0.87)))
    assert row.mean(ACCURACY) == statistics.fmean((0.80, 0.82, 0.87))
    assert row.deviation(ACCURACY) == statistics.stdev((0.80, 0.82, 0.87))
    assert (row.mean(GAP), row.deviation(GAP)) == (None, None)
    assert row_of(with_accuracy(0.8)).deviation(ACCURACY) is None


def test_scores_of_the_paper() -> None:
    assert row_of().paper_score(ACCURACY) == 0.82
    assert row_of().paper_score(GAP) is None  # the paper gives no gap
    assert row_of(row="dualcontrast_plus").paper_score(ACCURACY) is None  # the paper has no such row


def test_values_of_a_row() -> None:
    values = row_of(*map(with_accuracy, (0.80, 0.82, 0.87)), missing="seed 3 not run yet").as_dict()
    assert (values["data"], values["row"], values["label"], values["seeds"]) == ("mnist", "harmony", "Harmony", 3)
    assert (values["D_c_c"], values["D_c_c_std"], values["D_c_c_paper"]) == (0.83, 0.0361, 0.82)
    assert (values["gap_c"], values["gap_c_std"], "gap_c_paper" in values) == (None, None, False)
    assert (values["minutes"], values["memory_gib"], values["images_seen"]) == (1.5, 0.5, 123_000)
    assert values["lacking"] == "seed 3 not run yet"
    assert {column.name for column in COLUMNS} <= set(values)


@pytest.mark.parametrize(
    ("row", "comparable", "reason"),
    [
        (row_of(make_result()), "yes", ""),
        (row_of(make_result(images=300)), "no", "the paper has all 70,000 images, and these are 300"),
        (row_of(make_result(protocol={"classes": 5}), data="linemod"), "no", "these images have 5"),
        (row_of(), None, ""),
        (row_of(make_result(images=300), row="dualcontrast_plus"), None, ""),  # not in the paper
    ],
)
def test_whether_a_row_can_be_compared_with_the_paper(row: TableRow, comparable: str | None, reason: str) -> None:
    values = row.as_dict()
    assert values["comparable"] == comparable
    assert str(values["not_comparable_because"]).endswith(reason)
    assert bool(values["not_comparable_because"]) == bool(reason)
