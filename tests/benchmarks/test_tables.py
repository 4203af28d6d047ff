"""Tables of results that are made up, so that every figure is known."""

from __future__ import annotations

import csv
import statistics
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from dualcontrast.benchmarks.plan import Plan
from dualcontrast.benchmarks.rows import TABLES
from dualcontrast.benchmarks.tables import COLUMNS, Line, rows_as_values, write_tables


def result(seed: int = 0, images: int = 70_000, **scores: Any) -> dict[str, Any]:
    content = {"from_content": 0.8, "from_transformation": 0.3, "sap": 0.5, "gap": 0.5, "chance": 0.1}
    knn = {"from_content": 0.9, "from_transformation": 0.4}
    return {
        "cell": {"seed": seed},
        "scores": {
            "content": content,
            "transformation": None,
            "viewpoint": None,
            "swap": None,
            "probes": {"content": {"knn": knn}},
            "protocol": {"classes": 10},
            **scores,
        },
        "data": {"images": images},
        "training": {
            "images_seen": 123_000,
            "seconds": 90.0,
            "peak_memory": 2**29,
            "device": "cpu",
            "threads": 1,
        },
    }


def of(from_content: float, from_transformation: float, chance: float = 0.1) -> dict[str, float]:
    gap = round(from_content - from_transformation, 4)
    return {
        "from_content": from_content,
        "from_transformation": from_transformation,
        "sap": abs(gap),
        "gap": gap,
        "chance": chance,
    }


def plan(*data: str) -> Plan:
    return Plan("table1", TABLES["table1"], ("harmony", "dualcontrast_plus"), data, {}, {})


def line(row: str, results: list[dict[str, Any]], lacking: str = "", data: str = "mnist") -> Line:
    return Line(data, row, TABLES["table1"].rows[row].label, results, lacking)


def written(lines: list[Line], out: Path) -> tuple[list[dict[str, str]], str, str]:
    paths = write_tables(plan(*dict.fromkeys(each.data for each in lines)), lines, out)
    assert [path.name for path in paths] == ["table1.csv", "table1.md", "table1.html"]
    with paths[0].open(newline="") as file:
        return list(csv.DictReader(file)), paths[1].read_text(), paths[2].read_text()


def test_memory_that_was_not_measured_is_left_out(tmp_path: Path) -> None:
    results = [result(seed) for seed in range(3)]
    results[1]["training"]["peak_memory"] = None
    (row,), *_ = written([line("harmony", results)], tmp_path / "some")
    assert (row["memory_gib"], row["seeds"]) == ("0.5", "3")
    (row,), *_ = written([line("harmony", results[1:2])], tmp_path / "none")
    assert row["memory_gib"] == ""


def test_mean_and_deviation_over_seeds_beside_the_papers(tmp_path: Path) -> None:
    results = [result(seed, content=of(c, 0.3)) for seed, c in enumerate((0.80, 0.82, 0.87))]
    (values,), markdown, html = written([line("harmony", results)], tmp_path)
    mean, deviation = statistics.fmean((0.80, 0.82, 0.87)), statistics.stdev((0.80, 0.82, 0.87))
    assert float(values["D_c_c"]) == round(mean, 4)
    assert float(values["D_c_c_std"]) == round(deviation, 4)
    assert (values["seeds"], values["D_c_c_paper"], values["D_c_z_paper"]) == ("3", "0.82", "0.31")
    assert (values["comparable"], values["not_comparable_because"]) == ("yes", "")
    assert f"| {mean:.3f} ± {deviation:.3f} [0.82] | 0.300 ± 0.000 [0.31] |" in markdown
    assert f"<td>{mean:.3f} ± {deviation:.3f} [0.82]</td>" in html
    for text in (markdown, unescape(html)):
        assert "In data and probe comparable with the paper's figures" in text
        assert "Trained on: cpu, 1 thread(s)." in text


def test_one_seed_has_no_deviation_and_costs_are_told(tmp_path: Path) -> None:
    (values,), markdown, _ = written([line("dualcontrast_plus", [result()])], tmp_path)
    assert values["D_c_c_std"] == ""
    assert (values["minutes"], values["memory_gib"], values["images_seen"]) == ("1.5", "0.5", "123000.0")
    assert values["comparable"] == values["D_c_c_paper"] == ""  # the paper has no such row
    assert "| DualContrast plus | 1 | 0.800 | 0.300 | 0.500 | 0.500 | 0.100 | 0.400 | 123,000 | 1.5 | 0.50 |" in (
        markdown
    )


