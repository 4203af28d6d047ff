"""What a verb shows: progress on the standard error, results on the standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualcontrast.progress import Progress, silent

LONGEST_SILENCE, SHORTEST_SILENCE = 300.0, 5.0  # seconds between two lines, where nothing can be redrawn
RATE_OVER = 600.0  # seconds that the rate of a bar is taken of


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
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
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


def rate_in_words(per_second: float | None) -> str:
    """Return a rate such as 812/s or 1.5/s, or 40 s each where that is slow; nothing where it is not known."""
    if not per_second:
        return ""
    if per_second < 1:
        return f"{duration_in_words(1 / per_second)} each"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def duration_in_words(seconds: float) -> str:
    """Return a duration to two figures or so: 8 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes_over = divmod(minutes, 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{hours} h {minutes_over} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _numbers(numbers: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())


@contextmanager
def _bars() -> Iterator[Progress]:
    """Draw a bar for each kind of work, with its rate and the time left, and the figures of the last below."""
    from rich.console import Console as Terminal
    from rich.console import RenderableType
    from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class BarsAndFigures(Bars):
        figures = ""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            if self.figures:
                yield Text(self.figures, style="dim")

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(rate_in_words(task.finished_speed or task.speed or self.since_it_began(task)))

        @staticmethod
        def since_it_began(task: Task) -> float | None:
            """Return the rate of work too short for rich, which wants to be told three times."""
            return (task.completed - task.fields["begun"]) / task.elapsed if task.elapsed else None

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with BarsAndFigures(*columns, console=Terminal(stderr=True), speed_estimate_period=RATE_OVER) as bars:
        tasks: dict[str, TaskID] = {}
        before: dict[str, int] = {}

        def show(what: str, done: int, total: int | None, /, **numbers: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done, begun=done)
            elif done < before[what]:  # the same work begins anew, on something else
                bars.reset(tasks[what], total=total, begun=0)
            before[what] = done
            bars.update(tasks[what], completed=done, total=total)
            bars.figures = _numbers(numbers)

        yield show


class _Lines:
    """Progress where nothing can be redrawn: a line at every tenth of long work, and at its end."""

    def __init__(self) -> None:
        self._what = ""
        self._tenth = -1
        self._first = self._before = 0
        self._begun = self._told = 0.0

    def __call__(self, what: str, done: int, total: int | None, /, **numbers: float) -> None:
        now = time.monotonic()
        if what != self._what or done < self._before:  # other work, or the same on something else
            self._what, self._tenth, self._first, self._begun, self._told = what, -1, done, now, now
        self._before = done
        tenth, silence = (10 * done // total if total else 0), now - self._told
        due = tenth > self._tenth and silence >= SHORTEST_SILENCE
        if not (due or silence >= LONGEST_SILENCE or done == total or total is None):
            return
        self._tenth, self._told = tenth, now
        print("  ".join([self._said(done, total, now - self._begun), _numbers(numbers)]).rstrip(), file=sys.stderr)

    def _said(self, done: int, total: int | None, seconds: float) -> str:
        if total is None:
            return f"{self._what} ..."
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        if not rate:
            return f"{self._what}: {done} of {total}"
        left = f", {duration_in_words((total - done) / rate)} left" if done < total else ""
        return f"{self._what}: {done} of {total}, {rate_in_words(rate)}{left}"
