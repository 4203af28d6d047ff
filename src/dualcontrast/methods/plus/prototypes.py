"""Clusters on the unit sphere; their number is chosen without labels."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_NUMBER = 20
REPRODUCIBLE = 0.8  # the lowest prediction strength at which clusters count as reproducible
REPEATS = 5  # random splits into halves
STARTS = 10  # of k-means
LARGEST_SAMPLE = 20_000  # codes that clusters are fitted to


class ClusterCount(NamedTuple):
    """A number of clusters, its prediction strength and, if that is high enough, its silhouette."""

    clusters: int
    prediction_strength: float
    silhouette: float | None


class Prototypes(nn.Module):
    """A mixture of von Mises-Fisher distributions of one concentration: p_k = softmax_k( kappa cos(c, m_k) ).

    The directions m_k come from spherical k-means. kappa is the maximum-likelihood estimate for codes assigned to
    their nearest direction (A. Banerjee et al., J. Mach. Learn. Res. 6, 2005, equation 4.4).

    Parameters
    ----------
    size
        d, length of a code.
    room
        K, length of p. Where fewer clusters are found, the rest of p is zero.
    """

    directions: Tensor
    concentration: Tensor
    used: Tensor

    def __init__(self, size: int, room: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.zeros(room, size))
        self.register_buffer("concentration", torch.ones(()))
        self.register_buffer("used", torch.zeros(room, dtype=torch.bool))

    @property
    def found(self) -> bool:
        """Whether clusters have been found."""
        return bool(self.used.any())

    def fit(self, codes: Tensor, number: int | Literal["auto"], seed: int = 0) -> list[ClusterCount]:
        """Find clusters of codes (N, d).

        Parameters
        ----------
        codes
            At most 20,000 of them are used, drawn at random.
        number
            Number of clusters, at most K and N; or `auto`: see `choose_cluster_count`.
        seed
            Of the random sample and of the starts of k-means.

        Returns
        -------
        list of ClusterCount
            The numbers of clusters that were compared.
        """
        points = F.normalize(codes, dim=1).cpu().numpy().astype(np.float64)
        sample = np.random.default_rng(seed).permutation(len(points))[:LARGEST_SAMPLE]
        points = points[sample]
        counts: list[ClusterCount] = []
        if number == "auto":
            number, counts = choose_cluster_count(points, min(len(self.used), LARGEST_NUMBER), seed)
        count = min(number, len(points), len(self.used))
        fitted = _clustered(points, count, seed)
        directions = _unit(fitted.cluster_centers_)
        resultant = float((points * directions[fitted.labels_]).sum(axis=1).mean().clip(0, 1 - 1e-6))
        size = points.shape[1]
        self.directions.zero_()
        self.directions[:count] = torch.from_numpy(directions).to(self.directions)
        self.used.fill_(False)
        self.used[:count] = True
        self.concentration.fill_(resultant * (size - resultant**2) / (1 - resultant**2))
        return counts

    def forward(self, codes: Tensor) -> Tensor:
        """Return p for codes (B, d), (B, K); 0 beyond the clusters found."""
        cosines = F.normalize(codes, dim=1) @ self.directions.T
        return (self.concentration * cosines).masked_fill(~self.used, float("-inf")).softmax(dim=1)


def choose_cluster_count(points: np.ndarray, largest: int, seed: int = 0) -> tuple[int, list[ClusterCount]]:
    """Choose the number of clusters that are reproducible and best separated.

    k-means is fitted to each half of the points, and each half is also assigned by the fit of the other. The
    `prediction_strength` of the two assignments is averaged over both halves and five random splits. A number of
    clusters is reproducible if it is at least 0.8, as the authors of the measure advise (R. Tibshirani &
    G. Walther, J. Comput. Graph. Stat. 14, 2005). Among the reproducible numbers, the one with the largest
    `silhouette` is chosen, since groups and parts of contents can be as reproducible as the contents themselves.

    If no number is reproducible, codes do not form clusters, and the largest number is chosen: p then describes
    the position of a code among all of them.

    Parameters
    ----------
    points
        Unit vectors, (N, d).
    largest
        The largest number to compare, at least four points for each; the smallest is 2.
    seed
        Of the random splits.

    Returns
    -------
    number : int
        1 if there are too few points to compare.
    counts : list of ClusterCount
        The numbers of clusters that were compared.
    """
    rng = np.random.default_rng((seed, 1))
    draws = [np.array_split(rng.permutation(len(points)), 2) for _ in range(REPEATS)]
    counts = []
    for number in range(2, min(largest, len(points) // 4) + 1):
        strength = _strength(points, draws, number, seed)
        separation = None
        if strength >= REPRODUCIBLE:
            separation = round(silhouette(points, _unit(_clustered(points, number, seed).cluster_centers_)), 4)
        counts.append(ClusterCount(number, strength, separation))
    if not counts:
        return 1, []
    reproducible = [(count.silhouette, count.clusters) for count in counts if count.silhouette is not None]
    return max(reproducible)[1] if reproducible else counts[-1].clusters, counts


def _strength(points: np.ndarray, draws: list[list[np.ndarray]], number: int, seed: int) -> float:
    strengths = []
    for first, second in draws:
        one, other = (_clustered(points[half], number, seed) for half in (first, second))
        strengths += [
            prediction_strength(one.labels_, other.predict(points[first]), number),
            prediction_strength(other.labels_, one.predict(points[second]), number),
        ]
    return round(float(np.mean(strengths)), 4)


def prediction_strength(clusters: np.ndarray, predicted: np.ndarray, number: int) -> float:
    """Return the reproducibility of the least reproducible cluster, 0 to 1.

        min_k  fraction of pairs (i, j) of cluster k,  i != j,  that the other assignment puts together too

    (R. Tibshirani & G. Walther, 2005). A cluster without a pair counts 0.

    Parameters
    ----------
    clusters, predicted
        Clusters of the same points by either assignment, integers from 0 to K - 1, (N,).
    number
        K.
    """
    together = np.zeros((number, number), dtype=np.int64)
    np.add.at(together, (clusters, predicted), 1)
    counts = together.sum(axis=1)
    pairs = counts * (counts - 1)
    return float(((together * (together - 1)).sum(axis=1) / pairs.clip(1)).min())


def silhouette(points: np.ndarray, directions: np.ndarray) -> float:
    """Return the mean simplified silhouette, 0 to 1; higher for better separated clusters.

        mean_i  (b_i - a_i) / max(a_i, b_i) = mean_i  1 - a_i / b_i

    where a_i and b_i are the cosine distances to the nearest and to the second nearest centre. The silhouette
    (P. Rousseeuw, J. Comput. Appl. Math. 20, 1987) is simplified by using distances to centres in place of
    distances to all points (E. Hruschka, L. de Castro & R. Campello, ICDM 2004).

    Parameters
    ----------
    points, directions
        Unit vectors, (N, d) and (K, d), K at least 2.
    """
    nearest = np.sort(1 - points @ directions.T, axis=1)[:, :2].clip(1e-12)
    return float((1 - nearest[:, 0] / nearest[:, 1]).mean())


def _clustered(points: np.ndarray, number: int, seed: int):  # type: ignore[no-untyped-def]  # scikit-learn's KMeans
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters: centres repeat
        return KMeans(number, n_init=STARTS, random_state=seed).fit(points)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12))
