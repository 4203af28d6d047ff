"""Mixtures of Gaussians on codes; their number is chosen without labels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from dualcontrast.progress import Progress, silent

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

LARGEST = 10  # largest number of clusters that is compared
VARIANCE_KEPT = 0.99
IMAGES_PER_DIMENSION = 20
IMAGES_PER_CLUSTER = 10  # on average, at least
SMALLEST = 5  # images in the smallest cluster; fewer are outliers
TOLERANCE = 1e-4  # in standard deviations along the first direction: closer codes count as equal
SPLITS, SPLIT_AT_MOST = 5, 4000
STABLE_ARI, STABLE_CLUSTER = 0.8, 0.6


@dataclass(frozen=True)
class Candidate:
    """A number of clusters that was compared with others.

    Attributes
    ----------
    clusters : int
        The number.
    bic : float
        The Bayesian information criterion of the mixture.
    smallest : int
        The number of images in the smallest cluster.
    ari : float
        The median adjusted Rand index of the clusterings by two random halves.
    weakest : float
        The median Jaccard index of the cluster that is reproduced worst.
    """

    clusters: int
    bic: float
    smallest: int
    ari: float
    weakest: float


@dataclass(frozen=True)
class Mixture:
    """The clusters of a mixture.

    Attributes
    ----------
    labels : numpy.ndarray
        The cluster of each image, (N,): 0 is the largest.
    probabilities : numpy.ndarray
        The posterior probability of that cluster, (N,).
    candidates : list of Candidate
        The numbers that were compared; empty if the number was given.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    candidates: list[Candidate]

    @property
    def count(self) -> int:
        """The number of clusters that have an image."""
        return int(self.labels.max()) + 1


def mixture_of(
    codes: np.ndarray,
    count: int | Literal["auto"],
    seed: int = 0,
    progress: Progress = silent,
    what: str = "clustering codes",
) -> Mixture:
    """Cluster codes by a mixture of Gaussians with full covariances.

    The number of clusters is given, or it is the `largest_stable_number`. To measure stability, each number is
    fitted to two random halves of the images, five times, and all images are clustered by both mixtures. Two
    medians over the five are kept: the adjusted Rand index of the two clusterings, and the Jaccard index of the
    cluster that is reproduced worst (C. Hennig, Comput. Stat. Data Anal. 52, 2007).

    Parameters
    ----------
    codes
        (N, d). Codes may be equal, constant in some components, or probabilities.
    count
        Number of clusters, at most N, or `auto`, at most 10. There are no more clusters than different codes.
    seed
        Seed of the fits and the halves.
    progress, what
        Called with the numbers of clusters compared, and the name of this work.
    """
    points = reduced(codes)
    different = len(np.unique(np.round(points / TOLERANCE), axis=0))
    candidates: list[Candidate] = []
    if count == "auto":
        most = min(LARGEST, different, len(points) // IMAGES_PER_CLUSTER)
        for number in range(1, most + 1):
            candidates.append(_candidate(points, number, seed))
            progress(what, number, most)
        count = largest_stable_number(candidates)
    number = min(count, different)
    if number == 1:
        return Mixture(np.zeros(len(points), int), np.ones(len(points)), candidates)
    model = _fitted(points, number, seed)
    posterior = model.predict_proba(points)
    labels = posterior.argmax(axis=1)
    return Mixture(by_size(labels), posterior.max(axis=1), candidates)


def reduced(codes: np.ndarray) -> np.ndarray:
    """Project codes to their principal components, (N, k), with standard deviation 1 along the first.

    Components are kept up to 99 % of the variance, and at most one per 20 codes: this removes dimensions that
    collapsed, and leaves enough codes to estimate covariances.
    """
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    rotated, deviations, _ = np.linalg.svd(centred, full_matrices=False)
    if deviations[0] <= 1e-9 * max(1.0, float(np.abs(codes).max())) * np.sqrt(len(codes)):
        return np.zeros((len(codes), 1))
    share = np.cumsum(deviations**2) / np.sum(deviations**2)
    kept = int(np.searchsorted(share, VARIANCE_KEPT)) + 1
    kept = min(kept, max(1, len(codes) // IMAGES_PER_DIMENSION), len(deviations))
    return np.asarray(rotated[:, :kept] * deviations[:kept] / deviations[0] * np.sqrt(len(codes)))


def largest_stable_number(candidates: list[Candidate]) -> int:
    """Choose the largest number of clusters that is reproducible and fits better than one cluster.

    A number qualifies if its BIC is below that of one cluster, its smallest cluster has at least 5 images, its
    adjusted Rand index is at least 0.8, and its weakest Jaccard index at least 0.6. The BIC alone would keep
    splitting clusters that are not Gaussian. The largest is taken because each content and conformation should
    have a cluster of its own; in training, `methods.plus.prototypes` instead takes the best separated number.

    Parameters
    ----------
    candidates
        For 1, 2, ... clusters.
    """
    stable = [
        one.clusters
        for one in candidates[1:]
        if one.bic < candidates[0].bic
        and one.smallest >= SMALLEST
        and one.ari >= STABLE_ARI
        and one.weakest >= STABLE_CLUSTER
    ]
    return max(stable, default=1)


def by_size(labels: np.ndarray) -> np.ndarray:
    """Renumber clusters from 0 by decreasing size; equal ones in the order of their first image."""
    _, first, numbers, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(sizes), int)
    place[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return np.asarray(place[numbers])


def _candidate(points: np.ndarray, number: int, seed: int) -> Candidate:
    """Fit a number of clusters, and measure how well it is reproduced."""
    from sklearn.metrics import adjusted_rand_score

    model = _fitted(points, number, seed)
    smallest = int(np.bincount(model.predict(points), minlength=number).min())
    bic = round(float(model.bic(points)), 2)
    if number == 1:
        return Candidate(number, bic, smallest, ari=1.0, weakest=1.0)
    rng = np.random.default_rng((seed, number))
    agreement, weakest = [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(points))[:SPLIT_AT_MOST]
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        first, second = (_fitted(points[half], number, seed).predict(points[order]) for half in halves)
        agreement.append(adjusted_rand_score(first, second))
        weakest.append(_weakest(first, second))
    ari, jaccard = (round(float(np.median(values)), 4) for values in (agreement, weakest))
    return Candidate(number, bic, smallest, ari, jaccard)


def _weakest(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Jaccard index of the cluster, of either clustering, with the worst match in the other."""
    shared = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(shared, (first, second), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    jaccard = shared / np.maximum(union, 1)
    return float(min(jaccard.max(axis=1).min(), jaccard.max(axis=0).min()))


def _fitted(points: np.ndarray, number: int, seed: int) -> GaussianMixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():  # harmless: fewer different codes than clusters, or too few iterations
        warnings.simplefilter("ignore", ConvergenceWarning)
        model: GaussianMixture = GaussianMixture(number, reg_covar=1e-4, n_init=3, random_state=seed)
        return model.fit(points)
