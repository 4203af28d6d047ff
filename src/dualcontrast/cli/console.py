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
    """Draw a bar for each kind of work, with its rate and the time left, and the figures of the last below."""
    from rich.console import Console as Terminal
    from rich.console import RenderableType
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class BarsAndFigures(Bars):
        figures = ""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            if self.figures:
                yield Text(self.figures, style="dim")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with BarsAndFigures(*columns, console=Terminal(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int | None, /, **numbers: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done, rate="")
            speed = bars.tasks[list(tasks).index(what)].speed
            bars.update(tasks[what], completed=done, total=total, rate=f"{speed:,.0f}/s" if speed else "")
            bars.figures = _numbers(numbers)

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
