"""Tables of stored results, beside the paper's figures: CSV, Markdown and HTML."""

from __future__ import annotations

import csv
import html
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualcontrast.benchmarks.plan import Plan
from dualcontrast.benchmarks.published import not_comparable, published
from dualcontrast.benchmarks.rows import DATA
from dualcontrast.files import write_text

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        In the CSV, where the mean has it, and the standard deviation has it with `_std`.
    title : str
        In Markdown and HTML.
    where : tuple of str
        Where in a stored result the number is.
    printed : str
        The field of `published.Published` that the paper has for it.
    digits : int
        Digits after the point.
    scale : float
        What numbers are divided by.
    """

    name: str
    title: str
    where: tuple[str, ...]
    printed: str = ""
    digits: int = 3
    scale: float = 1.0

    def numbers(self, results: Iterable[Mapping[str, Any]]) -> list[float]:
        """Return the number of each result that has one."""
        found = []
        for result in results:
            value: Any = result
            for key in self.where:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                found.append(float(value) / self.scale)
        return found


def _scored(question: str, name: str, title: str, key: str, printed: str = "") -> Column:
    return Column(name, title, ("scores", question, key), printed)


COLUMNS: tuple[Column, ...] = (
    _scored("content", "D_c_c", "D(c|c)", "from_content", "content_from_content"),
    _scored("content", "D_c_z", "D(c|z)", "from_transformation", "content_from_transformation"),
    _scored("content", "SAP_c", "SAP(c)", "sap", "content_sap"),
    _scored("content", "gap_c", "gap(c)", "gap"),
    _scored("content", "chance_c", "chance(c)", "chance"),
    _scored("transformation", "D_z_z", "D(z|z)", "from_transformation", "transformation_from_transformation"),
    _scored("transformation", "D_z_c", "D(z|c)", "from_content", "transformation_from_content"),
    _scored("transformation", "SAP_z", "SAP(z)", "sap", "transformation_sap"),
    _scored("transformation", "gap_z", "gap(z)", "gap"),
    _scored("transformation", "chance_z", "chance(z)", "chance"),
    _scored("viewpoint", "R2_view_z", "R2(view|z)", "from_transformation"),
    _scored("viewpoint", "R2_view_c", "R2(view|c)", "from_content"),
    Column("knn_c_z", "kNN(c|z)", ("scores", "probes", "content", "knn", "from_transformation")),
    _scored("swap", "content_kept", "hybrids keep c", "content_kept"),
    _scored("swap", "transformation_kept", "hybrids keep z", "transformation_kept"),
    Column("images_seen", "images seen", ("training", "images_seen"), digits=0),
    Column("minutes", "minutes", ("training", "seconds"), digits=1, scale=60),
    Column("memory_gib", "memory (GiB)", ("training", "peak_memory"), digits=2, scale=GIBIBYTE),
)
LEGEND = (
    "D(a|b): test accuracy of a linear probe that tells factor a from code b, c content and z transformation; "
    "D(z|.) within each content class, averaged. SAP is the absolute difference of the two, gap the signed one: a "
    "negative gap means codes the wrong way round. Chance: always the most common class. R2(view|.): share of the "
    "variance of the viewing direction that a linear map of a code tells, within each object, averaged; chance 0. "
    "kNN(c|z): a 10-nearest-neighbour probe. Hybrids keep c, z: share of images decoded from the codes of two "
    "that a classifier sees as the first's content, and whose code is nearest to the second's. Mean and standard "
    "deviation over seeds; in brackets what the paper printed. Minutes and memory are of the training of one cell."
)


@dataclass(frozen=True)
class Line:
    """A row of a table, on one data set.

    Attributes
    ----------
    data, row, label : str
        What it is of.
    results : sequence of mapping
        The stored results, one a seed.
    lacking : str
        Why results are lacking; an empty text where none are.
    """

    data: str
    row: str
    label: str
    results: Sequence[Mapping[str, Any]]
    lacking: str


def write_tables(plan: Plan, lines: Sequence[Line], out: Path) -> list[Path]:
    """Write a table as CSV, Markdown and HTML; the same results make the same bytes.

    Parameters
    ----------
    plan
        What was asked for.
    lines
        All rows, on all data sets.
    out
        The folder.

    Returns
    -------
    list of Path
        The three files.
    """
    paths = [out / f"{plan.name}.{kind}" for kind in ("csv", "md", "html")]
    parts = [
        (DATA[data].label, *_body([line for line in lines if line.data == data], plan.name)) for data in plan.data
    ]
    for path, text in zip(
        paths, (_as_csv(plan, lines), _as_markdown(plan, parts), _as_html(plan, parts)), strict=True
    ):
        write_text(path, text)
    return paths


def rows_as_values(plan: Plan, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the table as plain values, one mapping a row and data set: the CSV's columns."""
    return [_values(line, plan.name) for line in lines]