def test_swapped_codes_have_a_sap_and_a_negative_gap(tmp_path: Path) -> None:
    (values,), markdown, _ = written([line("harmony", [result(content=of(0.3, 0.9))])], tmp_path)
    assert (values["SAP_c"], values["gap_c"]) == ("0.6", "-0.6")
    assert "0.600 [0.51] | -0.600 |" in markdown


@pytest.mark.parametrize(
    ("data", "results", "reason"),
    [
        ("mnist", [result(images=300)], "the paper has all 70,000 images, and this has 300"),
        ("linemod", [result(protocol={"classes": 5})], "the paper has 15 objects, and this has 5"),
        ("subtomograms", [result()], "labels are not published"),
    ],
)
def test_what_is_not_comparable_says_why(
    data: str, results: list[dict[str, Any]], reason: str, tmp_path: Path
) -> None:
    (values,), markdown, html = written([line("harmony", results, data=data)], tmp_path)
    assert values["comparable"] == "no"
    assert reason in values["not_comparable_because"]
    for text in (markdown, html):
        assert "Not comparable with the paper" in text
        assert reason in text


def test_volumes_and_poses_have_columns_of_their_own(tmp_path: Path) -> None:
    transformation = {**of(0.9, 0.52, 0.5), "gap": -0.38}
    viewpoint = {"from_transformation": 0.7, "from_content": 0.2}
    lines = [
        line("harmony", [result(transformation=transformation)], data="subtomograms"),
        line("harmony", [result(viewpoint=viewpoint)], data="linemod"),
    ]
    (volumes, pictures), markdown, _ = written(lines, tmp_path)
    assert (volumes["D_z_z"], volumes["D_z_c"], volumes["gap_z"]) == ("0.52", "0.9", "-0.38")
    assert (volumes["D_z_z_paper"], volumes["D_z_c_paper"], volumes["SAP_z_paper"]) == ("0.52", "0.9", "0.38")
    assert (pictures["R2_view_z"], pictures["R2_view_c"], pictures["D_z_z"]) == ("0.7", "0.2", "")
    headers = [row for row in markdown.splitlines() if row.startswith("| method")]
    assert [("D(z\\|z)" in header, "R2(view\\|z)" in header) for header in headers] == [
        (True, False),
        (False, True),
    ]


def test_an_empty_cell_says_why(tmp_path: Path) -> None:
    lines = [
        line("harmony", [], "seed 0 failed: the loss is no longer a number <in epoch 3>"),
        line("dualcontrast_plus", [result()], "seed 1 not run yet"),
    ]
    rows, markdown, html = written(lines, tmp_path)
    assert [row["lacking"] for row in rows] == [each.lacking for each in lines]
    assert rows[0]["D_c_c"] == rows[0]["comparable"] == ""
    assert "| Harmony | 0 | seed 0 failed: the loss is no longer a number <in epoch 3> |" in markdown
    assert "seed 0 failed: the loss is no longer a number &lt;in epoch 3&gt;" in html
    assert "DualContrast plus: seed 1 not run yet." in markdown
    widths = {row.replace("\\|", "").count("|") for row in markdown.splitlines() if row.startswith("|")}
    assert len(widths) == 1


def test_a_data_set_without_any_result_has_a_table_of_reasons(tmp_path: Path) -> None:
    rows, markdown, _ = written([line("harmony", [], "no images given (--mnist)")], tmp_path)
    assert rows[0]["seeds"] == "0"
    assert "| Harmony | 0 | no images given (--mnist) |" in markdown


def test_values_are_those_of_the_csv(tmp_path: Path) -> None:
    lines = [line("harmony", [result()])]
    (values,) = rows_as_values(plan("mnist"), lines)
    (row,), _, _ = written(lines, tmp_path)
    assert row == {key: "" if value is None else str(value) for key, value in values.items()}
    assert {column.name for column in COLUMNS} <= set(values)


def test_the_same_results_make_the_same_bytes(tmp_path: Path) -> None:
    lines = [line("harmony", [result()]), line("dualcontrast_plus", [], "seed 0 not run yet")]
    first, second = tmp_path / "a", tmp_path / "b"
    for out in (first, second):
        write_tables(plan("mnist"), lines, out)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
