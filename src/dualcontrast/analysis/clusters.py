"""Clusters: content codes sorted into identities, and the transformation codes of each into conformations."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from dualcontrast.analysis.mixtures import Mixture, mixture_of, reduced
from dualcontrast.errors import DualContrastWarning, RunError, nearest
from dualcontrast.evaluation.probes import label_numbers
from dualcontrast.figures.drawing import draw_counts, draw_embedding
from dualcontrast.figures.show import counted
from dualcontrast.files import write_json, written_whole
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder, SavedCodes
from dualcontrast.runs.encoding import codes_of, made_with_weights
from dualcontrast.runs.source import attached

Number = int | Literal["auto"]
COLUMNS = ["row", "content_cluster", "content_probability", "transformation_cluster", "transformation_probability"]
DEFAULT = "main"


@dataclass(frozen=True)
class Clusters:
    """Images of a run in clusters.

    Attributes
    ----------
    name : str
        What the clusters are called.
    table : pandas.DataFrame
        One row an image: `row` of the source, `content_cluster` and `transformation_cluster` from 1, the largest
        first, the latter within the former, and the probability of each.
    described : dict
        What clusters/NAME.json holds: how the numbers were chosen, sizes, and the agreement with labels.
    """

    name: str
    table: pd.DataFrame
    described: dict[str, Any]

    @property
    def units(self) -> list[tuple[int, int]]:
        """All pairs of content and transformation cluster that have images, in order."""
        pairs = self.table[["content_cluster", "transformation_cluster"]].drop_duplicates()
        return sorted(map(tuple, pairs.to_numpy().tolist()))

    def rows_of(self, content: int, transformation: int | None = None) -> np.ndarray:
        """Return the rows, in the source, of the images of a cluster."""
        chosen = self.table["content_cluster"] == content
        if transformation is not None:
            chosen &= self.table["transformation_cluster"] == transformation
        return np.asarray(self.table["row"][chosen].to_numpy())

    def describe(self) -> list[str]:
        """Return the clusters and their agreement with labels in sentences."""
        sizes = self.described["sizes"]
        told = [f"{len(self.table):,} images in {counted(len(sizes), 'content cluster')}:"]
        for cluster, parts in sizes.items():
            within = "" if len(parts) == 1 else f", in {len(parts)} transformation clusters of {_listed(parts)}"
            told.append(f"  {cluster}: {sum(parts):,}{within}")
        for code, found in self.described["agreement"].items():
            told.append(
                f"With the {code} labels they agree by an adjusted Rand index of {found['ari']:.3f}, a normalised "
                f"mutual information of {found['nmi']:.3f} and a purity of {found['purity']:.3f} "
                f"({found['images']:,} images)."
            )
        return told


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
    """Sort a run's images by their content codes, and those of each cluster by their transformation codes.

    Writes clusters/NAME.csv, clusters/NAME.json and figures/clusters_NAME.png: counts by label where labels are
    known, else the content codes in the plane.

    Parameters
    ----------
    run
        A trained run.
    content, transformation
        How many clusters, or `auto`: see `mixtures.mixture_of`.
    within
        A content cluster, as NUMBER or NAME:NUMBER, whose images alone are sorted anew: a further round. Without
        a name it is one of `main`.
    name
        What the clusters are called; `main`, or in a further round NAME-NUMBER, where none is given.
    weights
        Which of the run's weights.
    seed
        Of the mixtures.
    datadir
        Where the run's images are now, if they were moved and have to be encoded.
    device
        Where images are encoded, if the run has no codes yet.
    progress
        Told of the images encoded and the clusters sorted.

    Raises
    ------
    RunError
        More clusters are asked for than there are images, or there is no cluster to go on within; or as
        `codes_of` does.
    SourceError
        As `codes_of` does.
    """
    _check_number("content", content)
    _check_number("transformation", transformation)
    parent = None if within is None else _parent(within)
    name = name or (DEFAULT if parent is None else f"{parent[0]}-{parent[1]}")
    check_name(name)
    if datadir is not None:
        attached(run, datadir)
    codes = codes_of(run, weights, device=device, progress=progress)
    chosen = np.arange(len(codes.table))
    if parent is not None:
        chosen = _images_within(run, codes, parent, weights)
    mixture = _sorted(run, codes.content[chosen], content, "content", f"{len(chosen)} images", seed, progress)
    parts = []
    for number in range(mixture.count):
        own = chosen[mixture.labels == number]
        holds = f"content cluster {number + 1}, of {len(own)} images"
        told = _within(progress, f" of cluster {number + 1} of {mixture.count}")
        parts.append(_sorted(run, codes.state[own], transformation, "transformation", holds, seed, told))
    table = _table(codes.table.iloc[chosen], mixture, parts)
    labels = codes.table.iloc[chosen].reset_index(drop=True)
    described = {
        "name": name,
        "within": None if parent is None else {"clusters": parent[0], "content_cluster": parent[1]},
        "weights": weights,
        "seed": seed,
        "asked": {"content": content, "transformation": transformation},
        "images": len(table),
        "sizes": _sizes(mixture, parts),
        "tried": {
            "content": mixture.tried,
            "transformation": {str(number + 1): part.tried for number, part in enumerate(parts)},
        },
        "agreement": agreement_of(table, labels),
    }
    _write(run.clusters_path(name), table, described)
    clusters = Clusters(name, table, described)
    _draw(run, clusters, labels, codes.content[chosen])
    return clusters


def read_clusters(run: RunFolder, name: str = DEFAULT) -> Clusters:
    """Read clusters that `cluster` made of the run's present weights.

    Raises
    ------
    RunError
        There are none of that name, they are damaged, or the run was trained anew since.
    """
    path = run.clusters_path(name)
    if not path.is_file():
        there = sorted(file.stem for file in path.parent.glob("*.csv"))
        hint = f"; {nearest(name, there)}" if there else "; make them with `run.cluster()`"
        raise RunError(f"{run.path}: has no clusters called {name}{hint}")
    again = f"make it again with `run.cluster(name={name!r})`"
    try:
        described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        table = pd.read_csv(path)[COLUMNS]
        weights = described["weights"]
        _ = described["sizes"], described["agreement"], table[COLUMNS].astype(float)
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{path}: damaged; {again}") from None
    if not made_with_weights(path, run, weights):
        raise RunError(f"{path}: older than the run's weights; {again}")
    return Clusters(name, table, described)


def agreement_of(table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return how clusters agree with labels, where there are any: ARI, NMI and purity.

    Those of transformations are asked within each content cluster in which several transformation labels occur,
    and averaged by its images; images without a label are left out.

    Parameters
    ----------
    table
        The clusters, as in `Clusters`.
    labels
        Of the same images: `content` and `transformation` where known.
    """
    found = {}
    clusters, content = table["content_cluster"].to_numpy(), label_numbers(labels, "content")
    if (content >= 0).any():
        found["content"] = _agreement(clusters, content)
    within = table["transformation_cluster"].to_numpy()
    transformation = label_numbers(labels, "transformation")
    parts = []
    for cluster_ in np.unique(clusters):
        own = (clusters == cluster_) & (transformation >= 0)
        if len(np.unique(transformation[own])) > 1:
            parts.append(_agreement(within[own], transformation[own]))
    if parts:
        images = [part["images"] for part in parts]
        averages = {
            key: float(np.average([p[key] for p in parts], weights=images)) for key in ("ari", "nmi", "purity")
        }
        found["transformation"] = {
            **{key: round(value, 4) for key, value in averages.items()},
            "images": sum(images),
        }
    return found


