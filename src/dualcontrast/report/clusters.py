"""The clusters: the number of images in each content, and in the transformations within it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dualcontrast.analysis.clusters import DEFAULT, Clusters
from dualcontrast.report.material import Material
from dualcontrast.report.plots import class_colours
from dualcontrast.report.section import Section, Unavailable

EXAMPLES = 12
LABELS_AT_MOST = 24  # columns of the table of labels


@dataclass(frozen=True)
class TransformationCluster:
    """A transformation cluster within a content cluster.

    Attributes
    ----------
    number, images : int
        Its number and its size.
    share : float
        Its share of the content cluster.
    probability : float
        The mean posterior probability.
    label : str
        The most common label and its share.
    """

    number: int
    images: int
    share: float
    probability: float
    label: str


@dataclass(frozen=True)
class ContentCluster:
    """A content cluster.

    Attributes
    ----------
    number, images : int
        Its number and its size.
    colour : str
        Its colour on the page.
    share : float
        Its share of all images.
    probability : float
        The mean posterior probability.
    label : str
        The most common label and its share.
    parts : list of TransformationCluster
        The transformation clusters within it.
    examples : list of str
        The positions of random images in the sheet of thumbnails.
    """

    number: int
    images: int
    colour: str
    share: float
    probability: float
    label: str
    parts: list[TransformationCluster]
    examples: list[str]


@dataclass(frozen=True)
class LabelTable:
    """The images of each content label in each content cluster.

    Attributes
    ----------
    names : list of str
        The labels.
    rows : list
        The number of each cluster with the count of each label and its share of the cluster.
    """

    names: list[str]
    rows: list[tuple[int, list[tuple[int, float]]]]


@dataclass(frozen=True)
class Content:
    """What the section shows.

    Attributes
    ----------
    clusters : list of ContentCluster
        The largest first.
    largest : float
        The share of the largest.
    labels : LabelTable or None
        The comparison with labels.
    agreement : list of str
        The agreement with labels in sentences.
    others : list of str
        The names of other clusters of the run.
    command : str
        The command that creates the report.
    choice : str
        How the number of clusters was chosen.
    has_labels : bool
        Whether content labels are known.
    """

    clusters: list[ContentCluster]
    largest: float
    labels: LabelTable | None
    agreement: list[str]
    others: list[str]
    command: str
    choice: str
    has_labels: bool


def section(material: Material) -> Section:
    """Show the clusters and their agreement with labels."""
    anchor, title, clusters = "clusters", "Clusters", material.clusters
    if isinstance(clusters, Unavailable):
        return Section(anchor, title, missing=(Unavailable(clusters.reason, material.command("cluster")),))
    table = clusters.table.merge(_labels(material.codes.table), on="row", how="left")
    colours = class_colours(int(table["content_cluster"].max()))
    shown = [
        _content_cluster(material, int(number), members, colours[int(number) - 1], len(table))
        for number, members in table.groupby("content_cluster")
    ]
    names = sorted(path.stem for path in material.run.clusters_path(DEFAULT).parent.glob("*.csv"))
    content = Content(
        clusters=shown,
        largest=max(cluster.share for cluster in shown),
        labels=_label_table(table),
        agreement=clusters.describe_agreement(),
        others=[name for name in names if name != clusters.name],
        command=material.command("report"),
        choice=_choice(clusters),
        has_labels="content" in table,
    )
    return Section(anchor, title, "clusters.html", content)


def _labels(table: pd.DataFrame) -> pd.DataFrame:
    labels: pd.DataFrame = table[[name for name in ("row", "content", "transformation") if name in table]]
    return labels


def _content_cluster(
    material: Material, number: int, members: pd.DataFrame, colour: str, images: int
) -> ContentCluster:
    parts = [
        TransformationCluster(
            number=int(str(part)),
            images=len(of_part),
            share=len(of_part) / len(members),
            probability=float(of_part["transformation_probability"].mean()),
            label=_most_common(of_part, "transformation"),
        )
        for part, of_part in members.groupby("transformation_cluster")
    ]
    return ContentCluster(
        number=number,
        images=len(members),
        colour=colour,
        share=len(members) / images,
        probability=float(members["content_probability"].mean()),
        label=_most_common(members, "content"),
        parts=parts,
        examples=_examples(material, members["row"]),
    )


def _most_common(members: pd.DataFrame, factor: str) -> str:
    """Return the most common label of a factor, and its share."""
    if factor not in members or members[factor].isna().all():
        return ""
    shares = members[factor].value_counts(normalize=True)
    return f"{shares.index[0]} ({100 * shares.iloc[0]:.0f} %)"


def _examples(material: Material, rows: pd.Series) -> list[str]:
    """Choose random images of a cluster; return their positions in the sheet of thumbnails."""
    sheet, numbers = material.thumbnails.sheet, material.thumbnails.numbers
    if sheet is None:
        return []
    members = np.flatnonzero(material.codes.table["row"].isin(rows))
    pictured = [image for image in members.tolist() if image in numbers]
    chosen = np.random.default_rng(material.options.seed).permutation(pictured)[:EXAMPLES]
    return [sheet.position(numbers[int(image)]) for image in chosen]


def _label_table(table: pd.DataFrame) -> LabelTable | None:
    """Count the images of each content label in each content cluster; None for unknown or too many labels."""
    if "content" not in table or table["content"].isna().all() or table["content"].nunique() > LABELS_AT_MOST:
        return None
    counts = pd.crosstab(table["content_cluster"], table["content"])
    shares = counts.div(counts.sum(axis=1), axis=0)
    rows = [
        (int(cluster), list(zip(counts.loc[cluster].tolist(), shares.loc[cluster].tolist(), strict=True)))
        for cluster in counts.index
    ]
    return LabelTable([str(name) for name in counts.columns], rows)


def _choice(clusters: Clusters) -> str:
    """Explain how the number of content clusters was chosen."""
    if clusters.requested.content != "auto":
        return f"The number of content clusters, {clusters.requested.content}, was given."
    count = len(clusters.sizes)
    ari = next((one.ari for one in clusters.candidates.content if one.clusters == count), None)
    if ari is None or count == 1:
        return "The number of content clusters was estimated: no larger number was reproduced in random halves."
    return (
        f"The number of content clusters was estimated: {count} is the largest number on which random halves of "
        f"the images agree (adjusted Rand index {ari:.2f})."
    )
