"""Options that several verbs have reach the library under the names of its keywords."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dualcontrast.cli.options import ReaderOptions, one_of, packaged
from dualcontrast.cryoet.simulation import SimulationSettings
from dualcontrast.images import open_images

READER = {
    "key": "a",
    "labels": "b",
    "datadir": Path("c"),
    "invert": True,
    "bin": 2,
    "poses": True,
    "mask": "sphere",
}
ArgumentsOf = Callable[..., dict[str, Any]]
FLAGS = ("--key", "a", "--labels", "b", "--datadir", "c", "--invert", "--bin", 2, "--poses", "--mask", "sphere")


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
def test_reader_options_reach_the_reader(arguments_of: ArgumentsOf, words: tuple[str, ...]) -> None:
    given = arguments_of(*words, *FLAGS)
    assert {name: given[name] for name in READER} == READER
    assert READER.keys().isdisjoint(arguments_of(*words))


def test_settings_of_a_simulation_reach_it(arguments_of: ArgumentsOf) -> None:
    words = ("--per-state", 5, "--voxel-size", 4, "--seed", 0, "--set", "ctf.defocus=3")
    given = arguments_of("simulate", "--out", "a", "--structures", "6vxx", "--structures", "A=b.pdb", *words)
    assert given["settings"] == {"per_state": 5, "voxel_size": 4.0, "seed": 0, "ctf": {"defocus": 3}}
    assert list(given["structures"]) == ["6vxx", "A=b.pdb"]
    assert given["settings"].keys() <= SimulationSettings.model_fields.keys()


def test_names_for_completion() -> None:
    assert one_of("umap", "pca")() == ["umap", "pca"]
    assert "mnist" in packaged("recipes")()
