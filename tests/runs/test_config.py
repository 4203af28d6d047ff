"""The configuration of a run: what is written comes back, and damage is reported in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.support.folders import SHAPE, data_of, images_of, recipe, untrained_folder

from dualcontrast.errors import RunError
from dualcontrast.runs import RunConfig, RunFolder
from dualcontrast.runs.config import FORMAT


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Make a run on `images_of()`."""
    return untrained_folder(tmp_path / "run")


def test_the_configuration_comes_back(run: RunFolder) -> None:
    stored = yaml.safe_load(run.config_path.read_text())
    assert list(stored) == ["format", "recipe", "data", "made_by"]
    assert list(stored["data"]) == ["source", "options", "digest", "names", "images", "shape", "pixel_size"]
    assert stored["data"]["shape"] == list(SHAPE)
    config = run.config()
    assert config == RunConfig(stored["recipe"], data_of(images_of(), recipe()), {"command": "a test"})
    assert config.to_yaml() == run.config_path.read_text()
    assert run.recipe() == recipe()


def test_runs_of_earlier_versions_do_not_know_the_names_of_their_images(run: RunFolder) -> None:
    stored = yaml.safe_load(run.config_path.read_text())
    del stored["data"]["names"]
    run.config_path.write_text(yaml.safe_dump(stored))
    assert run.config().data.names is None
    run.attach(images_of())


@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_a_recipe_of_any_preset_comes_back(tmp_path: Path, preset: str) -> None:
    stated = recipe(preset=preset, views=["scale"])
    run = RunFolder(tmp_path)
    run.write_config(stated, data_of(images_of(), stated), {})
    assert run.recipe() == stated


def test_a_folder_without_a_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run folder, since it has no config\.yaml"):
        RunFolder(tmp_path).config()


@pytest.mark.parametrize(
    "text",
    [
        "format: [1",
        "",
        "- format\n- 1\n",
        "recipe: {}\n",
        "format: one\n",
        "format: null\n",
        "\x00\x01",
        "format",
    ],
)
def test_a_damaged_configuration_is_refused(run: RunFolder, text: str) -> None:
    run.config_path.write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml: damaged; train the run again, or put back a copy"):
        run.config()


def test_a_configuration_that_lacks_a_part_is_refused(run: RunFolder) -> None:
    run.config_path.write_text("format: 1\n")
    with pytest.raises(RunError, match="damaged"):
        run.load_method()


def test_a_newer_format_is_refused_in_a_sentence(run: RunFolder) -> None:
    config = {**yaml.safe_load(run.config_path.read_text()), "format": FORMAT + 1}
    run.config_path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        RunError, match=r"made by a newer version \(format 2, this one reads 1\); update dualcontrast"
    ):
        run.recipe()


def test_a_recipe_that_was_edited_wrongly_is_refused_with_the_files_name(run: RunFolder) -> None:
    run.config_path.write_text(run.config_path.read_text().replace("epochs:", "epoch:"))
    with pytest.raises(
        Exception, match=r"config\.yaml: no setting is called training\.epoch; did you mean epochs"
    ):
        run.recipe()
