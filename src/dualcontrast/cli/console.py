"""The output of a verb: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dualcontrast.files import JSONObject
from dualcontrast.progress import Progress, silent

LONGEST_SILENCE, SHORTEST_SILENCE = 300.0, 5.0  # seconds between two lines where bars cannot be drawn
RATE_PERIOD = 600.0  # seconds over which the rate of a bar is averaged


@dataclass(frozen=True)
class Console:
    """Where the progress and the result of a verb go, by the two options that every verb has.

    Attributes
    ----------
    quiet : bool
        Print no progress and no summary.
    as_json : bool
        Print the result as one JSON value instead of a summary.
    """

    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no summary.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Give a progress callback that draws bars in a terminal, and prints lines now and then elsewhere."""
        if self.quiet:
            yield silent
        elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            with _bars() as bars:
                yield bars
        else:
            yield _Lines()

    def result(self, value: JSONObject, summary: Iterable[str]) -> None:
        """Print the result of a verb: as JSON, or the lines of its summary."""
        if self.as_json:
            print(json.dumps(value, indent=2, default=str))
        elif not self.quiet:
            for line in summary:
                print(line)


def relative(path: Path) -> Path:
    """Shorten a path in the current folder to a relative one."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def rate_in_words(per_second: float | None) -> str:
    """Write a rate such as 812/s or 1.5/s; 40 s each if it is slow; an empty string if it is unknown."""
    if not per_second:
        return ""
    if per_second < 1:
        return f"{duration_in_words(1 / per_second)} each"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def duration_in_words(seconds: float) -> str:
    """Write a duration to about two digits: 8 s, 12 min, 3 h 20 min, 2 d 4 h."""
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
    """Draw a bar for each task, with its rate and the time left, and the latest numbers below."""
    from rich.console import Console as Terminal
    from rich.console import RenderableType
    from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class BarsAndNumbers(Bars):
        numbers = ""

        def get_renderables(self) -> Iterator[RenderableType]:
            yield from super().get_renderables()
            if self.numbers:
                yield Text(self.numbers, style="dim")

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(rate_in_words(task.finished_speed or task.speed or self.average(task)))

        @staticmethod
        def average(task: Task) -> float | None:
            """Compute the rate of a task too short for rich, which needs three updates."""
            return (task.completed - task.fields["first"]) / task.elapsed if task.elapsed else None

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with BarsAndNumbers(*columns, console=Terminal(stderr=True), speed_estimate_period=RATE_PERIOD) as bars:
        tasks: dict[str, TaskID] = {}
        before: dict[str, int] = {}

        def show(what: str, done: int, total: int | None, /, **numbers: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done, first=done)
            elif done < before[what]:  # the same task again, on something else
                bars.reset(tasks[what], total=total, first=0)
            before[what] = done
            bars.update(tasks[what], completed=done, total=total)
            bars.numbers = _numbers(numbers)

        yield show


class _Lines:
    """Progress without a terminal: a line at every tenth of a long task, and at its end."""

    def __init__(self) -> None:
        self._task = ""
        self._tenth = -1
        self._first = self._previous = 0
        self._started = self._printed = 0.0

    def __call__(self, what: str, done: int, total: int | None, /, **numbers: float) -> None:
        now = time.monotonic()
        if what != self._task or done < self._previous:  # another task, or the same on something else
            self._task, self._tenth, self._first, self._started, self._printed = what, -1, done, now, now
        self._previous = done
        tenth, silence = (10 * done // total if total else 0), now - self._printed
        due = tenth > self._tenth and silence >= SHORTEST_SILENCE
        if not (due or silence >= LONGEST_SILENCE or done == total or total is None):
            return
        self._tenth, self._printed = tenth, now
        line = "  ".join([self._line(done, total, now - self._started), _numbers(numbers)])
        print(line.rstrip(), file=sys.stderr)

    def _line(self, done: int, total: int | None, seconds: float) -> str:
        if total is None:
            return f"{self._task} ..."
        rate = (done - self._first) / seconds if seconds > 0 else 0.0
        if not rate:
            return f"{self._task}: {done} of {total}"
        left = f", {duration_in_words((total - done) / rate)} left" if done < total else ""
        return f"{self._task}: {done} of {total}, {rate_in_words(rate)}{left}"
