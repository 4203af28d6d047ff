"""Both codes laid out in the plane, with the picture of each image at hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dualcontrast.analysis.embedding import NAMES, laid_out
from dualcontrast.errors import RunError
from dualcontrast.figures.drawing import LEGEND_CLASSES
from dualcontrast.files import written_whole
from dualcontrast.methods import Codes
from dualcontrast.report.material import Material
from dualcontrast.report.plots import class_colours, typed
from dualcontrast.report.section import Missing, Section


class Colouring(NamedTuple):
    """Something that is known of images: its `names`, and of each image the number of one, -1 where unknown."""

    title: str
    names: list[str]
    numbers: np.ndarray


def section(material: Material) -> Section:
    """Return both codes in the plane; the page draws them from what `figures` holds."""
    anchor, title = "embeddings", "Embeddings"
    places = _places(material)
    laid: dict[str, np.ndarray] = {}
    missing = []
    for code in Codes._fields:
        try:
            laid[code] = _points(material, code, places)
        except RunError as error:
            missing.append(Missing(f"{error}."))
    if not laid:
        return Section(anchor, title, missing=tuple(dict.fromkeys(missing)))
    colourings = _colourings(material, places)
    sheet = material.sheet
    pictured = len(places) if sheet is None else int(np.isin(places, material.pictured).sum())
    drawn = {
        "codes": {code: {"x": typed(points[:, 0]), "y": typed(points[:, 1])} for code, points in laid.items()},
        "pictured": pictured,
        "pictures": [material.sheet_places[int(place)] for place in places[:pictured]] if sheet else [],
        "sheet": {name: getattr(sheet, name) for name in ("columns", "rows", "width", "height")}
        if sheet
        else None,
        "rows": material.codes.table["row"].iloc[places].tolist(),
        "colourings": [_as_value(colouring) for colouring in colourings],
        "size": float(np.clip(70 / np.sqrt(len(places)), 3, 8)),
    }
    context = {
        "codes": list(laid),
        "how": NAMES[material.how],
        "images": len(places),
        "all": len(material),
        "pictured": pictured,
        "things": material.things,
        "colourings": [colouring.title for colouring in colourings],
        "labelled": any(colouring.title.endswith("label") for colouring in colourings),
        "has_pictures": sheet is not None,
    }
    return Section(anchor, title, "embeddings.html", context, {"embeddings": drawn}, tuple(missing))


def _places(material: Material) -> np.ndarray:
    """Choose the images that are drawn, in random order: those that have a picture first."""
    rng = np.random.default_rng(material.seed)
    pictured = rng.permutation(material.pictured)[: material.limit]
    others = rng.permutation(np.setdiff1d(np.arange(len(material)), pictured))
    return np.concatenate([pictured, others[: material.limit - len(pictured)]])


def _points(material: Material, code: str, places: np.ndarray) -> np.ndarray:
    """Lay out a code, (N, 2), or read what an earlier report laid out of the same codes."""
    folder = material.run.codes_folder(material.weights)
    path = folder / f"plane_{code}_{material.how}.npz"
    made_after_codes = path.is_file() and path.stat().st_mtime_ns >= (folder / "table.csv").stat().st_mtime_ns
    if made_after_codes:
        with np.load(path) as kept:
            if np.array_equal(kept["places"], places) and int(kept["seed"]) == material.seed:
                return np.asarray(kept["points"])
    vectors = getattr(material.codes, code)[places]
    points = laid_out(material.run, code, vectors, material.how, material.seed, material.progress)
    points = points.astype(np.float32)
    with written_whole(path) as temporary:
        np.savez(temporary, places=places, points=points, seed=material.seed)
    return points


def _colourings(material: Material, places: np.ndarray) -> list[Colouring]:
    """Return what is known of the images: labels, then clusters."""
    table, colourings = material.codes.table.iloc[places], []
    for name in ("content", "transformation"):
        if name in table and table[name].notna().any():
            colourings.append(_coloured(f"{name} label", table[name]))
    if not isinstance(material.clusters, Missing):
        sorted_ = material.clusters.table.set_index("row").reindex(table["row"])
        content, within = sorted_["content_cluster"], sorted_["transformation_cluster"]
        colourings.append(_coloured("content cluster", content.astype("Int64")))
        if (within.fillna(1) > 1).any():
            both = content.astype("Int64").astype(str) + ", " + within.astype("Int64").astype(str)
            colourings.append(_coloured("transformation cluster", both.where(content.notna())))
    return colourings


def _coloured(title: str, labels: pd.Series) -> Colouring:
    numbers, names = pd.factorize(labels, sort=True)
    return Colouring(title, [str(name) for name in names], numbers.astype(np.int32))


def _as_value(colouring: Colouring) -> dict[str, Any]:
    counts = np.bincount(colouring.numbers[colouring.numbers >= 0], minlength=len(colouring.names))
    return {
        "title": colouring.title,
        "names": colouring.names,
        "counts": counts.tolist(),
        "colours": class_colours(len(colouring.names)),
        "legend": len(colouring.names) <= LEGEND_CLASSES,
        "numbers": typed(colouring.numbers),
    }
