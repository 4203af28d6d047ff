"""Clusters on the sphere: found where they are, as many as there are, and no labels looked at."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from dualcontrast.methods.plus.prototypes import Prototypes, choose_cluster_count, prediction_strength, silhouette


def clouds(clusters: int, count: int = 900, size: int = 6, spread: float = 0.15) -> tuple[Tensor, Tensor]:
    """Return codes of any length in as many directions, and the cluster of each."""
    generator = torch.Generator().manual_seed(clusters)
    directions = torch.linalg.qr(torch.randn(size, size, generator=generator))[0][:clusters]
    own = torch.arange(count) % clusters
    codes = directions[own] + spread * torch.randn(count, size, generator=generator)
    return codes * (0.5 + torch.rand(count, 1, generator=generator)), own


@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_as_many_clusters_are_found_as_there_are(clusters: int) -> None:
    codes, own = clouds(clusters)
    prototypes = Prototypes(6, 8)
    assert not prototypes.found
    tried = prototypes.fit(codes, "auto")
    assert prototypes.found
    assert int(prototypes.used.sum()) == clusters
    assert [one.clusters for one in tried] == [2, 3, 4, 5, 6, 7, 8]
    p = prototypes(codes)
    assert p.shape == (900, 8)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(900))
    assert (p[:, clusters:] == 0).all()
    assert adjusted_rand_score(own, p.argmax(dim=1)) == 1


def test_probabilities_are_the_softmax_of_scaled_cosines() -> None:
    codes, _ = clouds(3)
    prototypes = Prototypes(6, 5)
    prototypes.fit(codes, 3)
    expected = []
    for code in codes[:20]:
        cosines = [float(F.cosine_similarity(code, m, dim=0)) for m in prototypes.directions[:3]]
        likelihoods = [math.exp(float(prototypes.concentration) * cosine) for cosine in cosines]
        expected.append([one / sum(likelihoods) for one in likelihoods] + [0, 0])
    np.testing.assert_allclose(prototypes(codes[:20]), expected, rtol=1e-3, atol=1e-6)


def test_the_concentration_is_that_of_the_cosines_seen() -> None:
    codes, own = clouds(3)
    prototypes = Prototypes(6, 3)
    prototypes.fit(codes, 3)
    units = F.normalize(codes, dim=1)
    means = torch.stack([F.normalize(units[own == cluster].mean(dim=0), dim=0) for cluster in range(3)])
    r = float((units * means[own]).sum(dim=1).mean())
    assert float(prototypes.concentration) == pytest.approx(r * (6 - r**2) / (1 - r**2), rel=1e-4)
    tighter = Prototypes(6, 3)
    tighter.fit(clouds(3, spread=0.05)[0], 3)
    assert tighter.concentration > 3 * prototypes.concentration


def test_a_number_that_is_given_is_kept_to() -> None:
    codes, _ = clouds(3)
    prototypes = Prototypes(6, 8)
    assert prototypes.fit(codes, 4) == []
    assert int(prototypes.used.sum()) == 4
    prototypes.fit(codes[:2], 4)
    assert int(prototypes.used.sum()) == 2


def units(centres: list[list[float]], each: int, spread: float) -> np.ndarray:
    """Return points around every centre, as unit vectors, in no order."""
    generator = np.random.default_rng(0)
    around = np.repeat(np.array(centres, dtype=float), each, axis=0)
    points = generator.permutation(around + spread * generator.standard_normal(around.shape))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


# two groups of three clusters each
GROUPS = [[side, *(0.6 * axis)] for side in (1, -1) for axis in np.eye(3)]


def test_what_is_no_cluster_is_not_found_again_and_all_numbers_are_used() -> None:
    number, tried = choose_cluster_count(units([[0.0] * 6], 600, 1.0), 6)
    assert max(one.prediction_strength for one in tried) < 0.8
    assert {one.silhouette for one in tried} == {None}
    assert number == 6


def test_of_groups_and_what_they_are_made_of_what_lies_farther_apart_is_taken() -> None:
    number, tried = choose_cluster_count(units(GROUPS, 150, 0.1), 8)
    strength = {one.clusters: one.prediction_strength for one in tried}
    assert strength[2] == 1.0
    assert strength[6] > 0.8
    assert max(strength[7], strength[8]) < 0.8
    assert number == 6
    near = [[side, *(0.1 * axis)] for side in (1, -1) for axis in np.eye(3)]
    assert choose_cluster_count(units(near, 150, 0.1), 8)[0] == 2


def test_one_cluster_that_is_not_found_again_is_enough_to_turn_a_number_down() -> None:
    """With seven, one of six clusters is halved anywhere; most pairs are together nevertheless."""
    points = units(GROUPS, 150, 0.1)
    strength = {one.clusters: one.prediction_strength for one in choose_cluster_count(points, 8)[1]}
    fits = [KMeans(7, n_init=10, random_state=0).fit(half) for half in np.array_split(points, 2)]
    assert adjusted_rand_score(*(fit.predict(points) for fit in fits)) > 0.85
    assert strength[7] < 0.8


def test_the_silhouette_compares_the_nearest_centre_with_the_next() -> None:
    points, centres = units(GROUPS, 20, 0.3), units(GROUPS, 1, 0.0)
    widths = []
    for point in points:
        nearest, following, *_ = sorted(1 - float(np.dot(point, centre)) for centre in centres)
        widths.append((following - nearest) / max(following, nearest))
    assert silhouette(points, centres) == pytest.approx(np.mean(widths))
    assert silhouette(centres, centres) == pytest.approx(1)


def test_the_prediction_strength_is_that_of_the_cluster_that_is_found_again_worst() -> None:
    generator = np.random.default_rng(0)
    clusters, predicted = generator.integers(0, 3, 40), generator.integers(0, 3, 40)
    predicted[clusters == 0] = 2
    shares = []
    for k in range(3):
        own = np.flatnonzero(clusters == k)
        pairs = [predicted[i] == predicted[j] for i in own for j in own if i != j]
        shares.append(sum(pairs) / len(pairs))
    assert shares[0] == 1
    assert prediction_strength(clusters, predicted, 3) == pytest.approx(min(shares))
    assert prediction_strength(clusters, clusters, 3) == 1
    assert prediction_strength(clusters, clusters, 4) == 0, "nobody is in the fourth"


def test_points_that_are_all_one_are_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prototypes = Prototypes(4, 6)
        prototypes.fit(torch.ones(60, 4), "auto")
    assert len(prototypes(torch.ones(60, 4)).argmax(dim=1).unique()) == 1


def test_too_few_points_to_compare_are_one_cluster() -> None:
    assert choose_cluster_count(np.eye(4), 6) == (1, [])
