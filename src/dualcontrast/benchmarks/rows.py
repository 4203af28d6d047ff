"""What the tables compare: their data sets, and their rows with their settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from dualcontrast.errors import RecipeError, nearest
from dualcontrast.methods import installed_methods, method_named
from dualcontrast.recipe import Recipe, read_recipe
from dualcontrast.settings import SettingsDict, SettingsMapping, merged


@dataclass(frozen=True)
class DataSet:
    """A data set of the paper.

    Attributes
    ----------
    label : str
        Its name in a table.
    recipe : str
        The packaged recipe by which every method is trained.
    settings : mapping
        Changes to it.
    """

    label: str
    recipe: str
    settings: SettingsMapping = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row of a table: a method with its settings.

    Attributes
    ----------
    label : str
        Its name in a table.
    settings : mapping
        Changes to the recipe, including `method.name`.
    recipes : mapping
        By data set, the recipe of this row, in place of the recipe and settings of the data set.
    no_effect : mapping
        By data set, why the row would equal another one there, and so is not trained.
    """

    label: str
    settings: SettingsMapping
    recipes: Mapping[str, str] = field(default_factory=dict)
    no_effect: Mapping[str, str] = field(default_factory=dict)

    def recipe_for(self, data: str, changes: SettingsMapping) -> Recipe:
        """Make the whole configuration for a data set; `changes` take precedence over all else.

        Raises
        ------
        RecipeError
            The row's settings do not fit the recipe.
        """
        if data in self.recipes:
            return read_recipe(self.recipes[data], merged(self.settings, changes))
        base = DATA[data]
        return read_recipe(base.recipe, merged(merged(base.settings, self.settings), changes))


# Subtomograms: the paper's objective and code sizes, on the small network of the packaged recipe, whose own preset
# is for one method only.
DATA: dict[str, DataSet] = {
    "mnist": DataSet("MNIST", "mnist"),
    "linemod": DataSet("LineMod", "linemod"),
    "subtomograms": DataSet(
        "Subtomograms",
        "subtomograms-infonce",
        {"preset": "paper", "method": {"content_size": 50, "transformation_size": 50}},
    ),
}


def _row(label: str, name: str, settings: SettingsMapping | None = None, preset: str = "paper") -> Row:
    return Row(label, {"preset": preset, "method": {"name": name, **(settings or {})}})


def _plus_row(label: str, settings: SettingsMapping | None = None, **changes: object) -> Row:
    return Row(label, {**_row(label, "dualcontrast_plus", settings).settings, **changes}, PLUS_RECIPES)


def _plus_row_without(part: str) -> Row:
    row = _plus_row(f"DualContrast plus without {part}", PLUS_PARTS[part])
    return replace(row, no_effect={"subtomograms": LINEAR}) if part in PARTS_OF_PICTURES else row


# ---- dualcontrast_plus: its recipe for each data set, and the settings that remove one of its parts

PLUS_RECIPES = {"mnist": "mnist-plus", "linemod": "linemod-plus", "subtomograms": "subtomograms"}
PLUS_PARTS: dict[str, SettingsDict] = {
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

FEW_POINTS = {"points_per_step": 64}  # each costs a pass of the decoder; with all, a budget allows few images

TABLE1: dict[str, Row] = {
    "spatial_vae": _row("SpatialVAE", "spatial_vae", FEW_POINTS),
    "harmony": _row("Harmony", "harmony"),
    "simclr": _row("SimCLR (discriminative)", "simclr"),
    "simclr_generative": _row("SimCLR (generative)", "simclr_generative"),
    "two_latent_vae": _row("VAE, 2 latent spaces", "two_latent_vae"),
    "vitae": _row("VITAE", "vitae"),
    "without_con_c": _row("DualContrast without L_con(c)", "dualcontrast", NO_CONTENT_PAIRS),
    "without_con_z": _row("DualContrast without L_con(z)", "dualcontrast", NO_TRANSFORMATION_PAIRS),
    "dualcontrast": _row("DualContrast", "dualcontrast"),
    "authors_code": _row("DualContrast, the authors' code", "dualcontrast", preset="authors-code"),
    "dualcontrast_plus": _plus_row("DualContrast plus"),
}
TABLE2: dict[str, Row] = {
    view: Row(view.capitalize(), {"method": {"name": "dualcontrast"}, "views": [{"name": view}]})
    for view in ("rotation", "translation", "scale", "contrast", "saturation", "hue", "blur")
}
ABLATION: dict[str, Row] = {
    **{name: TABLE1[name] for name in ("dualcontrast", "without_con_c", "without_con_z")},
    "only_positive": _row("DualContrast, only positive pairs", "dualcontrast", NO_NEGATIVE_PAIRS),
    "only_negative": _row("DualContrast, only negative pairs", "dualcontrast", NO_POSITIVE_PAIRS),
    "dualcontrast_plus": TABLE1["dualcontrast_plus"],
    **{f"plus_without_{part}": _plus_row_without(part) for part in PLUS_PARTS},
    # with the views of the paper
    "plus_rotation_only": _plus_row("DualContrast plus, views of rotation alone", views=[{"name": "rotation"}]),
}


@dataclass(frozen=True)
class Table:
    """A table: its title, its rows, and its data sets."""

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
    added = {row: _row(method_named(row).__name__, row) for row in others}
    return replace(table, rows={**table.rows, **added})


def select_names(names: Collection[str], known: Collection[str], kind: str) -> tuple[str, ...]:
    """Return the given names in the order of the known ones; all known ones if none are given.

    Raises
    ------
    RecipeError
        A name is unknown; `kind` says what it should be the name of.
    """
    for name in names:
        if name not in known:
            raise RecipeError(f"no {kind} is called {name}; {nearest(name, known)}")
    return tuple(name for name in known if not names or name in names)
