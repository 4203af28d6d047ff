"""Clustering: content codes into identities, and the transformation codes of each into conformations."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dualcontrast.analysis.agreement import agreement_of
from dualcontrast.analysis.clusters import (
    COLUMNS,
    DEFAULT,
    Candidates,
    Clusters,
    Number,
    Numbers,
    Parent,
    read_clusters,
    write_clusters,
)
from dualcontrast.analysis.mixtures import Mixture, mixture_of, reduced
from dualcontrast.errors import DualContrastWarning, RunError
from dualcontrast.figures.drawing import draw_counts, draw_embedding
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, SavedCodes
from dualcontrast.runs.encoding import codes_of
from dualcontrast.runs.source import attached


def cluster(
    run: RunFolder,
    *,
    content: Number = "auto",
    transformation: Number = "auto",
    within: str | int | None = None,
    name: str | None = None,
    weights: str = "best",
    seed: int = 0,
    datadir: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> Clusters:
    """Cluster a run's images by their content codes, and each cluster by its transformation codes.

    Writes clusters/NAME.csv, clusters/NAME.json and figures/clusters_NAME.png: counts by label if labels are
    known, else the content codes in the plane.

    Parameters
    ----------
    run
        A trained run.
    content, transformation
        Numbers of clusters, or `auto`: see `mixtures.mixture_of`.
    within
        A content cluster, as NUMBER or NAME:NUMBER, whose images alone are clustered again. Without a name, it is
        one of `main`.
    name
        The name of the clusters; by default `main`, or NAME-NUMBER of `within`.
    weights
        Which of the run's weights.
    seed
        Seed of the mixtures.
    datadir
        The present folder of the run's images, if they were moved and have to be encoded.
    device
        Where to encode images, if the run has no codes yet.
    progress
        Called while images are encoded and clustered.

    Raises
    ------
    RunError
        More clusters are requested than there are images, or `within` does not exist; or as in `codes_of`.
    SourceError
        As in `codes_of`.
    """
    requested = Numbers(content, transformation)
    _check_number("content", content)
    _check_number("transformation", transformation)
    parent = None if within is None else _parse_parent(within)
    name = name or (DEFAULT if parent is None else f"{parent.clusters}-{parent.content_cluster}")
    _check_name(name)
    if datadir is not None:
        attached(run, datadir)
    codes = codes_of(run, weights, device=device, progress=progress)
    chosen = np.arange(len(codes.table)) if parent is None else _images_of(run, codes, parent, weights)
    contents, parts = _fit(run, codes, chosen, requested, seed, progress)
    labels = codes.table.iloc[chosen].reset_index(drop=True)
    table = _table(labels, contents, parts)
    clusters = Clusters(
        name=name,
        table=table,
        parent=parent,
        weights=weights,
        seed=seed,
        requested=requested,
        sizes={number: np.bincount(part.labels).tolist() for number, part in enumerate(parts, 1)},
        candidates=Candidates(
            contents.candidates, {number: part.candidates for number, part in enumerate(parts, 1)}
        ),
        agreement=agreement_of(table, labels),
    )
    write_clusters(run, clusters)
    _draw(run, clusters, labels, codes.content[chosen])
    return clusters


def _fit(
    run: RunFolder, codes: SavedCodes, chosen: np.ndarray, requested: Numbers, seed: int, progress: Progress
) -> tuple[Mixture, list[Mixture]]:
    """Cluster content codes, then the transformation codes of each content cluster."""
    subject = f"{len(chosen)} images"
    contents = _mixture(run, codes.content[chosen], requested.content, "content", subject, seed, progress)
    parts = []
    for number in range(contents.count):
        members = chosen[contents.labels == number]
        subject = f"content cluster {number + 1}, of {len(members)} images"
        report = _with_suffix(progress, f" of cluster {number + 1} of {contents.count}")
        parts.append(
            _mixture(run, codes.state[members], requested.transformation, "transformation", subject, seed, report)
        )
    return contents, parts


def _mixture(
    run: RunFolder, codes: np.ndarray, count: Number, code: str, subject: str, seed: int, progress: Progress
) -> Mixture:
    if count != "auto" and count > len(codes):
        raise RunError(f"{run.path}: {count} {code} clusters are too many for {subject}; request fewer")
    mixture = mixture_of(codes, count, seed, progress, f"clustering {code} codes")
    if count != "auto" and mixture.count < count:
        warnings.warn(
            f"{run.path}: {subject}, form {mixture.count} {code} clusters instead of {count}, since the others "
            "would be empty",
            DualContrastWarning,
            stacklevel=4,
        )
    return mixture


def _with_suffix(progress: Progress, suffix: str) -> Progress:
    """Append a suffix to the name of the work that is reported."""

    def report(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        progress(f"{what}{suffix}", done, total, **numbers)

    return report


def _table(images: pd.DataFrame, contents: Mixture, parts: list[Mixture]) -> pd.DataFrame:
    within, probability = np.empty(len(images), int), np.empty(len(images))
    for number, part in enumerate(parts):
        members = contents.labels == number
        within[members], probability[members] = part.labels + 1, part.probabilities
    columns = [
        images["row"].to_numpy(),
        contents.labels + 1,
        np.round(contents.probabilities, 6),
        within,
        np.round(probability, 6),
    ]
    table: pd.DataFrame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    return table


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise RunError(f"{name!r} cannot name clusters; use letters, digits, dots, - and _")


def _check_number(what: str, number: Number) -> None:
    if number != "auto" and (not isinstance(number, int) or number < 1):
        raise RunError(f"{number} is not a number of {what} clusters; give 1 or more, or auto")


def _parse_parent(within: str | int) -> Parent:
    name, colon, number = str(within).rpartition(":")
    if not number.isdigit():
        raise RunError(f"{within}: is not a content cluster; give its number, or NAME:NUMBER")
    return Parent(name if colon else DEFAULT, int(number))


def _images_of(run: RunFolder, codes: SavedCodes, parent: Parent, weights: str) -> np.ndarray:
    """Return the positions of the images of a content cluster."""
    clusters, number = read_clusters(run, parent.clusters), parent.content_cluster
    if clusters.weights != weights:
        raise RunError(
            f"{run.path}: the clusters {parent.clusters} were made with the weights {clusters.weights}; give "
            f'`weights="{clusters.weights}"`'
        )
    rows = clusters.rows_of(number)
    if not len(rows):
        last = clusters.table["content_cluster"].max()
        raise RunError(f"{run.path}: {parent.clusters} has no content cluster {number}; it has 1 to {last}")
    return np.flatnonzero(codes.table["row"].isin(rows))


def _draw(run: RunFolder, clusters: Clusters, labels: pd.DataFrame, codes: np.ndarray) -> None:
    table, path = clusters.table, run.figure_path(f"clusters_{clusters.name}")
    if "content" in labels:
        names = labels["content"].astype(str)
        if "transformation" in labels:
            names = names + " " + labels["transformation"].astype(str)
        counts = pd.crosstab([table["content_cluster"], table["transformation_cluster"]], names.to_numpy())
        rows = [f"content {content}, transformation {transformation}" for content, transformation in counts.index]
        title = f"Images of each label in the clusters {clusters.name}"
        draw_counts(counts.to_numpy(), rows, list(counts.columns), path, title)
        return
    points = reduced(codes)
    plane = np.hstack([points, np.zeros_like(points)])[:, :2]
    draw_embedding(plane, table["content_cluster"], path, f"Content codes, by content cluster ({clusters.name})")