def _write(path: Path, table: pd.DataFrame, described: Mapping[str, Any]) -> None:
    """Write a table and what is told of it: where the table is, the other is of it."""
    with written_whole(path) as temporary:
        table.to_csv(temporary, index=False)
        path.unlink(missing_ok=True)
        write_json(path.with_suffix(".json"), described)


def check_name(name: str) -> None:
    """Refuse a name that is none for a file."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name):
        raise RunError(f"{name!r} is no name for clusters; use letters, digits, dots, - and _")


def _check_number(what: str, number: Number) -> None:
    if number != "auto" and (not isinstance(number, int) or number < 1):
        raise RunError(f"{number} is no number of {what} clusters; give 1 or more, or auto")


def _parent(within: str | int) -> tuple[str, int]:
    name, colon, number = str(within).rpartition(":")
    if not number.isdigit():
        raise RunError(f"{within}: no content cluster; give its number, or NAME:NUMBER")
    return (name if colon else DEFAULT), int(number)


def _images_within(run: RunFolder, codes: SavedCodes, parent: tuple[str, int], weights: str) -> np.ndarray:
    """Return the places of the images of a content cluster."""
    clusters = read_clusters(run, parent[0])
    if clusters.described["weights"] != weights:
        raise RunError(
            f"{run.path}: the clusters {parent[0]} were made with the weights {clusters.described['weights']}; "
            "use the same `weights`"
        )
    rows = clusters.rows_of(parent[1])
    if not len(rows):
        most = clusters.table["content_cluster"].max()
        raise RunError(f"{run.path}: {parent[0]} has no content cluster {parent[1]}; it has 1 to {most}")
    return np.flatnonzero(codes.table["row"].isin(rows))


def _within(progress: Progress, place: str) -> Progress:
    """Return what tells of work at some place."""

    def tell(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        progress(f"{what}{place}", done, total, **numbers)

    return tell


def _sorted(
    run: RunFolder, codes: np.ndarray, count: Number, code: str, holds: str, seed: int, progress: Progress
) -> Mixture:
    if count != "auto" and count > len(codes):
        raise RunError(f"{run.path}: {count} {code} clusters are too many for {holds}; ask for fewer")
    mixture = mixture_of(codes, count, seed, progress, f"sorting {code} codes")
    if count != "auto" and mixture.count < count:
        warnings.warn(
            f"{run.path}: {holds}, make {mixture.count} {code} clusters in place of {count}, since the others "
            "would be empty",
            DualContrastWarning,
            stacklevel=3,
        )
    return mixture


def _table(images: pd.DataFrame, mixture: Mixture, parts: list[Mixture]) -> pd.DataFrame:
    within, probability = np.empty(len(images), int), np.empty(len(images))
    for number, part in enumerate(parts):
        own = mixture.labels == number
        within[own], probability[own] = part.labels + 1, part.probabilities
    columns = [
        images["row"].to_numpy(),
        mixture.labels + 1,
        np.round(mixture.probabilities, 6),
        within,
        np.round(probability, 6),
    ]
    table: pd.DataFrame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    return table


def _sizes(mixture: Mixture, parts: list[Mixture]) -> dict[str, list[int]]:
    """Return the images of each transformation cluster within each content cluster."""
    return {str(number + 1): np.bincount(part.labels).tolist() for number, part in enumerate(parts)}


def _agreement(clusters: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    known = labels >= 0
    clusters, labels = clusters[known], labels[known]
    counts = pd.crosstab(clusters, labels).to_numpy()
    return {
        "ari": round(float(adjusted_rand_score(labels, clusters)), 4),
        "nmi": round(float(normalized_mutual_info_score(labels, clusters)), 4),
        "purity": round(float(counts.max(axis=1).sum() / counts.sum()), 4),
        "images": int(known.sum()),
    }


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


def _listed(sizes: Mapping[Any, int] | list[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes)
