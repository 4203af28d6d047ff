"""The tables of the paper: cells trained where they are not stored, then tables and pictures of all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from dualcontrast.benchmarks.cells import Cell, result_of, stored_results
from dualcontrast.benchmarks.output import Made
from dualcontrast.benchmarks.pictures import draw_codes, draw_transfers
from dualcontrast.benchmarks.plan import Plan, Wanted, plan_of
from dualcontrast.benchmarks.rows import DATA
from dualcontrast.benchmarks.runner import places_of, reason_of_failure, run_cells
from dualcontrast.benchmarks.tables import Line, rows_as_values, write_tables
from dualcontrast.images import open_images
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder


class Benchmark(Made):
    """A table as one mapping a row and data set, its CSV, Markdown and HTML, and the pictures."""

    def told(self) -> list[str]:
        """Return the main figures, a line a row and data set."""
        lines = []
        for data, rows in groupby(self.rows, key=lambda row: str(row["data"])):
            of_data = list(rows)
            reasons = {row["lacking"] for row in of_data}
            if len(reasons) == 1 and not any(row["seeds"] for row in of_data):
                lines.append(f"  {data:<12} {reasons.pop()}")
            else:
                lines += [_told(row) for row in of_data]
        return lines


def _told(row: Mapping[str, Any]) -> str:
    """Return a row's main figures, and what it lacks."""
    told = f"  {row['data']:<12} {row['label']:<42}"
    if row["seeds"]:
        told += f" D(c|c) {row['D_c_c']:.3f}  D(c|z) {row['D_c_z']:.3f}  gap {row['gap_c']:+.3f}"
        told += f"  ({row['seeds']} seed(s), chance {row['chance_c']:.3f})"
    return f"{told} {row['lacking']}".rstrip()


def benchmark(
    wanted: Wanted,
    *,
    results: Path,
    work: Path,
    out: Path,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Benchmark:
    """Make a table: train and score what is not stored yet, then write tables and pictures.

    Parameters
    ----------
    wanted
        The table, its rows, data sets, seeds and budget.
    results
        Folder of stored results; a cell that has one there is not trained.
    work
        Folder of the run folders; cells that were stopped go on from there.
    out
        Folder for the tables and the pictures.
    jobs
        Cells at a time; as many as there are cores, or GPUs, where none is given.
    device
        auto, cpu, cuda or cuda:1.
    progress
        Told of cells.

    Raises
    ------
    DualContrastError
        Something of the whole is to be mended first; nothing was trained then. See `plan_of`.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM; another call goes on.
    """
    places = places_of(device, jobs)
    plan = plan_of(wanted)
    failed: dict[str, int] = {}
    if not wanted.tables_only:
        stored = stored_results(results, wanted.table)
        cells = [cell for cell in plan.trainable() if result_of(cell, stored) is None]
        failed = run_cells(cells, results, work, places, progress) if cells else {}
    lines = _lines(plan, results, work)
    files = [*write_tables(plan, lines, out), *_draw(plan, results, work, out, progress)]
    names = {cell.name: cell for cell in plan.trainable()}
    reasons = {name: (status, reason_of_failure(work, names[name])) for name, status in failed.items()}
    return Benchmark(rows_as_values(plan, lines), files, reasons)


def _lines(plan: Plan, results: Path, work: Path) -> list[Line]:
    """Return all rows with what is stored of them, and why anything is lacking."""
    stored = stored_results(results, plan.name)
    lines = []
    for (data, row), cells in plan.cells.items():
        found = [result_of(cell, stored) for cell in cells]
        lacking = [_why_lacking(plan, work, cell) for cell, one in zip(cells, found, strict=True) if one is None]
        if not cells:
            lacking = [plan.hindered[data, row]]
        there = [one for one in found if one is not None]
        lines.append(Line(data, row, plan.table.rows[row].label, there, "; ".join(dict.fromkeys(lacking))))
    return lines


def _draw(plan: Plan, results: Path, work: Path, out: Path, progress: Progress) -> list[Path]:
    """Draw all methods of each data set side by side, from the run folders of the first seed that are there."""
    stored = stored_results(results, plan.name)
    drawn = []
    for place, data in enumerate(plan.data):
        progress("drawing", place, len(plan.data))
        runs, cells = {}, [own[0] for row in plan.rows if (own := plan.cells[data, row])]
        for cell in cells:
            run = RunFolder(work / cell.run_name)
            if result_of(cell, stored) is not None and run.weights_path("best").is_file():
                runs[plan.table.rows[cell.row].label] = run
        if runs and cells[0].source is not None:
            images = open_images(cells[0].source, **cells[0].options)
            label, stem = DATA[data].label, f"{plan.name}-{data}"
            drawn += draw_transfers(runs, images, out / f"{stem}-transfer.png", label)
            drawn += draw_codes(runs, out / f"{stem}-codes.png", label)
    progress("drawing", len(plan.data), len(plan.data))
    return drawn


def _why_lacking(plan: Plan, work: Path, cell: Cell) -> str:
    hindrance = plan.hindered.get((cell.data, cell.row))
    if hindrance:
        return hindrance
    reason = reason_of_failure(work, cell)
    return f"seed {cell.seed} failed: {reason}" if reason else f"seed {cell.seed} not run yet"
