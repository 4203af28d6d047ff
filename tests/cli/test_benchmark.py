"""The verbs `benchmark ...`: what reaches the benchmarks, what they print, and their exit status."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.benchmarks import CELL
from tests.support.command import assert_refused, call

from dualcontrast.benchmarks import table as tables
from dualcontrast.benchmarks import throughput, worker
from dualcontrast.benchmarks.figure6 import Figure6Request
from dualcontrast.benchmarks.figures import FigureRequest
from dualcontrast.benchmarks.outcome import Failure, Outcome
from dualcontrast.benchmarks.plan import Source, TableRequest
from dualcontrast.benchmarks.runner import Setup
from dualcontrast.benchmarks.throughput import Throughput
from dualcontrast.devices import processors

ArgumentsOf = Callable[..., dict[str, Any]]


# ---- what reaches the benchmarks


@pytest.mark.parametrize("name", ["table1", "ablation"])
def test_options_of_a_table_reach_it(name: str, arguments_of: ArgumentsOf) -> None:
    data = ("--mnist", "a", "--linemod", "c", "--subtomograms", "b.star", "--bin", 2, "--data", "mnist")
    rows = ("--seeds", 4, "--seeds", 0, "--seeds", 4, "--methods", "harmony", "--methods", "simclr")
    cells = ("--budget", 1, "--limit", 300, "--jobs", 3, "--device", "cpu", "--out", "of-mine", "--work", "w")
    given = arguments_of("benchmark", name, *data, *rows, *cells)
    request, setup, _ = given["arguments"]
    assert request == TableRequest(
        name,
        {"mnist": Source("a"), "linemod": Source("c"), "subtomograms": Source("b.star", {"bin": 2})},
        rows=("harmony", "simclr"),
        data=("mnist",),
        seeds=(4, 0),
        budget=1,
        limit=300,
    )
    assert setup == Setup(Path("results"), Path("w"), Path("of-mine"), ["cpu"] * 3)


def test_a_table_without_options_is_the_whole_one(arguments_of: ArgumentsOf) -> None:
    request, setup, _ = arguments_of("benchmark", "table1", "--device", "cpu")["arguments"]
    assert request == TableRequest("table1", {})
    assert setup == Setup(Path("results"), Path("runs/benchmark"), Path("tables"), ["cpu"] * processors())


def test_table2_is_of_linemod(arguments_of: ArgumentsOf) -> None:
    words = ("benchmark", "table2", "--linemod", "a", "--methods", "hue", "--tables-only", "--results", "r")
    request, setup, _ = arguments_of(*words)["arguments"]
    assert request == TableRequest("table2", {"linemod": Source("a")}, rows=("hue",), tables_only=True)
    assert setup.results == Path("r")
    assert_refused(call("benchmark", "table2", "--mnist", "a"), "no option of benchmark table2 is called --mnist")


def test_options_of_figures_reach_them(arguments_of: ArgumentsOf) -> None:
    words = ("--subtomograms", "a.star", "--bin", 2, "--seed", 5, "--budget", 3, "--limit", 70, "--device", "cpu")
    words = (*words, "--identity", "spike", "--jobs", 1, "--out", "o")
    setup = Setup(Path("results"), Path("runs/benchmark"), Path("o"), ["cpu"])
    given = arguments_of("benchmark", "figure5", *words)["arguments"]
    assert given[:2] == (FigureRequest("a.star", 2, 5, 3, 70, "spike"), setup)
    given = arguments_of("benchmark", "figure6", *words, "--align")["arguments"]
    assert given[:2] == (Figure6Request("a.star", 2, 5, 3, 70, "spike", True), setup)
    request, *_ = arguments_of("benchmark", "figure6", "--subtomograms", "a.star")["arguments"]
    assert request == Figure6Request("a.star", 1, 0, 10, None, "nucleosome", False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("table1", "--device", "gpu", "--mnist", "a"), "'gpu' is no device"),
        (("table1", "--jobs", 0), "benchmark table1: invalid value for '--jobs'"),
        (("table1", "--limit", 1), "benchmark table1: invalid value for '--limit'"),
        (("table1", "--budget", 0), "benchmark table1: invalid value for '--budget'"),
        (("table1", "--seeds", -1), "benchmark table1: invalid value for '--seeds'"),
        (("figure5",), "benchmark figure5: missing option '--subtomograms'"),
        (("throughput", "--rounds", 0), "benchmark throughput: invalid value for '--rounds'"),
    ],
)
def test_bad_options_are_refused(words: tuple[object, ...], sentence: str) -> None:
    assert_refused(call("benchmark", *words), sentence)


# ---- what they print


@dataclass(frozen=True)
class Row:
    """A row of made-up numbers."""

    gap: float

    def as_dict(self) -> dict[str, Any]:
        return {"gap": self.gap}


def outcome_of(*statuses: int) -> Outcome[Row]:
    failures = [Failure(f"cell{place}", status, f"reason {place}") for place, status in enumerate(statuses)]
    return Outcome([Row(0.5), Row(0.25)], ["gap 0.5", "gap 0.25"], [Path.cwd() / "tables" / "a.md"], failures)


@pytest.mark.parametrize(
    ("statuses", "status"), [((), 0), ((2,), 2), ((2, 2), 2), ((2, 1), 1), ((-9,), 1), ((1, 2), 1)]
)
def test_an_outcome_is_printed_and_failures_set_the_status(
    statuses: tuple[int, ...], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tables, "make_table", lambda *_: outcome_of(*statuses))
    ended = call("benchmark", "table1", "--mnist", "a")
    assert ended.status == status
    assert ended.out.splitlines() == ["gap 0.5", "gap 0.25", "Look at: tables/a.md"]
    failures = [f"dualcontrast: cell{place} failed: reason {place}" for place in range(len(statuses))]
    assert ended.err.splitlines() == failures
    ended = call("benchmark", "table1", "--mnist", "a", "--json")
    assert ended.status == status
    assert json.loads(ended.out) == {
        "rows": [{"gap": 0.5}, {"gap": 0.25}],
        "files": [str(tmp_path / "tables" / "a.md")],
        "failed": {f"cell{place}": [one, f"reason {place}"] for place, one in enumerate(statuses)},
    }
    silent = call("benchmark", "table1", "--mnist", "a", "--quiet")
    assert (silent.status, silent.out, silent.err.splitlines()) == (status, "", failures)


def test_throughput_is_printed_with_its_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def measure(rounds: int, steps: int, progress: Any) -> Throughput:
        calls.append((rounds, steps))
        return Throughput(2, rounds, steps, {"one": 1234.56, "two": 20.0}, {"one": 1.0, "two": 0.0162})

    monkeypatch.setattr(throughput, "throughput", measure)
    ended = call("benchmark", "throughput", "--rounds", 3, "--steps", 7)
    assert ended.out.splitlines() == [
        "Images a second of training, batch 100, 2 thread(s), median of 3 rounds:",
        f"  {'one':<32}    1,235   x 1.00",
        f"  {'two':<32}       20   x 0.02",
    ]
    assert json.loads(call("benchmark", "throughput", "--json").out) == {
        "threads": 2,
        "rounds": 5,
        "steps": 100,
        "rates": {"one": 1234.56, "two": 20.0},
        "ratios": {"one": 1.0, "two": 0.0162},
    }
    assert calls == [(3, 7), (5, 100)]


# ---- the hidden verb


class Input(io.StringIO):
    """Standard input with a file descriptor."""

    def fileno(self) -> int:
        return 77


def test_a_cell_comes_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(worker, "exit_when_closed", done.append)
    monkeypatch.setattr(worker, "run_cell", lambda *arguments: done.append(arguments))
    monkeypatch.setattr(sys, "stdin", Input(f"{CELL.to_json()}\nmore\n"))
    ended = call("benchmark", "cell", "--results", "r", "--work", "w")
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert done == [77, (CELL, Path("r"), Path("w"), "cpu")]


def test_the_verb_of_a_cell_is_not_listed() -> None:
    listed = [line.split()[0] for line in call("benchmark", "--help").out.splitlines() if line.startswith("  ")]
    verbs = {"table1", "ablation", "table2", "figure5", "figure6", "throughput", "cell"}
    assert verbs & set(listed) == verbs - {"cell"}
