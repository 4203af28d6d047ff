"""Options that several verbs have reach the library under the names of its keywords."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.command import call

from dualcontrast import api
from dualcontrast.benchmarks import table
from dualcontrast.cli.options import ReaderOptions, one_of, packaged
from dualcontrast.cryoet.simulation import SimulationSettings
from dualcontrast.images import open_images
from dualcontrast.recipe import TrainingSettings

READER = {
    "key": "a",
    "labels": "b",
    "datadir": Path("c"),
    "invert": True,
    "bin": 2,
    "poses": True,
    "mask": "sphere",
}
FLAGS = ("--key", "a", "--labels", "b", "--datadir", "c", "--invert", "--bin", 2, "--poses", "--mask", "sphere")


class CalledError(Exception):
    """Ends a verb where it has called the library."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace functions of the library by one that keeps its arguments."""
    calls: list[dict[str, Any]] = []

    def called(*arguments: Any, **keywords: Any) -> None:
        calls.append({**keywords, "arguments": arguments})
        raise CalledError

    for name in ("train", "show", "simulate"):
        monkeypatch.setattr(api, name, called)
    monkeypatch.setattr(api, "load", lambda path: SimpleNamespace(path=path, encode=called, cluster=called))
    monkeypatch.setattr(table, "make_table", called)
    return calls


def called_with(calls: list[dict[str, Any]], *words: object) -> dict[str, Any]:
    with pytest.raises(CalledError):
        call(*words, "--quiet")
    return calls.pop()


def test_reader_options_are_the_keywords_of_the_reader() -> None:
    keywords = {
        name for name, one in inspect.signature(open_images).parameters.items() if one.kind is one.KEYWORD_ONLY
    }
    assert {field.name for field in fields(ReaderOptions)} == keywords
    assert ReaderOptions().given() == {}
    assert ReaderOptions(bin=1, poses=True).given() == {"bin": 1, "poses": True}


@pytest.mark.parametrize(
    "words",
    [("train", "a.star", "--out", "run"), ("show", "a.star"), ("encode", "run", "a.star", "--out", "codes")],
)
def test_reader_options_reach_the_reader(calls: list[dict[str, Any]], words: tuple[str, ...]) -> None:
    given = called_with(calls, *words, *FLAGS)
    assert {name: given[name] for name in READER} == READER
    assert READER.keys().isdisjoint(called_with(calls, *words))


def test_settings_of_training_reach_the_recipe(calls: list[dict[str, Any]]) -> None:
    words = ("train", "a.npy", "--out", "run", "--method", "harmony", "--epochs", 3, "--seed", 0)
    given = called_with(calls, *words, "--set", "method.a=1", "--set", "training.epochs=2")
    assert given["settings"] == {"method": {"a": 1, "name": "harmony"}, "training": {"epochs": 3, "seed": 0}}
    assert (given["resume"], given["overwrite"], given["recipe"], given["device"]) == (False, False, None, "auto")
    assert {"epochs", "seed", "minutes", "limit"} <= TrainingSettings.model_fields.keys()


def test_settings_of_a_simulation_reach_it(calls: list[dict[str, Any]]) -> None:
    words = ("--per-state", 5, "--voxel-size", 4, "--seed", 0, "--set", "ctf.defocus=3")
    given = called_with(calls, "simulate", "--out", "a", "--structures", "6vxx", "--structures", "A=b.pdb", *words)
    assert given["settings"] == {"per_state": 5, "voxel_size": 4.0, "seed": 0, "ctf": {"defocus": 3}}
    assert list(given["structures"]) == ["6vxx", "A=b.pdb"]
    assert given["settings"].keys() <= SimulationSettings.model_fields.keys()


def test_options_of_a_run_reach_its_method(calls: list[dict[str, Any]]) -> None:
    words = ("cluster", "run", "--content", "3", "--weights", "last", "--datadir", "b", "--device", "cpu")
    given = called_with(calls, *words)
    assert (given["weights"], given["datadir"], given["device"]) == ("last", Path("b"), "cpu")
    assert (given["content"], given["transformation"]) == (3, "auto")


def test_options_of_a_table_reach_its_plan(calls: list[dict[str, Any]]) -> None:
    words = (
        "--mnist",
        "a",
        "--subtomograms",
        "b.star",
        "--bin",
        2,
        "--seeds",
        4,
        "--seeds",
        4,
        "--methods",
        "harmony",
    )
    given = called_with(
        calls, "benchmark", "table1", *words, "--budget", 1, "--jobs", 3, "--out", "tables-of-mine"
    )
    request, setup, _ = given["arguments"]
    assert {name: (source.path, source.options) for name, source in request.sources.items()} == {
        "mnist": ("a", {}), "subtomograms": ("b.star", {"bin": 2}),
    }  # fmt: skip
    assert (request.table, request.rows, request.data) == ("table1", ("harmony",), ())
    assert (request.seeds, request.budget) == ((4,), 1)
    assert (len(setup.devices), setup.out, setup.results) == (3, Path("tables-of-mine"), Path("results"))


def test_names_for_completion() -> None:
    assert one_of("umap", "pca")() == ["umap", "pca"]
    assert "mnist" in packaged("recipes")()
