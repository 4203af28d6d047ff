"""Tables of results that are made up, so that every number is known."""

from __future__ import annotations

import csv
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from tests.support.benchmarks import COST, make_result

from dualcontrast.benchmarks.cells import CellResult
from dualcontrast.benchmarks.paper import paper_scores
from dualcontrast.benchmarks.plan import Plan
from dualcontrast.benchmarks.rows import TABLES
from dualcontrast.benchmarks.table_files import write_table_files
from dualcontrast.benchmarks.table_rows import TableRow


def content(from_content: float, from_transformation: float, chance: float = 0.1) -> dict[str, float]:
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


def row_of(name: str, *results: CellResult, missing: str = "", data: str = "mnist") -> TableRow:
    label = TABLES["table1"].rows[name].label
    return TableRow(data, name, label, results, missing, paper_scores("table1", data, name))


def written(rows: list[TableRow], out: Path) -> tuple[list[dict[str, str]], str, str]:
    paths = write_table_files(plan(*dict.fromkeys(row.data for row in rows)), rows, out)
    assert [path.name for path in paths] == ["table1.csv", "table1.md", "table1.html"]
    with paths[0].open(newline="") as file:
        return list(csv.DictReader(file)), paths[1].read_text(), paths[2].read_text()


def test_the_csv_file_has_the_values_of_the_rows(tmp_path: Path) -> None:
    rows = [row_of("harmony", make_result()), row_of("dualcontrast_plus")]
    lines, *_ = written(rows, tmp_path)
    for line, row in zip(lines, rows, strict=True):
        assert line == {key: "" if value is None else str(value) for key, value in row.as_dict().items()}


def test_mean_and_deviation_stand_beside_the_papers_score(tmp_path: Path) -> None:
    results = [make_result(content=content(accuracy, 0.3)) for accuracy in (0.80, 0.82, 0.87)]
    _, markdown, html = written([row_of("harmony", *results)], tmp_path)
    assert "| 0.830 ± 0.036 [0.82] | 0.300 ± 0.000 [0.31] |" in markdown
    assert "<td>0.830 ± 0.036 [0.82]</td>" in html
    for text in (markdown, unescape(html)):
        assert "Same data and probe as in the paper" in text
        assert "Trained on: cpu, 1 thread(s)." in text


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    _, markdown, _ = written([row_of("dualcontrast_plus", make_result())], tmp_path)
    assert "| DualContrast plus | 1 | 0.800 | 0.300 | 0.500 | 0.500 | 0.100 | 0.400 | 123,000 | 1.5 | 0.50 |" in (
        markdown
    )


def test_memory_that_was_not_measured_is_left_out(tmp_path: Path) -> None:
    unmeasured = make_result(cost=replace(COST, peak_memory=None))
    _, markdown, _ = written([row_of("harmony", make_result(), unmeasured)], tmp_path / "some")
    assert "| 1.5 ± 0.0 | 0.50 |" in markdown
    _, markdown, _ = written([row_of("harmony", unmeasured)], tmp_path / "none")
    assert "memory" not in markdown.partition("| method")[2]


def test_swapped_codes_have_a_sap_and_a_negative_gap(tmp_path: Path) -> None:
    _, markdown, _ = written([row_of("harmony", make_result(content=content(0.3, 0.9)))], tmp_path)
    assert "0.600 [0.51] | -0.600 |" in markdown


@pytest.mark.parametrize(
    ("data", "result", "reason"),
    [
        ("mnist", make_result(images=300), "the paper has all 70,000 images, and these are 300"),
        ("linemod", make_result(protocol={"classes": 5}), "the paper has 15 objects, and these images have 5"),
        ("subtomograms", make_result(), "labels are not published"),
    ],
)
def test_rows_that_cannot_be_compared_say_why(data: str, result: CellResult, reason: str, tmp_path: Path) -> None:
    _, *texts = written([row_of("harmony", result, data=data)], tmp_path)
    for text in texts:
        assert "Not comparable with the scores of the paper: " in text
        assert reason in unescape(text)


def test_each_data_set_has_the_columns_of_its_scores(tmp_path: Path) -> None:
    transformation = {**content(0.9, 0.52, 0.5), "gap": -0.38}
    viewpoint = {"from_transformation": 0.7, "from_content": 0.2}
    rows = [
        row_of("harmony", make_result(transformation=transformation), data="subtomograms"),
        row_of("harmony", make_result(viewpoint=viewpoint), data="linemod"),
    ]
    (volumes, pictures), markdown, _ = written(rows, tmp_path)
    assert (volumes["D_z_z"], volumes["D_z_c"], volumes["gap_z"]) == ("0.52", "0.9", "-0.38")
    assert (volumes["D_z_z_paper"], volumes["D_z_c_paper"], volumes["SAP_z_paper"]) == ("0.52", "0.9", "0.38")
    assert (pictures["R2_view_z"], pictures["R2_view_c"], pictures["D_z_z"]) == ("0.7", "0.2", "")
    headers = [line for line in markdown.splitlines() if line.startswith("| method")]
    assert [("D(z\\|z)" in header, "R2(view\\|z)" in header) for header in headers] == [
        (True, False),
        (False, True),
    ]


def test_a_row_without_results_says_why(tmp_path: Path) -> None:
    rows = [
        row_of("harmony", missing="seed 0 failed: the loss is <not finite>"),
        row_of("dualcontrast_plus", make_result(), missing="seed 1 not run yet"),
    ]
    lines, markdown, html = written(rows, tmp_path)
    assert [line["lacking"] for line in lines] == [row.missing for row in rows]
    assert lines[0]["D_c_c"] == lines[0]["comparable"] == ""
    assert "| Harmony | 0 | seed 0 failed: the loss is <not finite> |" in markdown
    assert "seed 0 failed: the loss is &lt;not finite&gt;" in html
    assert "DualContrast plus: seed 1 not run yet." in markdown
    widths = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_data_set_without_any_result_has_a_table_of_reasons(tmp_path: Path) -> None:
    lines, markdown, html = written([row_of("harmony", missing="no images given")], tmp_path)
    assert lines[0]["seeds"] == "0"
    assert "| Harmony | 0 | no images given |" in markdown
    assert '<td>Harmony</td><td>0</td><td class="missing" colspan="1">no images given</td>' in html


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [row_of("harmony", make_result()), row_of("dualcontrast_plus", missing="seed 0 not run yet")]
    first, second = tmp_path / "a", tmp_path / "b"
    for out in (first, second):
        write_table_files(plan("mnist"), rows, out)
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
