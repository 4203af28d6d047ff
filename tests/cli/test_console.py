"""Progress in lines, by a clock of the test's own."""

from __future__ import annotations

import json

import pytest

from dualcontrast.cli import console
from dualcontrast.cli.console import Console, duration_in_words, rate_in_words


class Clock:
    """Time that goes by when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console.time, "monotonic", clock)
    return clock


def test_lines_tell_rate_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=False, as_json=False).progress() as progress:
        for second in range(0, 101):
            progress("training", 20 * second, 2000, loss=3.14159)
            clock.now += 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11
    assert told[0] == "training: 100 of 2000, 20/s, 95 s left  loss 3.142"
    assert told[4] == "training: 800 of 2000, 20/s, 60 s left  loss 3.142"
    assert told[-1] == "training: 2000 of 2000, 20/s  loss 3.142"


def test_quick_work_is_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=False, as_json=False).progress() as progress:
        for done in range(1, 401):
            progress("encoding", done, 400)
            clock.now += 0.01
    assert capsys.readouterr().err == "encoding: 400 of 400, 100/s\n"


def test_slow_work_is_told_of_in_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=False, as_json=False).progress() as progress:
        for _ in range(1201):  # every second, and no more is done
            progress("cells", 1, 30)
            clock.now += 1
    assert capsys.readouterr().err.splitlines() == ["cells: 1 of 30"] * 4


def test_work_that_begins_anew_has_a_rate_of_its_own(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=False, as_json=False).progress() as progress:
        progress("averaging", 0, 2)
        for seconds in (1, 10):
            for done in range(0, 11):
                progress("aligning", done, 10)
                clock.now += seconds
        progress("laying out", 0, None)
        progress("laying out", 1, 1)
    told = capsys.readouterr().err.splitlines()
    assert "aligning: 10 of 10, 1.0/s" in told
    assert "aligning: 5 of 10, 10 s each, 50 s left" in told
    assert told[-2:] == ["laying out ...", "laying out: 1 of 1"]


def test_a_terminal_that_cannot_redraw_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: True)
    with Console(quiet=False, as_json=False).progress() as progress:
        progress("training", 3, 3)
    assert capsys.readouterr().err == "training: 3 of 3\n"


def test_silence_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Console(quiet=True, as_json=False)
    with quiet.progress() as progress:
        progress("training", 1, 1)
    quiet.result({"a": 1}, ["words"])
    assert capsys.readouterr() == ("", "")
    Console(quiet=True, as_json=True).result({"a": 1}, ["words"])
    assert json.loads(capsys.readouterr().out) == {"a": 1}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (12000, "3 h 20 min"), (187200, "2 d 4 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


@pytest.mark.parametrize(
    ("rate", "words"),
    [(None, ""), (0.0, ""), (0.025, "40 s each"), (1.25, "1.2/s"), (12.5, "12/s"), (4321.0, "4,321/s")],
)
def test_rates(rate: float | None, words: str) -> None:
    assert rate_in_words(rate) == words
