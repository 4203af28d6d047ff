"""A small table from end to end: cells trained in their own processes, stopped, resumed, and stored."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.support.benchmarks import make_setup
from tests.support.command import assert_refused, call, command
from tests.support.runs import DIGITS

from dualcontrast.api import Run
from dualcontrast.benchmarks import table as module
from dualcontrast.benchmarks.cells import result_path
from dualcontrast.benchmarks.outcome import Outcome
from dualcontrast.benchmarks.plan import Source, TableRequest, make_plan
from dualcontrast.benchmarks.table import make_table
from dualcontrast.benchmarks.table_rows import TableRow
from dualcontrast.benchmarks.worker import run_cell

REQUEST = TableRequest(
    "table1",
    {"mnist": Source(str(DIGITS))},
    rows=("simclr", "dualcontrast"),
    data=("mnist",),
    seeds=(0,),
    budget=0.01,
    limit=300,
)


def make(folder: Path, request: TableRequest = REQUEST, **folders: Path) -> Outcome[TableRow]:
    return make_table(request, replace(make_setup(folder, ("cpu", "cpu")), **folders))


def values(outcome: Outcome[TableRow]) -> list[dict[str, Any]]:
    return [row.as_dict() for row in outcome.rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def done(folder: Path) -> Outcome[TableRow]:
    return make(folder)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_cells", lambda cells, *_: pytest.fail("cells were trained") if cells else [])


def bytes_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".png"}


def test_cells_are_trained_scored_and_shown(done: Outcome[TableRow], folder: Path) -> None:
    assert done.failures == []
    assert [row.row for row in done.rows] == ["simclr", "dualcontrast"]
    for row, cell in zip(values(done), make_plan(REQUEST).trainable(), strict=True):
        stored = json.loads(result_path(folder / "results", cell).read_text())
        run = Run.open(folder / "work" / cell.run_name)
        assert stored["scores"] == run.read_scores()
        assert stored["scores"]["content"]["from_content"] == row["D_c_c"]
        assert stored["cell"]["recipe"] == run.config().recipe == cell.recipe
        assert stored["cell"]["data_digest"] == run.config().data.digest
        training, last = stored["training"], run.read_log()[-1]
        assert (training["steps"], training["images_seen"]) == (last["step"], last["images_seen"])
        assert (training["stopped_by"], training["threads"], training["device"]) == ("minutes", 1, "cpu")
        assert training["seconds"] >= 0.6
        assert training["peak_memory"] > 2**26
        assert set(stored["versions"]) == {"dualcontrast", "torch", "python"}
        assert (row["seeds"], row["lacking"], row["comparable"]) == (1, "", "no")
    simclr, dualcontrast = values(done)
    assert simclr["content_kept"] is None  # it makes no images
    assert 0 <= dualcontrast["content_kept"] <= 1


def test_pictures_of_all_methods(done: Outcome[TableRow], folder: Path) -> None:
    assert [path.name for path in done.files] == [
        *(f"table1.{kind}" for kind in ("csv", "md", "html")),
        *(f"table1-mnist-{kind}.png" for kind in ("transfer", "codes")),
    ]
    for path in done.files[3:]:
        with Image.open(path) as picture:
            assert min(picture.size) > 400


def test_tables_of_stored_cells_alone_are_the_same_bytes(
    done: Outcome[TableRow], folder: Path, no_training: None, tmp_path: Path
) -> None:
    before = bytes_of(folder / "out")
    again = make(folder, out=tmp_path / "again")  # all are stored, so nothing is trained
    assert bytes_of(tmp_path / "again") == before
    assert values(again) == values(done)
    nowhere = {"work": tmp_path / "nowhere", "out": tmp_path / "alone"}
    make(folder, replace(REQUEST, sources={}, tables_only=True), **nowhere)  # neither data nor run folders
    assert bytes_of(tmp_path / "alone") == before
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("change", [{"budget": 0.02}, {"limit": 299}, {"seeds": (1,)}])
def test_another_setting_is_another_cell(
    done: Outcome[TableRow], folder: Path, change: dict[str, Any], tmp_path: Path
) -> None:
    made = make(folder, replace(REQUEST, tables_only=True, **change), out=tmp_path)
    seed = change.get("seeds", (0,))[0]
    assert {row.missing for row in made.rows} == {f"seed {seed} not run yet"}


def test_a_trained_cell_is_only_scored(done: Outcome[TableRow], folder: Path, tmp_path: Path) -> None:
    """As if a cell had ended between its training and its result."""
    cell = make_plan(REQUEST).trainable()[0]
    run = Run.open(folder / "work" / cell.run_name)
    log = run.log_path.read_bytes()
    (run.path / "trained.json").unlink()
    run_cell(cell, tmp_path, folder / "work")
    assert run.log_path.read_bytes() == log
    ours, before = (json.loads(result_path(at, cell).read_text()) for at in (tmp_path, folder / "results"))
    assert ours["scores"] == before["scores"]
    assert before["training"]["peak_memory"] is not None
    assert ours["training"]["peak_memory"] is None  # another process did the training


# ---- stopped and resumed

LONG = replace(REQUEST, rows=("simclr",), budget=0.1)
WORDS = ("table1", "--mnist", DIGITS, "--methods", "simclr", "--data", "mnist", "--seeds", 0, "--limit", 300)


def options(folder: Path) -> list[object]:
    named = [(f"--{name}", folder / name) for name in ("results", "work", "out")]
    return [word for pair in named for word in pair] + ["--device", "cpu"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_benchmark_resumes(number: signal.Signals, status: int, tmp_path: Path) -> None:
    (cell,) = make_plan(LONG).trainable()
    run = Run(tmp_path / "work" / cell.run_name)
    words = command("benchmark", *WORDS, "--budget", 0.1, *options(tmp_path))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while len(run.read_log()) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=100)
    assert process.returncode == status, err
    assert "Traceback" not in err
    while (
        run.read_log()[-1].get("stopped") != "signal"
    ):  # the cell ended too, though no process was left to end it
        assert time.monotonic() < deadline, "the cell still runs"
        time.sleep(0.05)
    assert not result_path(tmp_path / "results", cell).exists()
    stopped = run.read_log()
    made = make(tmp_path, LONG)
    assert made.failures == []
    log = run.read_log()
    epochs = [line for line in stopped if "loss" in line]
    assert log[: len(epochs)] == epochs
    assert log[-1]["step"] > stopped[-1]["step"]
    assert log[-1]["stopped"] == "minutes"
    assert 6 <= log[-1]["seconds"] < 6 + 10
    assert len(made.rows[0].results) == 1


# ---- on the command line


def test_a_failed_cell_is_reported_and_gives_the_exit_status(tmp_path: Path) -> None:
    (cell,) = make_plan(replace(REQUEST, rows=("simclr",))).trainable()
    with Run(tmp_path / "work" / cell.run_name).locked():
        ended = call("benchmark", *WORDS, "--budget", 0.01, *options(tmp_path), "--quiet")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"dualcontrast: {cell.name} failed: ")
    assert "another process is writing to this run" in ended.err
    assert "seed 0 failed: " in (tmp_path / "out" / "table1.md").read_text()


def test_the_command_prints_the_main_numbers(done: Outcome[TableRow], folder: Path, no_training: None) -> None:
    ended = call("benchmark", *WORDS, "--methods", "dualcontrast", "--budget", 0.01, *options(folder), "--json")
    assert json.loads(ended.out) == json.loads(json.dumps(done.as_dict()))
    words = call("benchmark", *WORDS, "--budget", 0.01, *options(folder)).out.splitlines()
    assert f"D(c|c) {values(done)[0]['D_c_c']:.3f}" in words[0]
    assert words[-1].startswith("Look at: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("table1", "--mnist", DIGITS, "--methods", "harmny"), "no row of table1 is called harmny"),
        (("table1",), "no images of mnist are given"),
        (("table1", "--mnist", "/nowhere"), "/nowhere: no such file or folder"),
        (("table2", "--linemod", DIGITS), "rotation on LineMod: images of 28 x 28 are too small"),
        (("ablation", "--mnist", DIGITS, "--data", "cifar"), "no data set of ablation is called cifar"),
        (("table1", "--mnist", DIGITS, "--device", "tpu"), "'tpu' is no device"),
    ],
)
def test_an_impossible_request_is_refused_before_any_training(
    words: tuple[object, ...], sentence: str, tmp_path: Path
) -> None:
    ended = call("benchmark", *words, "--work", tmp_path / "work", "--out", tmp_path / "out")
    assert_refused(ended, sentence, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_of_a_cell_is_hidden() -> None:
    assert " cell " not in call("benchmark", "--help").out
