"""A method in a package of its own: by name and by class, in training, in every verb afterwards, and as a row."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.command import assert_refused, call, command
from tests.support.packages import write_package
from tests.support.runs import DIGITS, SMALL

from dualcontrast.methods import installed_methods

NAMES = {"by_name": "doubled", "by_class": "aliens:Doubled"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages"), "aliens", methods={"doubled": "aliens:Doubled"})


@pytest.fixture
def installed(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the package in this process, and in those that it starts."""
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)
    installed_methods.cache_clear()
    yield
    installed_methods.cache_clear()
    sys.modules.pop("aliens", None)


@pytest.fixture(scope="module")
def runs(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train by either name on the command line, in processes of their own; return the run folders."""
    folder = tmp_path_factory.mktemp("runs")
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    (folder / "small.yaml").write_text(yaml.safe_dump({**SMALL, "method": {"content_size": 4}}))
    for run, method in NAMES.items():
        words = ["train", DIGITS, "--out", folder / run, "--recipe", folder / "small.yaml", "--method", method]
        trained = subprocess.run(
            command(*words, "--epochs", 1, "--device", "cpu", "--set", "method.factor=3"),
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert trained.returncode == 0, trained.stderr
    return {run: folder / run for run in NAMES}


@pytest.mark.parametrize("run", NAMES)
def test_a_run_stores_what_finds_its_method_again(run: str, runs: dict[str, Path]) -> None:
    recipe = yaml.safe_load((runs[run] / "config.yaml").read_text())["recipe"]
    assert recipe["method"]["name"] == NAMES[run]
    assert recipe["method"]["factor"] == 3
    assert recipe["method"]["content_size"] == 4  # of the recipe, though its method is another
    assert recipe["preset"] == "paper"


VERBS = [
    ["encode"],
    ["evaluate"],
    ["transfer"],
    ["embed", "--how", "pca"],
    ["cluster", "--content", "2", "--transformation", "1"],
    ["report"],
]


@pytest.mark.usefixtures("installed")
def test_every_verb_works_on_a_finished_run(runs: dict[str, Path]) -> None:
    for verb, *options in VERBS:
        ended = call(verb, runs["by_class"], *options)
        assert ended.status == 0, (verb, ended.err)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("run", NAMES)
def test_training_resumes(run: str, runs: dict[str, Path]) -> None:
    resumed = call("train", DIGITS, "--out", runs[run], "--resume", "--epochs", 2, "--device", "cpu")
    assert resumed.status == 0, resumed.err


def test_a_verb_knows_the_run_in_a_process_of_its_own(packages: Path, runs: dict[str, Path]) -> None:
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = command("encode", runs["by_name"], "--weights", "last", "--quiet")
    ended = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("by_name", "config.yaml: no method is called doubled"),
        (
            "by_class",
            "config.yaml: the method aliens:Doubled cannot be imported: no module is called aliens; install it",
        ),
    ],
)
def test_a_run_says_so_where_its_package_is_gone(run: str, sentence: str, runs: dict[str, Path]) -> None:
    assert_refused(call("evaluate", runs[run]), sentence)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--method", "doubld"], "no method is called doubld; did you mean doubled?"),
        (
            ["--method", "doubled", "--set", "method.facter=1"],
            "no setting is called method.facter; did you mean factor",
        ),
        (["--method", "doubled", "--set", "method.factor=-1"], "method.factor = -1 is not accepted"),
        (["--method", "aliens:Demanding"], "method.strength has no default; give it a value"),
        (["--method", "aliens:Unsettled"], "its Settings are not a subclass"),
        (["--method", "aliens:NOT_A_METHOD"], "is not a subclass of dualcontrast.methods.Method"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    assert_refused(call("train", DIGITS, "--out", tmp_path / "run", *words), sentence, tmp_path)


@pytest.mark.usefixtures("installed")
def test_it_is_a_row_of_table1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [word for name in NAMES.values() for word in ("--methods", name)]
    few = ["--seeds", 0, "--budget", 0.001, "--limit", 300, "--device", "cpu", "--jobs", 1]
    ended = call("benchmark", "table1", "--mnist", DIGITS, "--data", "mnist", *asked, *few)
    assert ended.status == 0, ended.err
    assert ended.out.count("Doubled") == 2
    stored = [path.name.split("-seed")[0] for path in sorted((tmp_path / "results" / "table1").glob("*.json"))]
    assert stored == ["mnist-aliens.Doubled", "mnist-doubled"]
    refused = call("benchmark", "table1", "--mnist", DIGITS, "--methods", "aliens:NOT_A_METHOD")
    assert_refused(refused, "is not a subclass of dualcontrast.methods.Method")
