"""What a verb shows: progress on the standard error, results on the standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualcontrast.progress import Progress, silent


class Console:
    """Where a verb's progress and results go.

    Parameters
    ----------
    quiet
        No progress, and no results in words.
    as_json
        The result as one JSON value in place of words.
    """

    def __init__(self, quiet: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Give a progress callback that draws bars, or lines now and then where there is no terminal."""
        if self.quiet:
            yield silent
        elif sys.stderr.isatty():
            with _bars() as bars:
                yield bars
        else:
            yield _Lines()

    def result(self, value: dict[str, Any], words: Iterable[str]) -> None:
        """Print a verb's result."""
        if self.as_json:
            print(json.dumps(value, indent=2, default=str))
        elif not self.quiet:
            for line in words:
                print(line)


def from_here(path: Path) -> Path:
    """Return a path as short as it can be said from the current folder."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _numbers(numbers: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())


@contextmanager
def _bars() -> Iterator[Progress]:
    """Draw a bar for each kind of work, with its rate, the time left and its figures."""
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[numbers]}"),
    )
    with Bars(*columns, console=Terminal(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int | None, /, **numbers: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done, rate="", numbers="")
            speed = bars.tasks[list(tasks).index(what)].speed
            rate = f"{speed:,.0f}/s" if speed else ""
            shown = {"completed": done, "total": total, "rate": rate}
            if numbers:
                shown["numbers"] = _numbers(numbers)
            bars.update(tasks[what], **shown)  # type: ignore[arg-type]

        yield show


class _Lines:
    """Progress where nothing can be redrawn: a line of its own at every tenth of the work."""

    def __init__(self) -> None:
        self._tenths: dict[str, int] = {}

    def __call__(self, what: str, done: int, total: int | None, /, **numbers: float) -> None:
        tenth = 10 * done // total if total else 0
        if tenth != self._tenths.get(what):
            self._tenths[what] = tenth
            print(f"{what}: {done} of {total or '?'}  {_numbers(numbers)}".rstrip(), file=sys.stderr)
