"""The files of a table: CSV, Markdown and HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dualcontrast.benchmarks.plan import Plan
from dualcontrast.benchmarks.rows import DATA
from dualcontrast.benchmarks.table_rows import COLUMNS, Column, TableRow
from dualcontrast.files import write_text

LEGEND = (
    "D(a|b): test accuracy of a linear probe that predicts factor a from code b, c for content and z for "
    "transformation; D(z|.) is computed within each content class and averaged. SAP is the absolute difference "
    "of the two, gap the signed one: a negative gap means that the codes are the wrong way round. Chance: "
    "always predicting the most common class. R2(view|.): the fraction of the variance of the viewing "
    "direction that a linear map of a code explains, within each object and averaged; chance is 0. kNN(c|z): a "
    "10-nearest-neighbour probe. Hybrids keep c, z: the fraction of images decoded from the codes of two "
    "images in which a classifier sees the content of the first, and whose code is nearest to that of the "
    "second. Mean and standard deviation over seeds; the paper's score in brackets. Minutes and memory are "
    "those of training one cell."
)
STYLE = (
    "body{font:15px/1.4 sans-serif;margin:2em;max-width:110em}table{border-collapse:collapse}"
    "td,th{padding:.25em .6em;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left;position:sticky;left:0;background:#fff}"
    "td.missing{text-align:left;color:#777}"
)


def write_table_files(plan: Plan, rows: Sequence[TableRow], out: Path) -> list[Path]:
    """Write a table as CSV, Markdown and HTML; the same results give the same bytes.

    Parameters
    ----------
    plan
        The requested table.
    rows
        All its rows, on all data sets.
    out
        The folder.

    Returns
    -------
    list of Path
        The three files.
    """
    parts = [_part(DATA[data].label, [row for row in rows if row.data == data]) for data in plan.data]
    texts = {
        "csv": _as_csv(rows),
        "md": _as_markdown(plan.table.title, parts),
        "html": _as_html(plan.table.title, parts),
    }
    paths = [out / f"{plan.name}.{kind}" for kind in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


class _Part(NamedTuple):
    """The table of one data set as text."""

    title: str
    header: list[str]
    body: list[list[str]]
    notes: list[str]


def _part(title: str, rows: Sequence[TableRow]) -> _Part:
    columns = [column for column in COLUMNS if any(column.numbers(row.results) for row in rows)]
    header = ["method", "seeds", *([column.title for column in columns] or [""])]
    body = []
    for row in rows:
        texts = [_text(column, row) for column in columns]
        if not row.results:
            texts = [row.missing, *[""] * (len(columns) - 1)]
        body.append([row.label, str(len(row.results)), *texts])
    return _Part(title, header, body, _notes(rows))


def _text(column: Column, row: TableRow) -> str:
    """Write a cell: mean, standard deviation, and the paper's score in brackets."""
    mean, deviation, paper = row.mean(column), row.deviation(column), row.paper_score(column)
    text = "-" if mean is None else f"{mean:,.{column.digits}f}"
    if deviation is not None:
        text += f" ± {deviation:,.{column.digits}f}"
    return text if paper is None else f"{text} [{paper:.2f}]"


def _notes(rows: Sequence[TableRow]) -> list[str]:
    reasons = dict.fromkeys(row.not_comparable for row in rows if row.results and row.paper is not None)
    notes = [
        f"Not comparable with the scores of the paper: {reason}."
        if reason
        else "Same data and probe as in the paper, whose scores are of 200 epochs."
        for reason in reasons
    ]
    notes += [f"{row.label}: {row.missing}." for row in rows if row.results and row.missing]
    trainings = [result.training for row in rows for result in row.results]
    devices = dict.fromkeys(f"{cost.device}, {cost.threads} thread(s)" for cost in trainings)
    return notes + ([f"Trained on: {'; '.join(devices)}."] if devices else [])


def _as_csv(rows: Sequence[TableRow]) -> str:
    values = [row.as_dict() for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(values[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(values)
    return text.getvalue()


def _as_markdown(title: str, parts: Sequence[_Part]) -> str:
    text = [f"# {title}", "", LEGEND]
    for part in parts:
        text += ["", f"## {part.title}", ""]
        rows = [part.header, ["---"] * len(part.header), *part.body]
        text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        text += [line for note in part.notes for line in ("", note)]
    return "\n".join(text) + "\n"


def _as_html(title: str, parts: Sequence[_Part]) -> str:
    title = html.escape(title)
    text = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style></head><body>',
        f"<h1>{title}</h1>",
        f"<p>{html.escape(LEGEND)}</p>",
    ]
    for part in parts:
        text += [f"<h2>{html.escape(part.title)}</h2>", "<table>", _html_row(part.header, "th")]
        text += [_html_row(row, "td") for row in part.body]
        text.append("</table>")
        text += [f"<p>{html.escape(note)}</p>" for note in part.notes]
    return "\n".join([*text, "</body></html>"]) + "\n"


def _html_row(row: Sequence[str], kind: str) -> str:
    if kind == "td" and row[1] == "0":  # no results: the reason takes the width of the numbers
        cells = [f"<td>{html.escape(row[0])}</td><td>0</td>"]
        cells.append(f'<td class="missing" colspan="{len(row) - 2}">{html.escape(row[2])}</td>')
    else:
        cells = [f"<{kind}>{html.escape(cell)}</{kind}>" for cell in row]
    return f"<tr>{''.join(cells)}</tr>"
