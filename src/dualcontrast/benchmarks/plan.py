"""The plan of a table: all its cells, checked before any of them is trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.rows import DATA, TABLES, Table, select_names, table_with
from dualcontrast.errors import DualContrastWarning, MethodError, RecipeError, RunError, SourceError
from dualcontrast.evaluation.probes import content_tasks
from dualcontrast.images import ImageSet, open_images
from dualcontrast.images.imageset import ReaderOptions
from dualcontrast.recipe import Recipe
from dualcontrast.runs import prepared_images
from dualcontrast.settings import SettingsDict
from dualcontrast.training.batches import training_and_validation


@dataclass(frozen=True)
class Source:
    """Where the images of a data set are, and the options of their reader."""

    path: str
    options: ReaderOptions = field(default_factory=dict)


@dataclass(frozen=True)
class TableRequest:
    """Which part of a table to make, and with which budget.

    Attributes
    ----------
    table : str
        A name in `rows.TABLES`.
    sources : mapping
        The images of each data set that is available.
    rows, data : tuple of str
        Rows and data sets; all if empty.
    seeds : tuple of int
        One training of each row and data set for every seed.
    budget : float or None
        Minutes of training of each cell; None trains for the epochs of the recipes.
    limit : int or None
        The most images to use of a data set.
    tables_only : bool
        Train nothing, and make the table of the stored results.
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
        The name of the table.
    table : Table
        Its title and all its rows.
    rows, data : tuple of str
        The requested rows and data sets.
    cells : dict
        By data set and row, one cell for each seed; none where the row equals another one.
    skipped : dict
        By data set and row, why its cells cannot be trained.
    """

    name: str
    table: Table
    rows: tuple[str, ...]
    data: tuple[str, ...]
    cells: dict[tuple[str, str], list[Cell]]
    skipped: dict[tuple[str, str], str]

    def trainable(self) -> list[Cell]:
        """List the cells that can be trained, those of the first seed first."""
        by_row = [cells for place, cells in self.cells.items() if place not in self.skipped]
        return [cell for cells in zip(*by_row, strict=True) for cell in cells]


def make_plan(request: TableRequest) -> Plan:
    """Plan a table, and check everything before any training.

    Raises
    ------
    RecipeError
        There is no such table, row or data set; or views or networks do not fit the images.
    SourceError
        No images are given; or they cannot be read, have no content labels to score, or are too few for a row that
        was requested by name.
    MethodError
        A method that was requested by name cannot handle the images. Other such rows are left out with a warning.
    """
    select_names((request.table,), TABLES, "table")
    table = table_with(request.table, request.rows)
    rows = select_names(request.rows, table.rows, f"row of {request.table}")
    data = select_names(request.data, table.data, f"data set of {request.table}")
    _require_sources(request, data)
    cells: dict[tuple[str, str], list[Cell]] = {}
    skipped: dict[tuple[str, str], str] = {}
    for name in data:
        images = _DataSetImages(name, request) if name in request.sources else None
        for row in rows:
            place = name, row
            if name in table.rows[row].no_effect:
                skipped[place], cells[place] = table.rows[row].no_effect[name], []
                continue
            recipes = [table.rows[row].recipe_for(name, _changes(request, seed)) for seed in request.seeds]
            digests = [None] * len(recipes) if images is None else images.digests
            cells[place] = [
                _cell(request, *place, recipe, digest) for recipe, digest in zip(recipes, digests, strict=True)
            ]
            if not request.tables_only:
                reason = "no images given" if images is None else images.reason_to_skip(row, recipes)
                if reason:
                    skipped[place] = reason
    return Plan(request.table, table, rows, data, cells, skipped)


def _require_sources(request: TableRequest, data: Sequence[str]) -> None:
    missing = [name for name in data if name not in request.sources]
    if not request.tables_only and missing and (request.data or missing == list(data)):
        keywords = ", ".join(f"`{name}`" for name in missing)
        raise SourceError(f"no images of {missing[0]} are given; give {keywords}, or `tables_only=True`")


def _changes(request: TableRequest, seed: int) -> SettingsDict:
    # Without worker processes that read ahead, a cell uses a single thread.
    return {"training": {"minutes": request.budget, "limit": request.limit, "seed": seed, "workers": 0}}


def _cell(request: TableRequest, data: str, row: str, recipe: Recipe, digest: str | None) -> Cell:
    source = request.sources.get(data)
    path = None if source is None else source.path
    return Cell(
        table=request.table,
        row=row,
        data=data,
        seed=recipe.training.seed,
        data_digest=digest,
        recipe=recipe.model_dump(mode="json"),
        source=str(Path(path).resolve()) if path is not None and Path(path).exists() else path,
        options={} if source is None else dict(source.options),
    )


class _DataSetImages:
    """The images of a data set as each seed chooses and splits them."""

    def __init__(self, data: str, request: TableRequest) -> None:
        source = request.sources[data]
        opened = open_images(source.path, **source.options)
        self._data, self._by_name = data, bool(request.rows)
        self._shape = opened.shape
        self._prepared = [prepared_images(opened, request.limit, seed) for seed in request.seeds]
        for images in self._prepared:
            _require_labels(images)
        self.digests = [images.digest() for images in self._prepared]

    def reason_to_skip(self, row: str, recipes: Sequence[Recipe]) -> str:
        """Return why a row must be left out, or an empty text.

        Raises
        ------
        RecipeError, MethodError, SourceError
            The user must change something: a row that was requested by name cannot be trained.
        """
        try:
            recipes[0].build(self._shape)
            for recipe, images in zip(recipes, self._prepared, strict=True):
                training_and_validation(images, recipe.training)
        except (MethodError, RecipeError, SourceError) as error:
            label = DATA[self._data].label
            if self._by_name or isinstance(error, RecipeError):
                raise type(error)(f"{row} on {label}: {error}") from None
            warnings.warn(f"{row} is left out on {label}: {error}", DualContrastWarning, stacklevel=2)
            return str(error)
        return ""


def _require_labels(images: ImageSet) -> None:
    try:
        tasks = content_tasks(images.table)
    except RunError as error:
        raise SourceError(f"{images.source}: {error}") from None
    if not tasks:
        raise SourceError(
            f"{images.source}: there are not two content labels to score; give images that have them"
        )
