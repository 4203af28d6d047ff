"""Clusters on the sphere: found where they are, as many as there are, and no labels looked at."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from dualcontrast.methods.prototypes import Prototypes, stable_number


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


def test_what_is_no_cluster_is_not_found_again_and_all_numbers_are_used() -> None:
    generator = np.random.default_rng(0)
    points = generator.standard_normal((600, 6))
    number, tried = stable_number(points / np.linalg.norm(points, axis=1, keepdims=True), 6)
    assert max(one.ari for one in tried) < 0.9
    assert number == 6


def test_of_numbers_that_are_found_again_as_well_the_largest_is_taken() -> None:
    """Two groups of three clusters each: 2 and 6 are found again, and only 6 tells all there is."""
    generator = np.random.default_rng(0)
    centres = np.repeat([[1, 0, 0, 0.0], [-1, 0, 0, 0.0]], 3, axis=0)
    centres[:, 1:] += 0.6 * np.tile(np.eye(3), (2, 1))
    points = np.repeat(centres, 150, axis=0) + 0.14 * generator.standard_normal((900, 4))
    number, tried = stable_number(points / np.linalg.norm(points, axis=1, keepdims=True), 8)
    stability = {one.clusters: one.ari for one in tried}
    assert stability[2] == 1.0
    assert 0.995 <= stability[6] < 1.0
    assert max(stability[8], stability[7]) < 0.99
    assert number == 6


def test_points_that_are_all_one_are_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prototypes = Prototypes(4, 6)
        prototypes.fit(torch.ones(60, 4), "auto")
    assert len(prototypes(torch.ones(60, 4)).argmax(dim=1).unique()) == 1


def test_too_few_points_to_compare_are_one_cluster() -> None:
    assert stable_number(np.eye(4)[:4], 6) == (1, [])
