"""Codes within clusters: centring against a ridge regression, whitening by its definition."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.methods.plus.whitening import Moments, WithinClusters, centres


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def probabilities(count: int, clusters: int, seed: int = 0) -> Tensor:
    return torch.softmax(3 * torch.randn(count, clusters, generator=generator(seed), dtype=torch.float64), dim=1)


def three_clusters(count: int = 3000) -> tuple[Tensor, Tensor, Tensor]:
    """Return clusters, their certain probabilities, and codes of another mean and covariance in each."""
    clusters = torch.arange(count) % 3
    maps = torch.randn(3, 2, 2, generator=generator(3), dtype=torch.float64) + 2 * torch.eye(2)
    h = (maps[clusters] @ torch.randn(count, 2, 1, generator=generator(4), dtype=torch.float64))[..., 0]
    return clusters, F.one_hot(clusters, 3).double(), h + 5 * clusters[:, None]


def test_centring_is_the_residual_of_a_ridge_regression() -> None:
    h = torch.randn(60, 3, dtype=torch.float64, generator=generator(2))
    p = probabilities(60, 4)
    ridge = p.T @ p / 60 + 1e-3 * torch.eye(4)
    slow = np.linalg.solve(ridge.numpy(), (p.T @ h / 60).numpy())
    np.testing.assert_allclose(centres(p, h), slow, rtol=1e-6)


def test_codes_have_mean_0_and_one_covariance_in_every_cluster() -> None:
    clusters, _, h = three_clusters()
    within = WithinClusters(3, 2).double()
    within.take(Moments.of(clusters, h, len(within.means)))
    z = within(clusters, h)
    shared = sum(np.cov(h[clusters == k].T, bias=True) for k in range(3)) / 3
    for k in range(3):
        np.testing.assert_allclose(z[clusters == k].mean(dim=0), 0, atol=1e-9)
        np.testing.assert_allclose(np.cov(z[clusters == k].T, bias=True), shared, rtol=1e-8)
    centre = torch.stack([h[clusters == k].mean(dim=0) for k in range(3)])
    torch.testing.assert_close(within.inverse(clusters, z), h - centre[clusters])


def test_no_other_map_moves_codes_less() -> None:
    """A_k is symmetric and positive, which marks the optimal transport among all maps S^1/2 Q S_k^-1/2."""
    clusters, _, h = three_clusters()
    within = WithinClusters(3, 2).double()
    within.take(Moments.of(clusters, h, len(within.means)))
    own = h[clusters == 1] - h[clusters == 1].mean(dim=0)
    moved = (own @ within.maps[1].T - own).square().sum()
    shared = torch.from_numpy(sum(np.cov(h[clusters == k].T, bias=True) for k in range(3)) / 3)
    left, right = torch.linalg.cholesky(shared), torch.linalg.cholesky(torch.cov(own.T, correction=0))
    for angle in np.linspace(0, 2 * np.pi, 60):
        turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for mirror in (torch.eye(2), torch.diag(torch.tensor([1.0, -1.0]))):
            other = left @ turn @ mirror.double() @ torch.linalg.inv(right)
            assert (own @ other.T - own).square().sum() >= moved - 1e-6


def test_a_direction_that_hardly_varies_stays_small() -> None:
    clusters, _, h = three_clusters()
    h = torch.cat([h, 1e-2 * torch.randn(len(h), 1, generator=generator(5), dtype=torch.float64)], dim=1)
    within = WithinClusters(3, 3).double()
    within.take(Moments.of(clusters, h, len(within.means)))
    assert within(clusters, h)[:, 2].std() < 0.02


def test_without_whitening_codes_are_only_centred() -> None:
    clusters, _, h = three_clusters()
    within = WithinClusters(3, 2, whitened=False).double()
    within.take(Moments.of(clusters, h, len(within.means)))
    centre = torch.stack([h[clusters == k].mean(dim=0) for k in range(3)])
    torch.testing.assert_close(within(clusters, h), h - centre[clusters])


def test_clusters_of_no_or_few_codes_do_no_harm() -> None:
    clusters, _, h = three_clusters(300)
    clusters = clusters.clone()
    clusters[0] = 4
    within = WithinClusters(5, 2).double()
    within.take(Moments.of(clusters, h, len(within.means)))
    assert torch.isfinite(within(clusters, h)).all()
    torch.testing.assert_close(within(clusters[:1], h[:1]), torch.zeros(1, 2).double())
    assert torch.equal(within.maps[3], torch.eye(2).double())
