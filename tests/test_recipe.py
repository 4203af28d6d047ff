"""Recipes: layers of settings, and one sentence for whatever is wrong in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dualcontrast.errors import RecipeError
from dualcontrast.methods import METHODS
from dualcontrast.recipe import (
    Recipe,
    packaged_recipes,
    read_recipe,
    recipe_of,
)
from dualcontrast.settings import parse_changes

SHAPES = {
    "mnist": (1, 28, 28),
    "linemod": (3, 64, 64),
    "linemod-plus": (3, 64, 64),
    "subtomograms": (1, 32, 32, 32),
}
PRESETS = [(name, preset) for name, method in METHODS.items() for preset in method.presets]


def shape_for(name: str, recipe: Recipe) -> tuple[int, ...]:
    """Return images that a recipe is for; recipes with a linear output are for volumes."""
    if name in SHAPES:
        return SHAPES[name]
    return (1, 32, 32, 32) if recipe.network.decoder.output == "linear" else (1, 28, 28)


# ---- what is packaged


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_is_read_and_built(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    with torch.device("meta"):  # some decoders have more weights than a test should fill
        method = recipe.build(shape_for(name, recipe))
    assert type(method) is METHODS[recipe.method.name]


@pytest.mark.parametrize(("name", "size"), [("mnist", 10), ("linemod", 16)])
def test_the_papers_settings(name: str, size: int) -> None:
    recipe = read_recipe(name)
    assert (recipe.method.content_size, recipe.method.transformation_size) == (size, size)
    training = recipe.training
    assert (training.epochs, training.batch_size) == (200, 100)
    assert (training.learning_rate, training.decay_every, training.decay_by) == (1e-4, 50, 0.1)
    assert [view.name for view in recipe.views] == ["rotation"]
    widths = [
        m.out_features for m in recipe.build(SHAPES[name]).decoder.layers.modules() if hasattr(m, "out_features")
    ]
    expected = {"mnist": [512, 512, 512, 784], "linemod": [512, 512, 1024, 1024, 12288]}
    assert widths == expected[name]


def test_an_empty_recipe_is_the_papers_method_on_rotations() -> None:
    recipe = recipe_of({})
    assert recipe == Recipe()
    assert (recipe.method.name, recipe.preset) == ("dualcontrast", "paper")


# ---- layers


def test_a_recipe_lies_over_its_preset_and_changes_over_both(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: authors-code\nmethod: {distance: cosine, gamma_c: 0.5}\ntraining: {epochs: 7}\n")
    recipe = read_recipe(file, {"method": {"gamma_c": 0.25}, "training": {"seed": 3}})
    method = recipe.method.model_dump()
    assert method["contrast_per"] == "element"  # of the preset, where the paper has "pair"
    assert method["distance"] == "cosine"  # of the recipe, where the preset has "line"
    assert method["gamma_c"] == 0.25  # of the changes, where the recipe has 0.5
    assert method["gamma_z"] == 0.01  # a default
    assert (recipe.training.epochs, recipe.training.seed) == (7, 3)
    assert recipe.name == "mine"


def test_changes_can_choose_the_preset_and_the_method() -> None:
    recipe = read_recipe("mnist", parse_changes(["preset=authors-code", "method.name=two_latent_vae"]))
    assert type(recipe.method) is METHODS["two_latent_vae"].Settings
    assert recipe.method.model_dump()["reconstruction_per"] == "pixel"
    assert recipe.views[0].per == "batch"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("packaged", ["subtomograms-infonce", "subtomograms", "mnist-plus"])
def test_every_method_takes_the_recipe_of_another(name: str, packaged: str) -> None:
    """Whose preset, or whose settings, are that other's alone."""
    recipe = read_recipe(packaged, {"method": {"name": name}})
    own = read_recipe(packaged)
    assert recipe.preset == (
        "infonce" if packaged == "subtomograms-infonce" and name == "dualcontrast" else "paper"
    )
    assert recipe.method.name == name
    if packaged != "subtomograms-infonce":  # which states no sizes
        assert recipe.method.transformation_size == own.method.transformation_size == 10
    assert recipe.training == own.training
    with pytest.raises(RecipeError, match=r"method\.no_such"):
        read_recipe(packaged, {"method": {"name": name, "no_such": 1}})


