"""What a benchmark produces: rows of numbers, files, and the cells that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

Value = str | int | float | None


class ResultRow(Protocol):
    """A row of a table or a figure."""

    def as_dict(self) -> Mapping[str, Value]:
        """Convert the row to plain values."""


@dataclass(frozen=True)
class Failure:
    """A cell that failed.

    Attributes
    ----------
    cell : str
        The name of the cell.
    status : int
        The exit status of its process; negative for a signal.
    reason : str
        The last sentence on its standard error.
    """

    cell: str
    status: int
    reason: str


RowT = TypeVar("RowT", bound=ResultRow)


@dataclass(frozen=True)
class Outcome(Generic[RowT]):
    """What a benchmark produced.

    Attributes
    ----------
    rows : list
        The numbers: of a row and data set of a table, of a panel, or of a map.
    summary : list of str
        The main numbers, as lines of text.
    files : list of Path
        Tables and figures.
    failures : list of Failure
        The cells that failed.
    """

    rows: list[RowT]
    summary: list[str]
    files: list[Path]
    failures: list[Failure]

    def describe(self, shorten: Callable[[Path], Path]) -> list[str]:
        """List the main numbers and the files.

        Parameters
        ----------
        shorten
            Shortens a path for display.
        """
        return [*self.summary, *(f"Look at: {shorten(path)}" for path in self.files)]

    def as_dict(self) -> dict[str, object]:
        """Convert the outcome to plain values."""
        return {
            "rows": [dict(row.as_dict()) for row in self.rows],
            "files": [str(path) for path in self.files],
            "failed": {failure.cell: [failure.status, failure.reason] for failure in self.failures},
        }
