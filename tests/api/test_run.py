from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.runs import DIGITS, small_run

import dualcontrast
from dualcontrast.analysis.clustering import cluster
from dualcontrast.analysis.embedding import embed
from dualcontrast.analysis.transfer import transfer
from dualcontrast.api import Run, load
from dualcontrast.evaluation import swap
from dualcontrast.evaluation.results import Scores
from dualcontrast.evaluation.scores import evaluate
from dualcontrast.maps.average import average
from dualcontrast.maps.export import export
from dualcontrast.report.report import report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("api") / "run")


def test_a_run_is_trained_loaded_and_drawn_from(run: Run) -> None:
    loaded = dualcontrast.load(run.path)
    codes = loaded.encode(device="cpu")
    assert codes.content.shape == codes.transformation.shape == (400, 10)
    images = loaded.images().read(np.arange(5))
    np.testing.assert_allclose(loaded.encode(images).content, codes.content[:5], atol=1e-5)
    scores = loaded.evaluate()
    assert isinstance(scores, Scores)
    assert scores.content is not None
    assert scores.content.gap == round(scores.content.from_content - scores.content.from_transformation, 4)


# ---- signatures


@pytest.mark.parametrize("function", [evaluate, transfer, embed, cluster, average, export, report])
def test_methods_have_the_parameters_of_the_functions_they_call(function: Callable[..., Any]) -> None:
    method = inspect.signature(getattr(Run, function.__name__)).parameters
    called = inspect.signature(function).parameters
    assert list(method)[1:] == list(called)[1:]
    for name in list(called)[1:]:
        assert method[name].kind is called[name].kind is inspect.Parameter.KEYWORD_ONLY
        expected = "auto" if name == "device" else called[name].default
        assert method[name].default == expected, name


@pytest.mark.parametrize(
    "name", ["encode", "evaluate", "transfer", "embed", "cluster", "average", "export", "report"]
)
def test_a_keyword_that_is_misspelt_is_refused_by_the_method(run: Run, name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'progres'"):
        getattr(run, name)(progres=None)


# ---- examples


def test_the_examples_of_every_method_work(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 20)
    monkeypatch.chdir(tmp_path)
    run.cluster(content=2, transformation=1, device="cpu")
    names = ["encode", "evaluate", "transfer", "embed", "cluster", "average", "export", "report"]
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for name in names:
        (example,) = finder.find(getattr(Run, name), name, globs={"run": run})
        assert example.examples, name
        assert runner.run(example).failed == 0, name


# ---- what a run says of itself


def test_a_run_says_what_it_is(run: Run) -> None:
    assert repr(run) == (
        f"<Run {run.path}: dualcontrast on {DIGITS.resolve()}, 400 images of shape (1, 28, 28), 3 epochs, content "
        "size 10, transformation size 10>"
    )
    assert repr(load(run.path)) == repr(run)


@pytest.mark.parametrize("name", ["config.yaml", "log.jsonl"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"[1, 2", b"[1, 2]\n", b"format: 9\n"])
def test_a_damaged_run_has_a_repr(run: Run, tmp_path: Path, name: str, content: bytes | None) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / "run")) / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert repr(Run(path.parent)).startswith(f"<Run {path.parent}: ")


def test_a_folder_that_is_no_run_has_a_repr(tmp_path: Path) -> None:
    assert repr(Run(tmp_path / "none")) == f"<Run {tmp_path / 'none'}: no run, or a damaged one>"
