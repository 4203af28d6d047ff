"""Clusters of codes on the unit sphere, and how many of them a set of codes bears out; no label is looked at."""

from __future__ import annotations

import warnings
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_NUMBER = 20
STABLE = 0.9  # an adjusted Rand index from which on clusters count as found again
AS_STABLE = 0.005  # as the best: less by no more than this
REPEATS = 5  # splits into parts
STARTS = 5  # of k-means
AT_MOST = 20_000  # codes that clusters are found in


class Stability(NamedTuple):
    """How well so many clusters are found again."""

    clusters: int
    ari: float


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

    def fit(self, codes: Tensor, number: int | Literal["auto"], seed: int = 0) -> list[Stability]:
        """Find clusters of codes (N, d).

        Parameters
        ----------
        codes
            At most 20,000 of them are looked at, drawn at random.
        number
            How many clusters, at most K and N; or `auto`: see `stable_number`.
        seed
            Of the draw and of the starts of k-means.

        Returns
        -------
        list of Stability
            What was tried.
        """
        points = F.normalize(codes, dim=1).cpu().numpy().astype(np.float64)
        chosen = np.random.default_rng(seed).permutation(len(points))[:AT_MOST]
        points = points[chosen]
        tried: list[Stability] = []
        if number == "auto":
            number, tried = stable_number(points, min(len(self.used), LARGEST_NUMBER), seed)
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


def stable_number(points: np.ndarray, largest: int, seed: int = 0) -> tuple[int, list[Stability]]:
    """Choose the number of clusters that is found again.

    Of three parts drawn at random, k-means is fitted on two, and the third is sorted by either: their adjusted
    Rand index, the mean over five draws, is the stability of a number of clusters (R. Tibshirani & G. Walther,
    J. Comput. Graph. Stat. 14, 2005). Of all numbers that are as stable as the best, to 0.005, the largest is
    taken: contents that are one cluster cannot be parted any more, and clusters of one content can be seen to be
    one. Where even the best is below 0.9, codes do not fall into clusters, and the largest number that was tried
    is taken: p then says where among them all a code lies.

    Parameters
    ----------
    points
        Unit vectors, (N, d).
    largest
        The largest number that is tried; 2 is the smallest.
    seed
        Of the draws.

    Returns
    -------
    number : int
        1 where there are too few points to compare.
    tried : list of Stability
        Of every number.
    """
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng((seed, 1))
    draws = [np.array_split(rng.permutation(len(points)), 3) for _ in range(REPEATS)]
    numbers = np.arange(2, min(largest, len(points) // 3) + 1)
    means = np.zeros(len(numbers))
    for place, number in enumerate(numbers):
        for first, second, judged in draws:
            fits = [_clustered(points[half], int(number), seed) for half in (first, second)]
            means[place] += adjusted_rand_score(*(fit.predict(points[judged]) for fit in fits)) / REPEATS
    if not len(numbers):
        return 1, []
    tried = [Stability(int(number), round(float(mean), 4)) for number, mean in zip(numbers, means, strict=True)]
    if means.max() < STABLE:
        return int(numbers[-1]), tried
    return int(numbers[means >= means.max() - AS_STABLE].max()), tried


def _clustered(points: np.ndarray, number: int, seed: int):  # type: ignore[no-untyped-def]  # scikit-learn's KMeans
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer points differ: the others' centres repeat them
        return KMeans(number, n_init=STARTS, random_state=seed).fit(points)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12))
