"""The rows of a table: mean and standard deviation of stored results, beside the scores of the paper."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dualcontrast.benchmarks.cells import CellResult
from dualcontrast.benchmarks.outcome import Value
from dualcontrast.benchmarks.paper import PaperScores, not_comparable

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        Its name in the CSV file; the standard deviation has the same name with `_std`, the paper's score with
        `_paper`.
    title : str
        Its title in Markdown and HTML.
    path : tuple of str
        Where the number is in a result, as in `CellResult.number`.
    paper : str
        The field of `PaperScores` with the paper's score; empty if it has none.
    digits : int
        Digits after the decimal point.
    unit : float
        Numbers are divided by it.
    """

    name: str
    title: str
    path: tuple[str, ...]
    paper: str = ""
    digits: int = 3
    unit: float = 1.0

    def numbers(self, results: Iterable[CellResult]) -> list[float]:
        """Read the number of each result that has one."""
        found = (result.number(*self.path) for result in results)
        return [number / self.unit for number in found if number is not None]


def _score(question: str, name: str, title: str, key: str, paper: str = "") -> Column:
    return Column(name, title, ("scores", question, key), paper)


COLUMNS: tuple[Column, ...] = (
    _score("content", "D_c_c", "D(c|c)", "from_content", "content_from_content"),
    _score("content", "D_c_z", "D(c|z)", "from_transformation", "content_from_transformation"),
    _score("content", "SAP_c", "SAP(c)", "sap", "content_sap"),
    _score("content", "gap_c", "gap(c)", "gap"),
    _score("content", "chance_c", "chance(c)", "chance"),
    _score("transformation", "D_z_z", "D(z|z)", "from_transformation", "transformation_from_transformation"),
    _score("transformation", "D_z_c", "D(z|c)", "from_content", "transformation_from_content"),
    _score("transformation", "SAP_z", "SAP(z)", "sap", "transformation_sap"),
    _score("transformation", "gap_z", "gap(z)", "gap"),
    _score("transformation", "chance_z", "chance(z)", "chance"),
    _score("viewpoint", "R2_view_z", "R2(view|z)", "from_transformation"),
    _score("viewpoint", "R2_view_c", "R2(view|c)", "from_content"),
    Column("knn_c_z", "kNN(c|z)", ("scores", "probes", "content", "knn", "from_transformation")),
    _score("swap", "content_kept", "hybrids keep c", "content_kept"),
    _score("swap", "transformation_kept", "hybrids keep z", "transformation_kept"),
    Column("images_seen", "images seen", ("training", "images_seen"), digits=0),
    Column("minutes", "minutes", ("training", "seconds"), digits=1, unit=60),
    Column("memory_gib", "memory (GiB)", ("training", "peak_memory"), digits=2, unit=GIBIBYTE),
)


@dataclass(frozen=True)
class TableRow:
    """A row of a table, on one data set.

    Attributes
    ----------
    data, row, label : str
        The data set, the name of the row, and the label of its method.
    results : sequence of CellResult
        The stored results, one for each seed.
    missing : str
        Why results are missing; empty if none are.
    paper : PaperScores or None
        The scores of the paper; None where it has no such row.
    """

    data: str
    row: str
    label: str
    results: Sequence[CellResult]
    missing: str
    paper: PaperScores | None

    def mean(self, column: Column) -> float | None:
        """Average a column over seeds; None if no result has it."""
        numbers = column.numbers(self.results)
        return statistics.fmean(numbers) if numbers else None

    def deviation(self, column: Column) -> float | None:
        """Compute the standard deviation of a column over seeds; None with fewer than two results."""
        numbers = column.numbers(self.results)
        return statistics.stdev(numbers) if len(numbers) > 1 else None

    def paper_score(self, column: Column) -> float | None:
        """Look up the paper's score for a column; None where it has none."""
        score: float | None = getattr(self.paper, column.paper) if self.paper and column.paper else None
        return score

    @property
    def not_comparable(self) -> str:
        """Why the results cannot be compared with the paper; empty if they can, or if there are none."""
        if not self.results:
            return ""
        first = self.results[0]
        return not_comparable(self.data, first.classes, first.images)

    def as_dict(self) -> dict[str, Value]:
        """Convert the row to plain values, the columns of the CSV file."""
        values: dict[str, Value] = {
            "data": self.data,
            "row": self.row,
            "label": self.label,
            "seeds": len(self.results),
        }
        for column in COLUMNS:
            values[column.name] = _rounded(self.mean(column))
            values[f"{column.name}_std"] = _rounded(self.deviation(column))
            if column.paper:
                values[f"{column.name}_paper"] = self.paper_score(column)
        compared = bool(self.results) and self.paper is not None
        values["comparable"] = ("no" if self.not_comparable else "yes") if compared else None
        values["not_comparable_because"] = self.not_comparable if self.paper is not None else ""
        values["lacking"] = self.missing
        return values


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
