"""The tables of the paper: train the cells that are not stored yet, then write tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from dualcontrast.benchmarks.cells import Cell, find_result, read_results
from dualcontrast.benchmarks.outcome import Outcome
from dualcontrast.benchmarks.paper import paper_scores
from dualcontrast.benchmarks.pictures import draw_codes, draw_transfers
from dualcontrast.benchmarks.plan import Plan, TableRequest, make_plan
from dualcontrast.benchmarks.rows import DATA
from dualcontrast.benchmarks.runner import Setup, failure_reason, run_cells
from dualcontrast.benchmarks.table_files import write_table_files
from dualcontrast.benchmarks.table_rows import TableRow
from dualcontrast.images import open_images
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder


def make_table(request: TableRequest, setup: Setup, progress: Progress = silent) -> Outcome[TableRow]:
    """Make a table: train and score what is not stored yet, then write tables and figures.

    Parameters
    ----------
    request
        The table, its rows, data sets, seeds and budget.
    setup
        Folders and devices.
    progress
        Called as cells finish.

    Raises
    ------
    DualContrastError
        The request cannot be met, and nothing was trained; see `make_plan`.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM; another call resumes.
    """
    plan = make_plan(request)
    failures = []
    if not request.tables_only:
        stored = read_results(setup.results, request.table)
        missing = [cell for cell in plan.trainable() if find_result(cell, stored) is None]
        failures = run_cells(missing, setup, progress)
    rows = _rows(plan, setup)
    files = [*write_table_files(plan, rows, setup.out), *_draw(plan, setup, progress)]
    return Outcome(rows, _summary(rows), files, failures)


def _rows(plan: Plan, setup: Setup) -> list[TableRow]:
    """Collect the stored results of each row, and why some are missing."""
    stored = read_results(setup.results, plan.name)
    rows = []
    for (data, name), cells in plan.cells.items():
        results = [find_result(cell, stored) for cell in cells]
        unfinished = [cell for cell, result in zip(cells, results, strict=True) if result is None]
        reasons = [_reason_missing(plan, setup, cell) for cell in unfinished]
        if not cells:
            reasons = [plan.skipped[data, name]]
        rows.append(
            TableRow(
                data=data,
                row=name,
                label=plan.table.rows[name].label,
                results=[result for result in results if result is not None],
                missing="; ".join(dict.fromkeys(reasons)),
                paper=paper_scores(plan.name, data, name),
            )
        )
    return rows


def _summary(rows: Sequence[TableRow]) -> list[str]:
    """Write the main numbers, one line for each row and data set."""
    lines = []
    for data, group in groupby(rows, key=lambda row: row.data):
        of_data = list(group)
        reasons = {row.missing for row in of_data}
        if len(reasons) == 1 and not any(row.results for row in of_data):
            lines.append(f"  {data:<12} {reasons.pop()}")
        else:
            lines += [_summary_line(row) for row in of_data]
    return lines


def _summary_line(row: TableRow) -> str:
    """Write the main numbers of a row, and what is missing."""
    line = f"  {row.data:<12} {row.label:<42}"
    if row.results:
        values = row.as_dict()
        line += f" D(c|c) {values['D_c_c']:.3f}  D(c|z) {values['D_c_z']:.3f}  gap {values['gap_c']:+.3f}"
        line += f"  ({len(row.results)} seed(s), chance {values['chance_c']:.3f})"
    return f"{line} {row.missing}".rstrip()


def _draw(plan: Plan, setup: Setup, progress: Progress) -> list[Path]:
    """Draw the methods of each data set side by side, from the runs of the first seed."""
    stored = read_results(setup.results, plan.name)
    drawn = []
    for number, data in enumerate(plan.data):
        progress("drawing", number, len(plan.data))
        first_cells = [cells[0] for row in plan.rows if (cells := plan.cells[data, row])]
        runs = {}
        for cell in first_cells:
            run = RunFolder(setup.work / cell.run_name)
            if find_result(cell, stored) is not None and run.weights_path("best").is_file():
                runs[plan.table.rows[cell.row].label] = run
        if runs and first_cells[0].source is not None:
            images = open_images(first_cells[0].source, **first_cells[0].options)
            label, stem = DATA[data].label, f"{plan.name}-{data}"
            drawn += draw_transfers(runs, images, setup.out / f"{stem}-transfer.png", label)
            drawn += draw_codes(runs, setup.out / f"{stem}-codes.png", label)
    progress("drawing", len(plan.data), len(plan.data))
    return drawn


def _reason_missing(plan: Plan, setup: Setup, cell: Cell) -> str:
    """Say why a cell has no result."""
    skipped = plan.skipped.get((cell.data, cell.row))
    if skipped:
        return skipped
    reason = failure_reason(setup.work, cell)
    return f"seed {cell.seed} failed: {reason}" if reason else f"seed {cell.seed} not run yet"
