"""Clusters of codes on the unit sphere, and how many of them a set of codes bears out; no label is looked at."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_NUMBER = 20
FOUND_AGAIN = 0.8  # a prediction strength from which on every cluster counts as found again
REPEATS = 5  # splits into halves
STARTS = 10  # of k-means
AT_MOST = 20_000  # codes that clusters are found in


class Tried(NamedTuple):
    """How well so many clusters are found again and, where they are, how far apart they lie."""

    clusters: int
    prediction_strength: float
    silhouette: float | None


class Prototypes(nn.Module):
    """A mixture of von Mises-Fisher distributions of one concentration: p_k = softmax_k( kappa cos(c, m_k) ).

    The directions m_k are those of spherical k-means; kappa is its maximum of likelihood where each code belongs
    to the nearest (A. Banerjee et al., J. Mach. Learn. Res. 6, 2005, equation 4.4).

    Parameters
    ----------
    size
        d, length of a code.
    room
        K, numbers that p has. Where fewer clusters are found, the rest of p is zero.
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

    def fit(self, codes: Tensor, number: int | Literal["auto"], seed: int = 0) -> list[Tried]:
        """Find clusters of codes (N, d).

        Parameters
        ----------
        codes
            At most 20,000 of them are looked at, drawn at random.
        number
            How many clusters, at most K and N; or `auto`: see `supported_number`.
        seed
            Of the draw and of the starts of k-means.

        Returns
        -------
        list of Tried
            Of every number that was tried.
        """
        points = F.normalize(codes, dim=1).cpu().numpy().astype(np.float64)
        chosen = np.random.default_rng(seed).permutation(len(points))[:AT_MOST]
        points = points[chosen]
        tried: list[Tried] = []
        if number == "auto":
            number, tried = supported_number(points, min(len(self.used), LARGEST_NUMBER), seed)
        count = min(number, len(points), len(self.used))
        found = _clustered(points, count, seed)
        directions = _unit(found.cluster_centers_)
        resultant = float((points * directions[found.labels_]).sum(axis=1).mean().clip(0, 1 - 1e-6))
        size = points.shape[1]
        self.directions.zero_()
        self.directions[:count] = torch.from_numpy(directions).to(self.directions)
        self.used.fill_(False)
        self.used[:count] = True
        self.concentration.fill_(resultant * (size - resultant**2) / (1 - resultant**2))
        return tried

    def forward(self, codes: Tensor) -> Tensor:
        """Return p of codes (B, d), (B, K); 0 beyond the clusters found."""
        cosines = F.normalize(codes, dim=1) @ self.directions.T
        return (self.concentration * cosines).masked_fill(~self.used, float("-inf")).softmax(dim=1)


def supported_number(points: np.ndarray, largest: int, seed: int = 0) -> tuple[int, list[Tried]]:
    """Choose the number of clusters that are each found again, and lie farthest apart.

    k-means is fitted on either half of the points, and each half is sorted by the fit of the other as well. How
    well a number of clusters is found again is the `prediction_strength` of the two sortings, the mean over both
    halves and five draws. Numbers come into question that have at least 0.8, as those who introduced the measure
    advise (R. Tibshirani & G. Walther, J. Comput. Graph. Stat. 14, 2005). Of these, the one is taken whose
    clusters have the largest `silhouette`: groups of contents can be found again as well as the contents
    themselves, and so can parts of them.

    Where no number is found again, codes do not fall into clusters, and the largest number that was tried is
    taken: p then says where among them all a code lies.

    Parameters
    ----------
    points
        Unit vectors, (N, d).
    largest
        The largest number that is tried, as long as there are four points for each; 2 is the smallest.
    seed
        Of the draws.

    Returns
    -------
    number : int
        1 where there are too few points to compare.
    tried : list of Tried
        Of every number.
    """
    rng = np.random.default_rng((seed, 1))
    draws = [np.array_split(rng.permutation(len(points)), 2) for _ in range(REPEATS)]
    tried = []
    for number in range(2, min(largest, len(points) // 4) + 1):
        strength = _strength(points, draws, number, seed)
        apart = None
        if strength >= FOUND_AGAIN:
            apart = round(silhouette(points, _unit(_clustered(points, number, seed).cluster_centers_)), 4)
        tried.append(Tried(number, strength, apart))
    if not tried:
        return 1, []
    found = [(one.silhouette, one.clusters) for one in tried if one.silhouette is not None]
    return max(found)[1] if found else tried[-1].clusters, tried


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
    """Return how well the cluster that is found again worst is found again, 0 to 1.

        min_k  share of pairs (i, j) of cluster k,  i != j,  that are together in the other sorting too

    (R. Tibshirani & G. Walther, 2005). A cluster that has no pair is not found again, and counts 0.

    Parameters
    ----------
    clusters, predicted
        Clusters of the same points by either sorting, integers from 0 to K - 1, (N,).
    number
        K.
    """
    together = np.zeros((number, number), dtype=np.int64)
    np.add.at(together, (clusters, predicted), 1)
    counts = together.sum(axis=1)
    pairs = counts * (counts - 1)
    return float(((together * (together - 1)).sum(axis=1) / pairs.clip(1)).min())


def silhouette(points: np.ndarray, directions: np.ndarray) -> float:
    """Return how much nearer points are to the centre of their own cluster than to the next, 0 to 1.

        mean_i  (b_i - a_i) / max(a_i, b_i) = mean_i  1 - a_i / b_i

    where a_i and b_i are 1 - cos of the angle to the nearest and to the second nearest centre: the silhouette
    (P. Rousseeuw, J. Comput. Appl. Math. 20, 1987) in its simplified form, with distances to centres in place of
    those to every point (E. Hruschka, L. de Castro & R. Campello, ICDM 2004).

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
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer points differ: the others' centres repeat them
        return KMeans(number, n_init=STARTS, random_state=seed).fit(points)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12))
