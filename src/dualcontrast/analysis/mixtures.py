"""Mixtures of Gaussians on codes, and how many of them a set of codes bears out; no label is looked at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dualcontrast.progress import Progress, silent

LARGEST = 10  # clusters that are tried
VARIANCE_KEPT = 0.99
IMAGES_A_DIMENSION = 20
IMAGES_A_CLUSTER = 10  # fewer, in the mean, are not looked for
SMALLEST = 5  # images of a cluster that is looked for: fewer are outliers
SAME = 1e-4  # of the widest direction's deviation: codes closer than that are one
SPLITS, SPLIT_AT_MOST = 5, 4000
STABLE_ARI, STABLE_CLUSTER = 0.8, 0.6


@dataclass(frozen=True)
class Mixture:
    """Images in clusters.

    Attributes
    ----------
    labels : numpy.ndarray
        The cluster of each image, (N,): 0 is the largest.
    probabilities : numpy.ndarray
        The posterior probability of that cluster, (N,).
    tried : list of dict
        Where the number was chosen: of each that was tried, `clusters`, `bic`, `smallest`, `ari` and `weakest`.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    tried: list[dict[str, Any]]

    @property
    def count(self) -> int:
        """Clusters that have an image."""
        return int(self.labels.max()) + 1


def mixture_of(
    codes: np.ndarray,
    count: int | Literal["auto"],
    seed: int = 0,
    progress: Progress = silent,
    what: str = "sorting codes",
) -> Mixture:
    """Sort codes into clusters by a mixture of Gaussians with full covariances.

    The number is given, or chosen in two steps. The Bayesian information criterion says whether there is more
    than one cluster: of the larger numbers, those are looked at where it lies below that of one, and where every
    cluster has at least 5 images, so that a few between others are none of their own. It alone would go on to
    split clusters that are no Gaussians. So each number is fitted on two random halves, five times over,
    and all codes are sorted by both mixtures. The largest number is taken that is found again: where the median
    adjusted Rand index of the two sortings is at least 0.8, and the median Jaccard index of the cluster that is
    found again worst (C. Hennig, Comput. Stat. Data Anal. 52, 2007) at least 0.6.

    Parameters
    ----------
    codes
        (N, d). Codes that are equal, constant in some numbers, or probabilities already, do no harm.
    count
        How many clusters, at most N, or `auto`, at most 10. Where there are fewer different codes, it is as many
        as those.
    seed
        Of the fits and the halves.
    progress, what
        Told of the numbers of clusters that were tried, and what that work is called.
    """
    points = reduced(codes)
    different = len(np.unique(np.round(points / SAME), axis=0))
    tried: list[dict[str, Any]] = []
    if count == "auto":
        most = min(LARGEST, different, len(points) // IMAGES_A_CLUSTER)
        for number in range(1, most + 1):
            tried.append(_tried(points, number, seed))
            progress(what, number, most)
        count = chosen_number(tried)
    number = min(count, different)
    if number == 1:
        return Mixture(np.zeros(len(points), int), np.ones(len(points)), tried)
    model = _fitted(points, number, seed)
    posterior = model.predict_proba(points)
    labels = posterior.argmax(axis=1)
    return Mixture(by_size(labels), posterior.max(axis=1), tried)


def reduced(codes: np.ndarray) -> np.ndarray:
    """Return codes in their principal directions, (N, k), of deviation 1 along the first.

    Directions are kept up to 99 % of the variance, and at most one for every 20 codes: what collapsed to noise
    far smaller than the rest has no say, and covariances can be told from the codes there are.
    """
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    rotated, deviations, _ = np.linalg.svd(centred, full_matrices=False)
    if deviations[0] <= 1e-9 * max(1.0, float(np.abs(codes).max())) * np.sqrt(len(codes)):
        return np.zeros((len(codes), 1))
    share = np.cumsum(deviations**2) / np.sum(deviations**2)
    kept = int(np.searchsorted(share, VARIANCE_KEPT)) + 1
    kept = min(kept, max(1, len(codes) // IMAGES_A_DIMENSION), len(deviations))
    return np.asarray(rotated[:, :kept] * deviations[:kept] / deviations[0] * np.sqrt(len(codes)))


def chosen_number(tried: list[dict[str, Any]]) -> int:
    """Return the largest number of clusters that is better than one, and found again."""
    good = [
        one["clusters"]
        for one in tried[1:]
        if one["bic"] < tried[0]["bic"]
        and one["smallest"] >= SMALLEST
        and one["ari"] >= STABLE_ARI
        and one["weakest"] >= STABLE_CLUSTER
    ]
    return max(good, default=1)


def by_size(labels: np.ndarray) -> np.ndarray:
    """Return clusters numbered anew from 0, the largest first, and equal ones by their first image."""
    _, first, numbers, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(sizes), int)
    place[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return np.asarray(place[numbers])


def _tried(points: np.ndarray, number: int, seed: int) -> dict[str, Any]:
    """Return what speaks for so many clusters."""
    from sklearn.metrics import adjusted_rand_score

    model = _fitted(points, number, seed)
    sizes = np.bincount(model.predict(points), minlength=number)
    told = {"clusters": number, "bic": round(float(model.bic(points)), 2), "smallest": int(sizes.min())}
    if number == 1:
        return {**told, "ari": 1.0, "weakest": 1.0}
    rng = np.random.default_rng((seed, number))
    agreement, weakest = [], []
    for _ in range(SPLITS):
        order = rng.permutation(len(points))[:SPLIT_AT_MOST]
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        one, other = (_fitted(points[half], number, seed).predict(points[order]) for half in halves)
        agreement.append(adjusted_rand_score(one, other))
        weakest.append(_weakest(one, other))
    return {**told, "ari": round(float(np.median(agreement)), 4), "weakest": round(float(np.median(weakest)), 4)}


def _weakest(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Jaccard index of the cluster, of either sorting, that has the worst match in the other."""
    shared = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(shared, (one, other), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    jaccard = shared / np.maximum(union, 1)
    return float(min(jaccard.max(axis=1).min(), jaccard.max(axis=0).min()))


def _fitted(points: np.ndarray, number: int, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():  # fewer different codes than clusters, or steps that ran out: no harm here
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(number, reg_covar=1e-4, n_init=3, random_state=seed).fit(points)