def test_another_method_keeps_a_preset_that_it_has_as_well(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("preset: authors-code\n")
    assert read_recipe(file, {"method": {"name": "two_latent_vae"}}).preset == "authors-code"
    assert read_recipe(file, {"method": {"name": "harmony"}}).preset == "paper"
    with pytest.raises(RecipeError, match="harmony has no preset authors-code"):
        read_recipe(file, {"method": {"name": "harmony"}, "preset": "authors-code"})


def test_a_method_of_another_package_takes_the_recipe_of_a_built_in_one() -> None:
    name = "dualcontrast.methods.two_latent_vae:TwoLatentVAE"
    recipe = read_recipe("mnist-plus", {"method": {"name": name, "gamma_c": 0.5}})
    sizes = read_recipe("mnist-plus").method
    assert recipe.method.model_dump() == {
        **METHODS["two_latent_vae"].Settings().model_dump(),
        **{"name": name, "gamma_c": 0.5},
        **{"content_size": sizes.content_size, "transformation_size": sizes.transformation_size},
    }
    assert recipe.preset == "paper"
    assert recipe_of(recipe.model_dump(mode="json")) == recipe
    assert type(recipe.build((1, 28, 28))) is METHODS["two_latent_vae"]


def test_the_failure_of_a_module_of_another_package_stays_at_hand() -> None:
    with pytest.raises(RecipeError, match="no module is called nowhere") as refusal:
        recipe_of({"method": {"name": "nowhere:Method"}})
    assert isinstance(refusal.value.__cause__, ModuleNotFoundError)


def test_views_are_replaced_as_a_whole() -> None:
    recipe = recipe_of({"preset": "authors-code", "views": ["hue", {"name": "scale", "factor": [0.5, 2]}]})
    assert [view.name for view in recipe.views] == ["hue", "scale"]
    assert recipe.views[1].model_dump()["factor"] == (0.5, 2)


def test_a_wedge_that_states_no_width_is_that_of_the_tilts() -> None:
    recipe = read_recipe("subtomograms", {"views": ["rotation", "wedge", {"name": "wedge", "degrees": 50}]})
    assert [view.model_dump() for view in recipe.for_tilts(42).views] == [
        recipe.views[0].model_dump(),
        {**recipe.views[1].model_dump(), "degrees": 42},
        recipe.views[2].model_dump(),
    ]
    assert [view.name for view in recipe.for_tilts(90).views] == ["rotation", "wedge"]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_recipe_comes_back_from_its_own_yaml(name: str, preset: str) -> None:
    stated = {
        "name": "mine",
        "preset": preset,
        "method": {"name": name, "content_size": 3},
        "network": {"encoder": {"channels": [4, 8]}},
        "views": [{"name": "translation", "fraction": 0.2}, "rotation"],
        "training": {"minutes": 1.5, "limit": 100},
    }
    recipe = recipe_of(stated)
    text = yaml.safe_dump(recipe.model_dump(mode="json"))
    again = recipe_of(yaml.safe_load(text))
    assert again == recipe
    assert again.model_dump() == recipe.model_dump()
    assert again.method.content_size == 3
    assert again.views[0].model_dump()["fraction"] == 0.2


def test_settings_of_one_method_or_view_alone_come_back_too() -> None:
    """Which the models that a recipe is declared by do not know."""
    recipe = recipe_of(
        {
            "method": {"distance": "line", "gamma_c": 0.3, "positive_latents": "shared"},
            "views": [{"name": "blur", "sigma": [0.5, 1]}],
        }
    )
    dumped = recipe.model_dump(mode="json")
    assert dumped["method"]["distance"] == "line"
    assert dumped["views"] == [{"name": "blur", "per": "sample", "sigma": [0.5, 1]}]
    assert recipe_of(dumped) == recipe


# ---- what is wrong, said in a sentence


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"methods": {}}, "no setting is called methods; did you mean method?"),
        ({"training": {"epoch": 3}}, "no setting is called training.epoch; did you mean epochs?"),
        ({"network": {"encodr": {}}}, "no setting is called network.encodr; did you mean encoder?"),
        (
            {"network": {"encoder": {"kernels": 3}}},
            "no setting is called network.encoder.kernels; did you mean kernel?",
        ),
        ({"method": {"gamma_d": 1}}, "no setting is called method.gamma_d; did you mean gamma_"),
        (
            {"views": [{"name": "hue", "degree": 3}]},
            "no setting is called views.0.degree; did you mean degrees?",
        ),
        (
            {"views": ["hue", {"name": "scale", "zzz": 3}]},
            "no setting is called views.1.zzz; known are factor, interpolation, name, per",
        ),
        ({"method": {"name": "dualcontrst"}}, "no method is called dualcontrst; did you mean dualcontrast?"),
        ({"preset": "papr"}, "dualcontrast has no preset papr; did you mean paper?"),
        ({"views": ["rotatoin"]}, "no view is called rotatoin; did you mean rotation?"),
        ({"views": "rotation"}, "views is a list of views, such as [{name: rotation}], not 'rotation'"),
        (
            {"views": {"0": {"degrees": 5}}},
            "views is a list of views, such as [{name: rotation}], not {'0': {'degrees': 5}}",
        ),
        ({"views": None}, "views is a list of views, such as [{name: rotation}], not None"),
        ({"method": "dualcontrast"}, "method is a mapping of settings, not 'dualcontrast'"),
        ({"method": None}, "method is a mapping of settings, not None"),
        ({"training": {"epochs": 0}}, "training.epochs = 0 is not accepted: input should be greater than"),
        (
            {"training": {"epochs": "ten"}},
            "training.epochs = 'ten' is not accepted: input should be a valid int",
        ),
        (
            {"training": {"precision": "8"}},
            "training.precision = '8' is not accepted: input should be '32-true'",
        ),
        ({"training": 3}, "training = 3 is not accepted"),
        (
            {"method": {"gamma_c": -1}},
            "method.gamma_c = -1 is not accepted: input should be greater than or eq",
        ),
        (
            {"method": {"distance": "angle"}},
            "method.distance = 'angle' is not accepted: input should be 'cosine'",
        ),
        ({"network": {"encoder": {"channels": []}}}, "network.encoder.channels = [] is not accepted"),
        (
            {"views": [{"name": "scale", "factor": [2, 1]}]},
            "views.0.factor = [2, 1] is not accepted: the lower bound 2 is above the upper bound 1",
        ),
    ],
)
def test_what_is_wrong_is_named(stated: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        recipe_of(stated, where="config.yaml")
    assert str(refusal.value).startswith(f"config.yaml: {sentence}")
    assert "\n" not in str(refusal.value)


def test_a_key_that_is_no_text_is_named() -> None:
    with pytest.raises(RecipeError, match=r"^recipe: 7 is not accepted"):
        recipe_of({7: 2})


@pytest.mark.parametrize(
    "network",
    [{"encoder": {"channels": [0]}}, {"decoder": {"hidden": [-1]}}, {"decoder": {"code_width": 0}}],
)
def test_widths_below_one_are_refused(network: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        recipe_of({"network": network})


def test_images_that_do_not_fit_are_refused_before_training() -> None:
    with pytest.raises(RecipeError, match="the view hue changes colours"):
        recipe_of({"views": ["hue"]}).build((1, 28, 28))
    with pytest.raises(RecipeError, match="the view blur is for pictures"):
        recipe_of({"views": ["rotation", "blur"]}).build((1, 16, 16, 16))
    with pytest.raises(RecipeError, match="too small"):
        read_recipe("mnist").build((1, 14, 14))


# ---- files


def test_a_file_is_read_and_named_after_itself(tmp_path: Path) -> None:
    file = tmp_path / "apples.yaml"
    file.write_text("training: {learning_rate: 1e-3}\n")  # which YAML 1.1 takes for text
    recipe = read_recipe(str(file))
    assert recipe.name == "apples"
    assert recipe.training.learning_rate == 1e-3
    file.write_text("name: pears\n")
    assert read_recipe(file).name == "pears"


def test_an_empty_file_is_the_default_recipe(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text("# nothing yet\n")
    assert read_recipe(file) == Recipe()


def test_what_is_wrong_in_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {epoch: 3}\n")
    with pytest.raises(RecipeError) as refusal:
        read_recipe(file)
    assert str(refusal.value) == f"recipe {file}: no setting is called training.epoch; did you mean epochs?"


def test_a_recipe_that_does_not_exist_is_answered_with_the_packaged_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe is called mnits .*; did you mean mnist\?"):
        read_recipe("mnits")


# ---- changes


def test_changes_are_checked_as_the_recipe_is() -> None:
    recipe = read_recipe("mnist", parse_changes(["training.learning_rate=1e-3", "network.encoder.channels=[4]"]))
    assert recipe.training.learning_rate == 1e-3
    assert recipe.network.encoder.channels == (4,)
    with pytest.raises(
        RecipeError, match=r"recipe mnist: no setting is called training\.epoch; did you mean epochs"
    ):
        read_recipe("mnist", parse_changes(["training.epoch=3"]))
