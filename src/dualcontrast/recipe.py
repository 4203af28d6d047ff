"""Recipes: the full configuration of a training, read from YAML and validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator

from dualcontrast.errors import RecipeError, nearest
from dualcontrast.methods import Method, MethodSettings, method_named
from dualcontrast.networks import NetworkSettings
from dualcontrast.settings import SettingsMapping, mapping_of, merged, packaged, read_yaml, sentence
from dualcontrast.transforms import VIEWS, View, Wedge, view_of

DEFAULT_METHOD = "dualcontrast"  # of a recipe without a method
SIZES = ("content_size", "transformation_size")
FULL_TILT = 85.0  # degrees in either direction, from which no wedge counts as missing


class TrainingSettings(BaseModel):
    """Settings of training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(200, ge=1, description="number of epochs")
    minutes: float | None = Field(None, gt=0, description="total minutes of training after which to stop")
    limit: int | None = Field(None, ge=2, description="number of images to use, drawn at random; null: all")
    batch_size: int = Field(100, ge=2, description="images per step and process")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam, in every phase")
    schedule: Literal["steps", "cosine", "warm_cosine"] = Field(
        "steps",
        description="of the learning rate: steps; half a cosine down to 0; or the same after a linear rise over "
        "the first 100 steps of each stage",
    )
    decay_every: int = Field(50, ge=1, description="steps: epochs between reductions of the learning rate")
    decay_by: float = Field(0.1, gt=0, le=1, description="steps: factor of each reduction")
    validation_fraction: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="fraction of the training images held out to select the weights by their loss",
    )
    keep_every: int | None = Field(None, ge=1, description="epochs between weights that are kept; null: none")
    checkpoint_minutes: float = Field(2.0, gt=0, description="minutes between checkpoints")
    workers: int = Field(0, ge=0, description="processes that read images ahead; 0: read in the main process")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="of Lightning Fabric: 32-bit, or mixed with 16-bit"
    )
    seed: int = Field(0, ge=0, description="of weights, splits, batches and views")


class Recipe(BaseModel):
    """The full configuration of a training.

    Values that a recipe omits come from its preset, then from the defaults, which are the paper's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "images"
    preset: str = "paper"
    method: SerializeAsAny[MethodSettings] = Field(default_factory=lambda: _method_settings({}))
    network: NetworkSettings = NetworkSettings()
    views: tuple[SerializeAsAny[View], ...] = Field(default_factory=lambda: (view_of("rotation"),))
    training: TrainingSettings = TrainingSettings()

    @field_validator("method", mode="before")
    @classmethod
    def _validate_method(cls, value: object) -> MethodSettings:
        return _method_settings(value)

    @field_validator("views", mode="before")
    @classmethod
    def _validate_views(cls, value: object) -> tuple[View, ...]:
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f"views is a list of views, such as [{{name: rotation}}], not {value!r}")
        return tuple(_checked_view(view, place) for place, view in enumerate(value))

    def build(self, shape: tuple[int, ...]) -> Method:
        """Build the method for images (C, spatial...), with new weights.

        Raises
        ------
        RecipeError
            The networks or views do not fit these images.
        """
        for view in self.views:
            view.check(shape)
        method = method_named(self.method.name)
        return method(shape, self.method, self.network, self.views)

    def for_tilts(self, degrees: float) -> Recipe:
        """Adapt the recipe to subtomograms with tilts from minus to plus `degrees`.

        A view `wedge` without `degrees` takes those of the tilts. It is removed if almost no wedge is missing.
        """
        views: list[View] = []
        for view in self.views:
            if not isinstance(view, Wedge) or view.degrees is not None:
                views.append(view)
            elif degrees < FULL_TILT:
                views.append(view.model_copy(update={"degrees": degrees}))
        return self.model_copy(update={"views": tuple(views)})


def read_recipe(name_or_file: str | Path = "images", changes: SettingsMapping | None = None) -> Recipe:
    """Read a packaged recipe or a file, and apply changes to it.

    If the changes name another method, the recipe's sizes of codes stay, and its other settings of the method are
    dropped. Presets belong to methods as well: if the other method lacks the recipe's preset, and the changes name
    none, its preset `paper` is used.

    Parameters
    ----------
    name_or_file
        The name of a packaged recipe, or the path of a YAML file.
    changes
        Nested settings that override the recipe's, as `settings.parse_changes` returns them.

    Raises
    ------
    RecipeError
        There is no such recipe, or it or the changes have an unknown key or an invalid value.
    """
    changes, where = changes or {}, f"recipe {name_or_file}"
    settings = read_yaml(name_or_file, packaged_recipes())
    method = mapping_of(settings.get("method", {}), f"{where}: method")
    other = mapping_of(changes.get("method", {}), f"{where}: method").get("name")
    if other not in (None, method.get("name", DEFAULT_METHOD)):
        settings["method"] = {size: method[size] for size in SIZES if size in method}
        if settings.get("preset") not in method_named(str(other)).presets:
            settings["preset"] = "paper"
    return recipe_of(merged(settings, changes), where=where)


def recipe_of(settings: SettingsMapping, where: str = "recipe") -> Recipe:
    """Build a recipe from settings, laid over the preset that they name.

    Parameters
    ----------
    settings
        The sections of a recipe, nested.
    where
        Where they come from, for messages.

    Raises
    ------
    RecipeError
        An unknown key or an invalid value; the message names it and what is accepted.
    """
    try:
        name = str(mapping_of(settings.get("method", {}), "method").get("name", DEFAULT_METHOD))
        method = method_named(name)
        preset = str(settings.get("preset", "paper"))
        if preset not in method.presets:
            raise RecipeError(f"{name} has no preset {preset}; {nearest(preset, method.presets)}")
        return Recipe.model_validate(merged(method.presets[preset], settings))
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentence(error, Recipe, parts={'method': method.Settings})}") from None
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error.__cause__  # the failure of another package


def packaged_recipes() -> dict[str, Path]:
    """Return the packaged recipes by name."""
    return packaged("recipes")


def _method_settings(value: object) -> MethodSettings:
    if isinstance(value, MethodSettings):
        return value
    settings = mapping_of(value, "method")
    model = method_named(str(settings.get("name", DEFAULT_METHOD))).Settings
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise RecipeError(sentence(error, model, "method")) from None


def _checked_view(value: Any, place: int) -> View:
    try:
        return view_of(value)
    except ValidationError as error:
        raise RecipeError(sentence(error, VIEWS[value["name"]], f"views.{place}")) from None
