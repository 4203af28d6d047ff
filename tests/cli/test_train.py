"""The verb train: its options, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tests.support.command import assert_refused, call
from tests.support.runs import DIGITS

from dualcontrast import api
from dualcontrast.api import Run
from dualcontrast.recipe import TrainingSettings

TINY = ("--set", "network.encoder.channels=[4,4]", "--set", "network.decoder={code_width: 8, hidden: [16]}")
TRAIN = ("train", DIGITS, "--recipe", "mnist", "--limit", 300, "--epochs", 1, "--device", "cpu", *TINY)
EPOCH = {"epoch": 1, "loss": {"reconstruction": 0.5, "kl": 2.0}}
LAST = {"epoch": 2, "images_seen": 12_300, "step": 1_230, "seconds": 90.0, "stopped": "minutes"}


def test_train_describes_what_it_did_and_what_comes_next(tmp_path: Path) -> None:
    ended = call(*TRAIN, "--out", tmp_path / "run", "--show-pairs")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[0].startswith("200 images seen in 2 steps")
    assert lines[1].startswith("Loss in the last whole epoch: reconstruction ")
    assert lines[2] == f"Next: dualcontrast evaluate {tmp_path / 'run'}"
    assert "training: 200 of 200" in ended.err
    with Image.open(tmp_path / "run" / "figures" / "pairs.png") as picture:
        assert min(picture.size) > 100
    recipe = Run.open(tmp_path / "run").recipe()
    assert (recipe.name, recipe.training.limit, recipe.training.epochs) == ("mnist", 300, 1)


def test_train_prints_json(tmp_path: Path) -> None:
    printed = json.loads(call(*TRAIN, "--out", tmp_path / "a", "--json").out)
    assert printed["run"] == str(tmp_path / "a")
    assert (printed["stopped"], printed["step"], printed["epoch"]) == ("epochs", 2, 1)
    assert printed == {"run": str(tmp_path / "a"), **Run.open(tmp_path / "a").read_log()[-1]}
    assert not (tmp_path / "a" / "figures").exists()  # no pairs were requested


def test_options_of_train_reach_the_recipe_in_silence(tmp_path: Path) -> None:
    ended = call(
        *TRAIN, "--out", tmp_path / "run", "--method", "two_latent_vae", "--seed", 7, "--minutes", 5, "--quiet",
        "--set", "method.gamma_c=0.5", "--set", "training.learning_rate=1e-3", "--set", "views=[scale]",
    )  # fmt: skip
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    recipe = Run.open(tmp_path / "run").recipe()
    assert (recipe.method.name, recipe.training.seed, recipe.training.minutes) == ("two_latent_vae", 7, 5)
    assert recipe.method.model_dump()["gamma_c"] == 0.5
    assert recipe.training.learning_rate == 1e-3
    assert [view.name for view in recipe.views] == ["scale"]


# ---- what reaches the library


def test_settings_of_training_reach_the_library(arguments_of: Callable[..., dict[str, Any]]) -> None:
    words = ("train", "a.npy", "--out", "run", "--method", "harmony", "--epochs", 3, "--seed", 0)
    given = arguments_of(
        *words, "--set", "method.a=1", "--set", "training.epochs=2", "--set", "training.workers=1"
    )
    assert given["settings"] == {
        "method": {"a": 1, "name": "harmony"},
        "training": {"epochs": 3, "seed": 0, "workers": 1},
    }
    assert {"epochs", "seed", "minutes", "limit"} <= TrainingSettings.model_fields.keys()


def test_without_options_the_library_decides(arguments_of: Callable[..., dict[str, Any]]) -> None:
    given = arguments_of("train", "a.npy", "--out", "run")
    del given["progress"]
    assert given == {
        "arguments": ("a.npy",),
        "out": Path("run"),
        "recipe": None,
        "settings": {},
        "device": "auto",
        "resume": False,
        "overwrite": False,
        "show_pairs": False,
    }


@pytest.mark.parametrize("flag", ["--resume", "--overwrite", "--show-pairs"])
def test_a_flag_sets_its_keyword_alone(flag: str, arguments_of: Callable[..., dict[str, Any]]) -> None:
    given = arguments_of("train", "a.npy", "--out", "run", "--recipe", "mnist", "--device", "cuda:1", flag)
    flags = {name: given[name] for name in ("resume", "overwrite", "show_pairs")}
    assert [name for name, value in flags.items() if value] == [flag[2:].replace("-", "_")]
    assert (given["recipe"], given["device"]) == ("mnist", "cuda:1")


def test_flags_that_exclude_each_other_are_refused_by_their_names(tmp_path: Path) -> None:
    ended = call(*TRAIN, "--out", tmp_path / "run", "--resume", "--overwrite")
    assert_refused(ended, "--resume continues and --overwrite starts over; give only one of them", tmp_path)


# ---- the summary


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        (
            [EPOCH, {"epoch": 2, "loss": {"reconstruction": 0.123456, "kl": 1234.56}}, LAST],
            [
                "12,300 images seen in 1,230 steps and 1.5 minutes; stopped by minutes in epoch 2",
                "Loss in the last whole epoch: reconstruction 0.1235, kl 1235",
            ],
        ),
        (  # stopped before an epoch was complete
            [{**LAST, "epoch": 0}],
            ["12,300 images seen in 1,230 steps and 1.5 minutes; stopped by minutes in epoch 1"],
        ),
    ],
)
def test_the_summary_is_that_of_the_log(
    log: list[dict[str, Any]],
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = SimpleNamespace(path=tmp_path / "a run", read_log=lambda: log)
    monkeypatch.setattr(api, "train", lambda *_, **__: run)
    ended = call("train", "a.npy", "--out", "a run")
    assert ended.out.splitlines() == [*lines, "Next: dualcontrast evaluate a run"]
    assert json.loads(call("train", "a.npy", "--out", "a run", "--json").out) == {"run": str(run.path), **log[-1]}
