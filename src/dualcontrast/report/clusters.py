"""The clusters: how many images each content has, and in which transformations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dualcontrast.analysis.clusters import DEFAULT, Clusters
from dualcontrast.report.material import Material
from dualcontrast.report.plots import class_colours
from dualcontrast.report.section import Missing, Section

EXAMPLES = 12
LABELS_AT_MOST = 24  # columns of the table of labels


class Part(NamedTuple):
    """A transformation cluster within a content cluster."""

    number: int
    images: int
    share: float  # of the content cluster
    probability: float
    mostly: str


class Kind(NamedTuple):
    """A content cluster."""

    number: int
    colour: str
    images: int
    share: float
    probability: float
    mostly: str
    parts: list[Part]
    examples: list[str]  # positions in the sheet


def section(material: Material) -> Section:
    """Return the table of clusters, and their agreement with labels."""
    anchor, title, clusters = "clusters", "Clusters", material.clusters
    if isinstance(clusters, Missing):
        lack = Missing(clusters.sentence, material.command("cluster"))
        return Section(anchor, title, missing=(lack,))
    table = clusters.table.merge(_labels(material.codes.table), on="row", how="left")
    colours = class_colours(int(table["content_cluster"].max()))
    kinds = [
        _kind(material, int(number), own, colours[int(number) - 1], len(table))
        for number, own in table.groupby("content_cluster")
    ]
    others = sorted(path.stem for path in material.run.clusters_path(DEFAULT).parent.glob("*.csv"))
    context = {
        "name": clusters.name,
        "described": clusters.described,
        "kinds": kinds,
        "largest": max(kind.share for kind in kinds),
        "told": clusters.describe()[1 + len(kinds) :],
        "labels": _against_labels(table),
        "others": [name for name in others if name != clusters.name],
        "command": material.command("report"),
        "stable": _stability(clusters),
        "known": "content" in table,
    }
    return Section(anchor, title, "clusters.html", context)


def _labels(table: pd.DataFrame) -> pd.DataFrame:
    labels: pd.DataFrame = table[[name for name in ("row", "content", "transformation") if name in table]]
    return labels


def _kind(material: Material, number: int, own: pd.DataFrame, colour: str, images: int) -> Kind:
    parts = [
        Part(
            int(str(part)),
            len(of_part),
            len(of_part) / len(own),
            float(of_part["transformation_probability"].mean()),
            _mostly(of_part, "transformation"),
        )
        for part, of_part in own.groupby("transformation_cluster")
    ]
    return Kind(
        number,
        colour,
        len(own),
        len(own) / images,
        float(own["content_probability"].mean()),
        _mostly(own, "content"),
        parts,
        _examples(material, own["row"]),
    )


def _mostly(own: pd.DataFrame, label: str) -> str:
    """Say which label is the most common, and its share."""
    if label not in own or own[label].isna().all():
        return ""
    shares = own[label].value_counts(normalize=True)
    return f"{shares.index[0]} ({100 * shares.iloc[0]:.0f} %)"


def _examples(material: Material, rows: pd.Series) -> list[str]:
    """Return the positions of some random pictures of a cluster."""
    if material.sheet is None:
        return []
    places = np.flatnonzero(material.codes.table["row"].isin(rows))
    there = [place for place in places.tolist() if place in material.sheet_places]
    chosen = np.random.default_rng(material.seed).permutation(there)[:EXAMPLES]
    return [material.sheet.position(material.sheet_places[int(place)]) for place in chosen]


def _against_labels(table: pd.DataFrame) -> dict[str, Any] | None:
    """Count the images of each content label in each content cluster; None for too many or unknown labels."""
    if "content" not in table or table["content"].isna().all() or table["content"].nunique() > LABELS_AT_MOST:
        return None
    counts = pd.crosstab(table["content_cluster"], table["content"])
    shares = counts.div(counts.sum(axis=1), axis=0)
    rows = [
        (int(cluster), list(zip(counts.loc[cluster].tolist(), shares.loc[cluster].tolist(), strict=True)))
        for cluster in counts.index
    ]
    return {"names": [str(name) for name in counts.columns], "rows": rows}


def _stability(clusters: Clusters) -> str:
    """Say how the number was chosen."""
    if clusters.described["asked"]["content"] != "auto":
        return f"The number of content clusters, {clusters.described['asked']['content']}, was asked for."
    chosen = clusters.described["tried"]["content"]
    count = len(clusters.described["sizes"])
    ari = next((one["ari"] for one in chosen if one["clusters"] == count), None)
    if ari is None or count == 1:
        return "The number of content clusters was found: no larger number was found again in random halves."
    return (
        f"The number of content clusters was found: {count} is the largest that random halves of the images agree "
        f"on (adjusted Rand index {ari:.2f})."
    )
