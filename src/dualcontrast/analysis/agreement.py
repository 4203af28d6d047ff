"""Agreement of clusters with labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dualcontrast.evaluation.probes import label_numbers


@dataclass(frozen=True)
class Agreement:
    """How well clusters agree with labels; the scores are rounded to four digits.

    Attributes
    ----------
    ari : float
        The adjusted Rand index.
    nmi : float
        The normalised mutual information.
    purity : float
        The share of images that have the most common label of their cluster.
    images : int
        The number of images with a label.
    """

    ari: float
    nmi: float
    purity: float
    images: int


def agreement_of(table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, Agreement]:
    """Compare clusters with labels; images without a label are left out.

    Transformations are compared within each content cluster that has several transformation labels. Their scores
    are averaged, weighted by the number of images.

    Parameters
    ----------
    table
        `content_cluster` and `transformation_cluster` of each image, as in `Clusters.table`.
    labels
        Of the same images: `content` and `transformation`, where they are known.

    Returns
    -------
    dict of str to Agreement
        `content` and `transformation`, where there is something to compare.
    """
    found = {}
    clusters, content = table["content_cluster"].to_numpy(), label_numbers(labels, "content")
    if (content >= 0).any():
        found["content"] = _compared(clusters, content)
    within = table["transformation_cluster"].to_numpy()
    transformation = label_numbers(labels, "transformation")
    parts = []
    for cluster in np.unique(clusters):
        members = (clusters == cluster) & (transformation >= 0)
        if len(np.unique(transformation[members])) > 1:
            parts.append(_compared(within[members], transformation[members]))
    if parts:
        found["transformation"] = _averaged(parts)
    return found


def _compared(clusters: np.ndarray, labels: np.ndarray) -> Agreement:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    known = labels >= 0
    clusters, labels = clusters[known], labels[known]
    counts = pd.crosstab(clusters, labels).to_numpy()
    return Agreement(
        ari=round(float(adjusted_rand_score(labels, clusters)), 4),
        nmi=round(float(normalized_mutual_info_score(labels, clusters)), 4),
        purity=round(float(counts.max(axis=1).sum() / counts.sum()), 4),
        images=int(known.sum()),
    )


def _averaged(parts: list[Agreement]) -> Agreement:
    images = [part.images for part in parts]

    def mean(scores: list[float]) -> float:
        return round(float(np.average(scores, weights=images)), 4)

    return Agreement(
        ari=mean([part.ari for part in parts]),
        nmi=mean([part.nmi for part in parts]),
        purity=mean([part.purity for part in parts]),
        images=sum(images),
    )
