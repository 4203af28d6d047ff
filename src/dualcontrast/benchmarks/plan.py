"""The plan of a table: all of its cells, checked before any of them is trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.rows import DATA, TABLES, Table, chosen
from dualcontrast.errors import DualContrastWarning, MethodError, RecipeError, RunError, SourceError
from dualcontrast.evaluation.probes import content_tasks
from dualcontrast.images import ImageSet, open_images
from dualcontrast.recipe import Recipe
from dualcontrast.runs import prepared_images
from dualcontrast.training.batches import training_and_validation


@dataclass(frozen=True)
class Source:
    """Where the images of a data set are, and the options of their reader."""

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What of a table is asked for.

    Attributes
    ----------
    table : str
        A name in `rows.TABLES`.
    sources : mapping
        The images of each data set that is at hand.
    rows, data : tuple of str
        Rows and data sets; all where it is empty.
    seeds : tuple of int
        One training each.
    budget : float or None
        Minutes of training of each cell; None leaves it to the epochs of the recipes.
    limit : int or None
        Use so many images of a data set.
    tables_only : bool
        Nothing is to be trained.
    """

    table: str
    sources: Mapping[str, Source]
    rows: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: float | None = 10.0
    limit: int | None = None
    tables_only: bool = False


@dataclass(frozen=True)
class Plan:
    """The cells of a table.

    Attributes
    ----------
    name : str
        The table's name.
    table : Table
        Its title and all its rows.
    rows, data : tuple of str
        Those asked for.
    cells : dict
        By data set and row, one cell a seed; none where the row is the same as another there.
    hindered : dict
        By data set and row, why its cells cannot be trained.
    """

    name: str
    table: Table
    rows: tuple[str, ...]
    data: tuple[str, ...]
    cells: dict[tuple[str, str], list[Cell]]
    hindered: dict[tuple[str, str], str]

    def trainable(self) -> list[Cell]:
        """Return the cells that can be trained, all of a seed before those of the next."""
        can = [cells for place, cells in self.cells.items() if place not in self.hindered]
        return [cell for seed in zip(*can, strict=True) for cell in seed]


def plan_of(wanted: Wanted) -> Plan:
    """Make the plan of a table, and check all of it.

    Raises
    ------
    RecipeError
        There is no such table, row or data set; or views or networks do not fit the images.
    SourceError
        No data set is at hand; or one cannot be read, has no content labels to score by, or too few images for a
        row that was asked for by name.
    MethodError
        A method that was asked for by name cannot do a data set. Rows that were not are left out with a warning.
    """
    chosen((wanted.table,), TABLES, "table")
    table = TABLES[wanted.table]
    rows = chosen(wanted.rows, table.rows, f"row of {wanted.table}")
    data = chosen(wanted.data, table.data, f"data set of {wanted.table}")
    missing = [name for name in data if name not in wanted.sources]
    if not wanted.tables_only and missing and (wanted.data or missing == list(data)):
        options = ", ".join(f"`{name}`" for name in missing)
        raise SourceError(
            f"no images of {missing[0]} are given; say where they are with {options}, or give `tables_only=True`"
        )
    cells: dict[tuple[str, str], list[Cell]] = {}
    hindered: dict[tuple[str, str], str] = {}
    for name in data:
        images = _Images(name, wanted) if name in wanted.sources else None
        for row in rows:
            if name in table.rows[row].nothing_to_see:
                hindered[name, row], cells[name, row] = table.rows[row].nothing_to_see[name], []
                continue
            recipes = [table.rows[row].recipe_for(name, _changes(wanted, seed)) for seed in wanted.seeds]
            if not wanted.tables_only:
                why = f"no images given (--{name})" if images is None else images.hindrance(row, recipes)
                if why:
                    hindered[name, row] = why
            digests = images.digests if images is not None else [None] * len(recipes)
            cells[name, row] = [
                _cell(wanted, name, row, recipe, digest) for recipe, digest in zip(recipes, digests, strict=True)
            ]
    return Plan(wanted.table, table, rows, data, cells, hindered)


def _changes(wanted: Wanted, seed: int) -> dict[str, Any]:
    # Without processes of its own that read ahead, a cell takes one thread and no more.
    return {"training": {"minutes": wanted.budget, "limit": wanted.limit, "seed": seed, "workers": 0}}


def _cell(wanted: Wanted, data: str, row: str, recipe: Recipe, digest: str | None) -> Cell:
    source = wanted.sources.get(data)
    path = None if source is None else source.path
    return Cell(
        table=wanted.table,
        row=row,
        data=data,
        seed=recipe.training.seed,
        recipe=recipe.model_dump(mode="json"),
        source=str(Path(path).resolve()) if path is not None and Path(path).exists() else path,
        options={} if source is None else dict(source.options),
        data_digest=digest,
    )


class _Images:
    """The images of a data set, as each seed takes them, and what can be done with them."""

    def __init__(self, data: str, wanted: Wanted) -> None:
        source = wanted.sources[data]
        opened = open_images(source.path, **source.options)
        self.data, self._named = data, bool(wanted.rows)
        self._shape = opened.shape
        self._prepared = [prepared_images(opened, wanted.limit, seed) for seed in wanted.seeds]
        for images in self._prepared:
            _check_labels(images)
        self.digests = [images.digest() for images in self._prepared]

    def hindrance(self, row: str, recipes: Sequence[Recipe]) -> str:
        """Return why a row's method cannot do these images, or an empty text; refuse what is to be mended."""
        try:
            recipes[0].build(self._shape)
            for recipe, images in zip(recipes, self._prepared, strict=True):
                training_and_validation(images, recipe.training)
        except (MethodError, RecipeError, SourceError) as error:
            label = DATA[self.data].label
            if self._named or isinstance(error, RecipeError):
                raise type(error)(f"{row} on {label}: {error}") from None
            warnings.warn(f"{row} is left out on {label}: {error}", DualContrastWarning, stacklevel=2)
            return str(error)
        return ""


def _check_labels(images: ImageSet) -> None:
    try:
        tasks = content_tasks(images.table)
    except RunError as error:
        raise SourceError(f"{images.source}: {error}") from None
    if not tasks:
        raise SourceError(
            f"{images.source}: there are no two content labels to score by; give images that have them"
        )