def _values(line: Line, table: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "data": line.data,
        "row": line.row,
        "label": line.label,
        "seeds": len(line.results),
    }
    printed = published(table, line.data, line.row)
    for column in COLUMNS:
        numbers = column.numbers(line.results)
        values[column.name] = round(statistics.fmean(numbers), 4) if numbers else None
        values[f"{column.name}_std"] = round(statistics.stdev(numbers), 4) if len(numbers) > 1 else None
        if column.printed:
            values[f"{column.name}_paper"] = getattr(printed, column.printed) if printed is not None else None
    values["comparable"] = None if not line.results or printed is None else "no" if _why_not(line) else "yes"
    values["not_comparable_because"] = _why_not(line) if printed is not None else ""
    values["lacking"] = line.lacking
    return values


def _why_not(line: Line) -> str:
    if not line.results:
        return ""
    first = line.results[0]
    classes = first["scores"]["protocol"]["classes"]
    return not_comparable(line.data, classes, first["data"]["images"])


def _body(lines: Sequence[Line], table: str) -> tuple[list[list[str]], list[str]]:
    """Return the cells of a table of one data set, the header first, and notes below it."""
    columns = [c for c in COLUMNS if any(c.numbers(line.results) for line in lines)]
    body = [["method", "seeds", *(column.title for column in columns)]]
    for line in lines:
        texts = [_text(column, line, table) for column in columns]
        if not line.results:
            texts = [line.lacking, *[""] * (len(columns) - 1)] if columns else [line.lacking]
        body.append([line.label, str(len(line.results)), *texts])
    if not columns:
        body[0].append("")
    return body, _notes(lines, table)


def _text(column: Column, line: Line, table: str) -> str:
    """Return a cell: mean, standard deviation, and the paper's figure in brackets."""
    numbers = column.numbers(line.results)
    text = f"{statistics.fmean(numbers):,.{column.digits}f}" if numbers else "-"
    if len(numbers) > 1:
        text += f" ± {statistics.stdev(numbers):,.{column.digits}f}"
    printed = published(table, line.data, line.row) if column.printed else None
    figure = getattr(printed, column.printed) if printed is not None else None
    return text if figure is None else f"{text} [{figure:.2f}]"


def _notes(lines: Sequence[Line], table: str) -> list[str]:
    notes = []
    compared = [line for line in lines if line.results and published(table, line.data, line.row) is not None]
    reasons = dict.fromkeys(_why_not(line) for line in compared)
    for reason in reasons:
        notes.append(
            f"Not comparable with the paper's figures: {reason}."
            if reason
            else "In data and probe comparable with the paper's figures, which are of 200 epochs."
        )
    notes += [f"{line.label}: {line.lacking}." for line in lines if line.results and line.lacking]
    devices = dict.fromkeys(
        f"{result['training']['device']}, {result['training']['threads']} thread(s)"
        for line in lines
        for result in line.results
    )
    return notes + ([f"Trained on: {'; '.join(devices)}."] if devices else [])


def _as_csv(plan: Plan, lines: Sequence[Line]) -> str:
    rows = rows_as_values(plan, lines)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


Part = tuple[str, list[list[str]], list[str]]


def _as_markdown(plan: Plan, parts: Sequence[Part]) -> str:
    text = [f"# {plan.table.title}", "", LEGEND]
    for label, (header, *body), notes in parts:
        text += ["", f"## {label}", ""]
        rows = [header, ["---"] * len(header), *body]
        text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        text += [line for note in notes for line in ("", note)]
    return "\n".join(text) + "\n"


STYLE = (
    "body{font:15px/1.4 sans-serif;margin:2em;max-width:110em}table{border-collapse:collapse}"
    "td,th{padding:.25em .6em;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left;position:sticky;left:0;background:#fff}"
    "td.lacking{text-align:left;color:#777}"
)


def _as_html(plan: Plan, parts: Sequence[Part]) -> str:
    title = html.escape(plan.table.title)
    text = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        f"<p>{html.escape(LEGEND)}</p>",
    ]
    for label, (header, *body), notes in parts:
        text += [f"<h2>{html.escape(label)}</h2>", "<table>", _html_row(header, "th")]
        text += [_html_row(row, "td") for row in body]
        text.append("</table>")
        text += [f"<p>{html.escape(note)}</p>" for note in notes]
    return "\n".join([*text, "</body></html>"]) + "\n"


def _html_row(row: Sequence[str], kind: str) -> str:
    if kind == "td" and row[1] == "0":  # no results: the reason takes the width of the figures
        cells = [f"<td>{html.escape(row[0])}</td><td>0</td>"]
        cells.append(f'<td class="lacking" colspan="{len(row) - 2}">{html.escape(row[2])}</td>')
    else:
        cells = [f"<{kind}>{html.escape(cell)}</{kind}>" for cell in row]
    return f"<tr>{''.join(cells)}</tr>"
