"""Clusters of a run's images, and their files: clusters/NAME.csv and clusters/NAME.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dualcontrast.analysis.agreement import Agreement
from dualcontrast.analysis.mixtures import Candidate
from dualcontrast.errors import RunError, nearest
from dualcontrast.figures.captions import plural
from dualcontrast.files import JSONObject, atomic_write, write_json
from dualcontrast.runs import RunFolder
from dualcontrast.runs.encoding import made_with_weights

Number = int | Literal["auto"]
COLUMNS = ["row", "content_cluster", "content_probability", "transformation_cluster", "transformation_probability"]
DEFAULT = "main"


@dataclass(frozen=True)
class Numbers:
    """The requested numbers of clusters, or `auto`; that of transformation is per content cluster."""

    content: Number
    transformation: Number


@dataclass(frozen=True)
class Parent:
    """The content cluster whose images were clustered again."""

    clusters: str
    content_cluster: int


@dataclass(frozen=True)
class Candidates:
    """The numbers of clusters that were compared, empty for those that were given.

    Attributes
    ----------
    content : list of Candidate
        For the content clusters.
    transformation : dict of int to list of Candidate
        For the transformation clusters within each content cluster.
    """

    content: list[Candidate]
    transformation: dict[int, list[Candidate]]


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """A run's images in clusters.

    Attributes
    ----------
    name : str
        The name of the clusters.
    table : pandas.DataFrame
        One row per image: `row` of the source, `content_cluster` and `transformation_cluster` from 1, the largest
        first, the latter within the former, and the probability of each.
    parent : Parent or None
        The content cluster that was divided further, if any.
    weights : str
        The weights that the codes were made with.
    seed : int
        Seed of the mixtures.
    requested : Numbers
        The requested numbers of clusters.
    sizes : dict of int to list of int
        The number of images in each transformation cluster, by content cluster.
    candidates : Candidates
        The numbers of clusters that were compared.
    agreement : dict of str to Agreement
        The agreement with labels of `content` and `transformation`, where they are known.
    """

    name: str
    table: pd.DataFrame
    parent: Parent | None
    weights: str
    seed: int
    requested: Numbers
    sizes: dict[int, list[int]]
    candidates: Candidates
    agreement: dict[str, Agreement]

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
        """Describe the clusters and their agreement with labels, one sentence per line."""
        lines = [f"{len(self.table):,} images in {plural(len(self.sizes), 'content cluster')}:"]
        for cluster, parts in self.sizes.items():
            within = "" if len(parts) == 1 else f", in {len(parts)} transformation clusters of {_sum(parts)}"
            lines.append(f"  {cluster}: {sum(parts):,}{within}")
        return lines + self.describe_agreement()

    def describe_agreement(self) -> list[str]:
        """Describe the agreement with labels, one sentence per line."""
        return [
            f"Agreement with the {factor} labels: adjusted Rand index {found.ari:.3f}, normalised mutual "
            f"information {found.nmi:.3f}, purity {found.purity:.3f} ({found.images:,} images)."
            for factor, found in self.agreement.items()
        ]

    def as_json(self) -> JSONObject:
        """Return the contents of clusters/NAME.json."""
        tried = {
            "content": [asdict(one) for one in self.candidates.content],
            "transformation": {
                str(cluster): [asdict(one) for one in candidates]
                for cluster, candidates in self.candidates.transformation.items()
            },
        }
        return {
            "name": self.name,
            "within": None if self.parent is None else asdict(self.parent),
            "weights": self.weights,
            "seed": self.seed,
            "asked": asdict(self.requested),
            "images": len(self.table),
            "sizes": {str(cluster): parts for cluster, parts in self.sizes.items()},
            "tried": tried,
            "agreement": {factor: asdict(found) for factor, found in self.agreement.items()},
        }

    @classmethod
    def from_json(cls, name: str, table: pd.DataFrame, stored: JSONObject) -> Clusters:
        """Combine a table with the contents of clusters/NAME.json.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError
            Something is missing or of the wrong type.
        """
        tried = stored["tried"]
        return cls(
            name=name,
            table=table,
            parent=None if stored["within"] is None else Parent(**stored["within"]),
            weights=stored["weights"],
            seed=stored["seed"],
            requested=Numbers(**stored["asked"]),
            sizes={int(cluster): parts for cluster, parts in stored["sizes"].items()},
            candidates=Candidates(
                content=[Candidate(**one) for one in tried["content"]],
                transformation={
                    int(cluster): [Candidate(**one) for one in candidates]
                    for cluster, candidates in tried["transformation"].items()
                },
            ),
            agreement={factor: Agreement(**found) for factor, found in stored["agreement"].items()},
        )


def write_clusters(run: RunFolder, clusters: Clusters) -> Path:
    """Write the table and its JSON together, so that they never disagree; return the path of the table."""
    path = run.clusters_path(clusters.name)
    with atomic_write(path) as temporary:
        clusters.table.to_csv(temporary, index=False)
        path.unlink(missing_ok=True)
        write_json(path.with_suffix(".json"), clusters.as_json())
    return path


def read_clusters(run: RunFolder, name: str = DEFAULT) -> Clusters:
    """Read clusters of the run's current weights.

    Raises
    ------
    RunError
        There are none of that name, they are damaged, or the run was trained again since.
    """
    path = run.clusters_path(name)
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.csv"))
        hint = nearest(name, known) if known else "create them with `run.cluster()`"
        raise RunError(f"{run.path}: has no clusters called {name}; {hint}")
    hint = f'create it again with `run.cluster(name="{name}")`'
    try:
        table = pd.read_csv(path)[COLUMNS]
        table.astype(float)
        clusters = Clusters.from_json(name, table, json.loads(path.with_suffix(".json").read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RunError(f"{path}: is damaged; {hint}") from None
    if not made_with_weights(path, run, clusters.weights):
        raise RunError(f"{path}: is older than the run's weights; {hint}")
    return clusters


def _sum(sizes: list[int]) -> str:
    return " + ".join(f"{size:,}" for size in sizes)
