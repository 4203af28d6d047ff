"""Both codes laid out in the plane, with a thumbnail of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from dualcontrast.analysis.embedding import NAMES, plane_layout
from dualcontrast.errors import RunError
from dualcontrast.figures.drawing import LEGEND_CLASSES
from dualcontrast.files import atomic_write
from dualcontrast.methods import Codes
from dualcontrast.report.material import Material
from dualcontrast.report.pictures import Sheet
from dualcontrast.report.plots import Figure, Json, class_colours, encoded
from dualcontrast.report.section import Section, Unavailable


class Colouring(NamedTuple):
    """A labelling that can colour the points.

    Attributes
    ----------
    title : str
        What it shows.
    names : list of str
        The names of its classes.
    numbers : numpy.ndarray
        The class of each image, -1 where unknown, (N,).
    """

    title: str
    names: list[str]
    numbers: np.ndarray


@dataclass(frozen=True)
class Content:
    """What the section shows.

    Attributes
    ----------
    codes : list of str
        The codes that are laid out.
    how : str
        The name of the layout.
    images, all : int
        The number of images laid out, and of all.
    pictured : int
        The number of images with a thumbnail.
    things : str
        The plural noun for the images.
    colourings : list of str
        The titles of the colourings.
    labelled : bool
        Whether a label is known.
    has_pictures : bool
        Whether there are thumbnails.
    """

    codes: list[str]
    how: str
    images: int
    all: int
    pictured: int
    things: str
    colourings: list[str]
    labelled: bool
    has_pictures: bool


def section(material: Material) -> Section:
    """Show both codes in the plane."""
    anchor, title = "embeddings", "Embeddings"
    chosen = _chosen(material)
    layouts: dict[str, np.ndarray] = {}
    missing = []
    for code in Codes._fields:
        try:
            layouts[code] = _layout(material, code, chosen)
        except RunError as error:
            missing.append(Unavailable(f"{error}."))
    if not layouts:
        return Section(anchor, title, missing=tuple(dict.fromkeys(missing)))
    colourings, sheet = _colourings(material, chosen), material.thumbnails.sheet
    pictured = len(chosen) if sheet is None else int(np.isin(chosen, material.thumbnails.images).sum())
    content = Content(
        codes=list(layouts),
        how=NAMES[material.options.how],
        images=len(chosen),
        all=len(material),
        pictured=pictured,
        things=material.things,
        colourings=[colouring.title for colouring in colourings],
        labelled=any(colouring.title.endswith("label") for colouring in colourings),
        has_pictures=sheet is not None,
    )
    figure = _figure(material, chosen, layouts, colourings, pictured)
    return Section(anchor, title, "embeddings.html", content, {"embeddings": figure}, tuple(missing))


def _chosen(material: Material) -> np.ndarray:
    """Choose the images to show, in random order, those with a thumbnail first."""
    rng, limit = np.random.default_rng(material.options.seed), material.options.limit
    pictured = rng.permutation(material.thumbnails.images)[:limit]
    others = rng.permutation(np.setdiff1d(np.arange(len(material)), pictured))
    return np.concatenate([pictured, others[: limit - len(pictured)]])


def _layout(material: Material, code: str, chosen: np.ndarray) -> np.ndarray:
    """Lay out a code, (N, 2), or read the layout that an earlier report stored for the same codes."""
    how, seed = material.options.how, material.options.seed
    folder = material.run.codes_folder(material.options.weights)
    path = folder / f"plane_{code}_{how}.npz"
    made_after_codes = path.is_file() and path.stat().st_mtime_ns >= (folder / "table.csv").stat().st_mtime_ns
    if made_after_codes:
        with np.load(path) as stored:
            if np.array_equal(stored["places"], chosen) and int(stored["seed"]) == seed:
                return np.asarray(stored["points"])
    vectors = getattr(material.codes, code)[chosen]
    points = plane_layout(material.run, code, vectors, how, seed, material.options.progress)
    points = points.astype(np.float32)
    with atomic_write(path) as temporary:
        np.savez(temporary, places=chosen, points=points, seed=seed)
    return points


def _colourings(material: Material, chosen: np.ndarray) -> list[Colouring]:
    """List the labels of the images, then their clusters."""
    table, colourings = material.codes.table.iloc[chosen], []
    for name in ("content", "transformation"):
        if name in table and table[name].notna().any():
            colourings.append(_colouring(f"{name} label", table[name]))
    if not isinstance(material.clusters, Unavailable):
        clustered = material.clusters.table.set_index("row").reindex(table["row"])
        content, within = clustered["content_cluster"], clustered["transformation_cluster"]
        colourings.append(_colouring("content cluster", content.astype("Int64")))
        if (within.fillna(1) > 1).any():
            both = content.astype("Int64").astype(str) + ", " + within.astype("Int64").astype(str)
            colourings.append(_colouring("transformation cluster", both.where(content.notna())))
    return colourings


def _colouring(title: str, labels: pd.Series) -> Colouring:
    numbers, names = pd.factorize(labels, sort=True)
    return Colouring(title, [str(name) for name in names], numbers.astype(np.int32))


def _figure(
    material: Material,
    chosen: np.ndarray,
    layouts: dict[str, np.ndarray],
    colourings: list[Colouring],
    pictured: int,
) -> Figure:
    """Collect what the script of the page draws."""
    sheet, numbers = material.thumbnails.sheet, material.thumbnails.numbers
    return {
        "codes": {
            code: {"x": encoded(points[:, 0]), "y": encoded(points[:, 1])} for code, points in layouts.items()
        },
        "pictured": pictured,
        "pictures": [numbers[int(image)] for image in chosen[:pictured]] if sheet else [],
        "sheet": _sheet_as_json(sheet) if sheet else None,
        "rows": material.codes.table["row"].iloc[chosen].tolist(),
        "colourings": [_colouring_as_json(colouring) for colouring in colourings],
        "size": float(np.clip(70 / np.sqrt(len(chosen)), 3, 8)),
    }


def _sheet_as_json(sheet: Sheet) -> Json:
    return {"columns": sheet.columns, "rows": sheet.rows, "width": sheet.width, "height": sheet.height}


def _colouring_as_json(colouring: Colouring) -> Json:
    counts = np.bincount(colouring.numbers[colouring.numbers >= 0], minlength=len(colouring.names))
    return {
        "title": colouring.title,
        "names": colouring.names,
        "counts": counts.tolist(),
        "colours": class_colours(len(colouring.names)),
        "legend": len(colouring.names) <= LEGEND_CLASSES,
        "numbers": encoded(colouring.numbers),
    }
