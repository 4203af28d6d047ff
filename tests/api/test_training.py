from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.particles import write_mrc, write_particles_of
from tests.support.runs import DIGITS, SMALL, small_run

import dualcontrast
from dualcontrast.api import Run
from dualcontrast.errors import MethodError, RecipeError, RunError, SourceError, UsageError
from dualcontrast.methods import METHODS, Batch, Pair
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.recipe import read_recipe
from dualcontrast.settings import merged


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return small_run(tmp_path_factory.mktemp("api") / "run", show_pairs=True)


def test_pairs_are_drawn_on_demand(run: Run) -> None:
    assert run.figure_path("pairs").is_file()


def test_drawing_pairs_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    changes = {"network": {"encoder": {"norm": "batch"}}, "training": {"epochs": 1}}
    plain = small_run(tmp_path / "plain", changes).load_method("last").state_dict()
    shown = small_run(tmp_path / "shown", changes, show_pairs=True).load_method("last").state_dict()
    assert all(torch.equal(plain[name], value) for name, value in shown.items())


def test_pairs_are_drawn_as_codes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class WithCTF(DualContrast):
        uses_ctf = True

        def pairs(self, batch: Batch) -> list[Pair]:
            seen.append((self.training, batch.ctf is None))
            return super().pairs(batch)

    monkeypatch.setitem(METHODS, "dualcontrast", WithCTF)
    volumes = np.random.default_rng(0).normal(size=(6, 16, 16, 16)).astype(np.float32)
    write_mrc(tmp_path / "ctf.mrc", np.ones((16, 16, 16)))
    star = write_particles_of(volumes, tmp_path, rlnCtfImage="ctf.mrc")
    settings = {"training": {"epochs": 1, "batch_size": 3}}
    dualcontrast.train(
        star,
        out=tmp_path / "run",
        recipe="subtomograms-infonce",
        settings=settings,
        show_pairs=True,
        device="cpu",
    )
    assert seen == [(False, False)] * 2


def test_a_method_without_pairs_is_not_asked_to_show_them(tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="spatial_vae makes no pairs, so there are none to draw"):
        small_run(tmp_path / "run", {"method": {"name": "spatial_vae"}}, show_pairs=True)
    assert not (tmp_path / "run").exists()


def test_config_is_enough_to_train_again(run: Run, tmp_path: Path) -> None:
    again = dualcontrast.train(run.config().data.source, out=tmp_path / "again", recipe=run.recipe(), device="cpu")
    for one, other in zip(run.load_method().parameters(), again.load_method().parameters(), strict=True):
        assert torch.equal(one, other)


def test_images_in_memory_train_and_are_asked_for_later(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((60, 20, 20)).astype(np.float32)
    run = dualcontrast.train(
        pixels, out=tmp_path / "run", settings={"training": {"epochs": 1, "batch_size": 20}}, device="cpu"
    )
    assert run.encode().content.shape == (60, 20)
    assert run.evaluate().content is None
    with pytest.raises(RunError, match="trained on images in memory, which are no longer there"):
        dualcontrast.load(run.path).images()
    assert dualcontrast.load(run.path).encode(pixels[:3]).content.shape == (3, 20)


def test_a_folder_in_use_is_refused_and_overwritten_on_demand(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    (run.path / "my notes.txt").write_text("mine")
    (run.path / "codes-last").mkdir()
    with pytest.raises(RunError, match="continue it with `resume=True`, replace it with `overwrite=True`"):
        small_run(tmp_path / "run")
    with pytest.raises(UsageError, match="`resume=True` continues and `overwrite=True` starts over"):
        small_run(tmp_path / "run", resume=True, overwrite=True)
    small_run(tmp_path / "run", overwrite=True)
    assert (run.path / "my notes.txt").read_text() == "mine"
    assert not (run.path / "codes-last").exists()


def test_the_command_of_a_training_with_resume_goes_on(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"epochs": 1}})
    said_again = merged(SMALL, {"method": {"gamma_c": 0.01}, "training": {"epochs": 2}})
    small_run(run.path, said_again, resume=True)
    assert [line["epoch"] for line in run.read_log() if "loss" in line] == [1, 2]


def test_resume_keeps_the_runs_own_settings(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"method, training\.seed cannot change; only"):
        dualcontrast.train(
            DIGITS, out=run.path, settings={"method": {"gamma_c": 1}, "training": {"seed": 1}}, resume=True
        )
    with pytest.raises(RunError, match=r"not the images that .* was trained on"):
        dualcontrast.train(np.zeros((400, 28, 28), np.uint8), out=run.path, resume=True)
    with pytest.raises(RunError, match=r"not a run folder, since it has no config\.yaml"):
        dualcontrast.train(DIGITS, out=tmp_path / "nothing", resume=True)


def test_views_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the view hue changes colours"):
        dualcontrast.train(DIGITS, out=tmp_path / "run", settings={"views": ["hue"]})
    with pytest.raises(RecipeError, match="too small for 4 blocks"):
        dualcontrast.train(DIGITS, out=tmp_path / "run", recipe="linemod")
    with pytest.raises(SourceError, match="fewer than a batch"):
        dualcontrast.train(DIGITS, out=tmp_path / "run", settings={"training": {"limit": 20}})
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_every_packaged_recipe_can_be_the_start_of_a_run(tmp_path: Path) -> None:
    recipe = read_recipe("demo-digits", SMALL)
    run = dualcontrast.train(DIGITS, out=tmp_path / "run", recipe=recipe, settings={"training": {"epochs": 1}})
    assert run.recipe().training.epochs == 1
    assert run.recipe().name == "demo-digits"


@pytest.mark.parametrize(
    ("shape", "method", "expected"),
    [
        ((1, 28, 28), None, "images"),
        ((3, 28, 28), "dualcontrast_plus", "images"),
        ((1, 28, 28), "vitae", "images-paper"),
        ((1, 16, 16, 16), None, "subtomograms"),
        ((1, 16, 16, 16), "harmony", "subtomograms-infonce"),
    ],
)
def test_the_recipe_that_suits_images_and_method(
    shape: tuple[int, ...], method: str | None, expected: str, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).random((6, *shape[1:], *shape[:1] * (shape[0] > 1))).astype(np.float32)
    settings = {"training": {"epochs": 1, "batch_size": 2}}
    if method:
        settings["method"] = {"name": method}
    run = dualcontrast.train(images, out=tmp_path / "run", settings=settings, device="cpu")
    assert run.recipe().name == expected


def test_a_keyword_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"train\(\) got an unexpected keyword argument 'binn'"):
        dualcontrast.train(DIGITS, out=tmp_path / "run", binn=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("function", [dualcontrast.train, dualcontrast.show])
def test_options_of_readers_are_those_of_open_images(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    for name, option in list(inspect.signature(dualcontrast.open_images).parameters.items())[1:]:
        assert parameters[name].kind is option.kind
        assert parameters[name].default == option.default
