"""What the tables compare: their data sets, and their rows with the settings of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dualcontrast.errors import RecipeError, nearest
from dualcontrast.methods import installed_methods, method_named
from dualcontrast.recipe import Recipe, read_recipe
from dualcontrast.settings import merged


@dataclass(frozen=True)
class DataSet:
    """A data set of the paper.

    Attributes
    ----------
    label : str
        Its name in a table.
    recipe : str
        The packaged recipe that every method is trained by.
    settings : mapping
        Changes to it.
    """

    label: str
    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row of a table: a method with its settings.

    Attributes
    ----------
    label : str
        Its name in a table.
    settings : mapping
        Changes to the recipe; `method.name` among them.
    recipes : mapping
        By data set, a recipe of the method's own, in place of the data set's and its settings.
    nothing_to_see : mapping
        By data set, why the row would be the same as another there, and so is not trained.
    """

    label: str
    settings: Mapping[str, Any]
    recipes: Mapping[str, str] = field(default_factory=dict)
    nothing_to_see: Mapping[str, str] = field(default_factory=dict)

    def recipe_for(self, data: str, changes: Mapping[str, Any]) -> Recipe:
        """Return the whole configuration for a data set, with `changes` over everything else.

        Raises
        ------
        RecipeError
            The row's settings do not fit the recipe.
        """
        if data in self.recipes:
            return read_recipe(self.recipes[data], merged(self.settings, changes))
        own = DATA[data]
        return read_recipe(own.recipe, merged(merged(own.settings, self.settings), changes))


# Subtomograms: the paper's objective and its size of codes, on the small network of the packaged recipe, whose own
# preset belongs to one method alone.
DATA: dict[str, DataSet] = {
    "mnist": DataSet("MNIST", "mnist"),
    "linemod": DataSet("LineMod", "linemod"),
    "subtomograms": DataSet(
        "Subtomograms",
        "subtomograms-infonce",
        {"preset": "paper", "method": {"content_size": 50, "transformation_size": 50}},
    ),
}


def _of(label: str, name: str, settings: Mapping[str, Any] | None = None, preset: str = "paper") -> Row:
    return Row(label, {"preset": preset, "method": {"name": name, **(settings or {})}})


def _plus(label: str, settings: Mapping[str, Any] | None = None, **changes: Any) -> Row:
    return Row(label, {**_of(label, "dualcontrast_plus", settings).settings, **changes}, PLUS_RECIPES)


def _plus_without(part: str) -> Row:
    row = _plus(f"DualContrast plus without {part}", PLUS_PARTS[part])
    return replace(row, nothing_to_see={"subtomograms": LINEAR}) if part in PARTS_OF_PICTURES else row


# ---- dualcontrast_plus: its recipe for each data set, and the settings that take one of its parts away

PLUS_RECIPES = {"mnist": "mnist-plus", "linemod": "linemod-plus", "subtomograms": "subtomograms"}
PLUS_PARTS: dict[str, dict[str, Any]] = {
    "contrast": {"contrast": 0},
    "clustering": {"clustering": 0},
    "centring": {"centred": False},
    "whitening": {"whitened": False},
    "hybrids": {"hybrid_content": 0, "hybrid_transformation": 0},
}
PARTS_OF_PICTURES = ("centring", "hybrids")
LINEAR = "the linear model of aligned volumes has no such part"

# ---- the rows of each table

NO_CONTENT_PAIRS = {"content_positive": 0, "content_negative": 0}
NO_TRANSFORMATION_PAIRS = {"transformation_positive": 0, "transformation_negative": 0}
NO_POSITIVE_PAIRS = {"content_positive": 0, "transformation_positive": 0}
NO_NEGATIVE_PAIRS = {"content_negative": 0, "transformation_negative": 0}

FEW_POINTS = {"points_per_step": 64}  # each costs a pass of the decoder: with all, few images are seen in a budget

TABLE1: dict[str, Row] = {
    "spatial_vae": _of("SpatialVAE", "spatial_vae", FEW_POINTS),
    "harmony": _of("Harmony", "harmony"),
    "simclr": _of("SimCLR (discriminative)", "simclr"),
    "simclr_generative": _of("SimCLR (generative)", "simclr_generative"),
    "two_latent_vae": _of("VAE, 2 latent spaces", "two_latent_vae"),
    "vitae": _of("VITAE", "vitae"),
    "without_con_c": _of("DualContrast without L_con(c)", "dualcontrast", NO_CONTENT_PAIRS),
    "without_con_z": _of("DualContrast without L_con(z)", "dualcontrast", NO_TRANSFORMATION_PAIRS),
    "dualcontrast": _of("DualContrast", "dualcontrast"),
    "authors_code": _of("DualContrast, the authors' code", "dualcontrast", preset="authors-code"),
    "dualcontrast_plus": _plus("DualContrast plus"),
}
TABLE2: dict[str, Row] = {
    view: Row(view.capitalize(), {"method": {"name": "dualcontrast"}, "views": [{"name": view}]})
    for view in ("rotation", "translation", "scale", "contrast", "saturation", "hue", "blur")
}
ABLATION: dict[str, Row] = {
    **{name: TABLE1[name] for name in ("dualcontrast", "without_con_c", "without_con_z")},
    "only_positive": _of("DualContrast, only positive pairs", "dualcontrast", NO_NEGATIVE_PAIRS),
    "only_negative": _of("DualContrast, only negative pairs", "dualcontrast", NO_POSITIVE_PAIRS),
    "dualcontrast_plus": TABLE1["dualcontrast_plus"],
    **{f"plus_without_{part}": _plus_without(part) for part in PLUS_PARTS},
    # with the paper's own views
    "plus_rotation_only": _plus("DualContrast plus, views of rotation alone", views=[{"name": "rotation"}]),
}


@dataclass(frozen=True)
class Table:
    """A table: its title, its rows, and the data sets that it is of."""

    title: str
    rows: Mapping[str, Row]
    data: tuple[str, ...]


TABLES: dict[str, Table] = {
    "table1": Table("Table 1: methods", TABLE1, ("mnist", "linemod", "subtomograms")),
    "table2": Table("Table 2: views of the contrastive pair", TABLE2, ("linemod",)),
    "ablation": Table("Ablation", ABLATION, ("mnist", "linemod", "subtomograms")),
}


def table_with(name: str, rows: tuple[str, ...]) -> Table:
    """Return a table; methods of other packages that are asked for are rows of Table 1 as well.

    Parameters
    ----------
    name
        A name in `TABLES`.
    rows
        Names of rows, or of methods as `method_named` takes them.

    Raises
    ------
    RecipeError
        A method cannot be imported.
    """
    table = TABLES[name]
    if name != "table1":
        return table
    others = [row for row in rows if row not in table.rows and (":" in row or row in installed_methods())]
    added = {row: _of(method_named(row).__name__, row) for row in others}
    return replace(table, rows={**table.rows, **added})


def chosen(wanted: tuple[str, ...], known: Mapping[str, Any] | tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return the names that were asked for, in the order of those known; all where none were.

    Raises
    ------
    RecipeError
        A name is not known; `what` says what was to be named.
    """
    for name in wanted:
        if name not in known:
            raise RecipeError(f"no {what} is called {name}; {nearest(name, known)}")
    return tuple(name for name in known if not wanted or name in wanted)
