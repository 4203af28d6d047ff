"""Codes within clusters: centring against a ridge regression, whitening by its definition."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.methods.within import WithinClusters


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
    residual = WithinClusters(4, 3, whitened=True).double().residual(p, h)
    ridge = p.T @ p / 60 + 1e-3 * torch.eye(4)
    slow = h.numpy() - p.numpy() @ np.linalg.solve(ridge.numpy(), (p.T @ h / 60).numpy())
    np.testing.assert_allclose(residual, slow, rtol=1e-6)


def test_after_training_codes_have_mean_0_and_covariance_1_in_every_cluster() -> None:
    clusters, p, h = three_clusters()
    within = WithinClusters(3, 2, whitened=True).double()
    within.residual(p, h)
    within.eval()
    before = {name: value.clone() for name, value in within.state_dict().items()}
    residual = within.residual(p, h)
    z = within.whiten(p, residual)
    for cluster in range(3):
        own = clusters == cluster
        np.testing.assert_allclose(z[own].mean(dim=0), 0, atol=1e-6)
        np.testing.assert_allclose(np.cov(z[own].T, bias=True), np.eye(2), atol=1e-5)
    torch.testing.assert_close(within.colour(p, z), residual)
    assert all(torch.equal(value, before[name]) for name, value in within.state_dict().items())


def test_without_whitening_codes_are_only_centred() -> None:
    clusters, p, h = three_clusters()
    within = WithinClusters(3, 2, whitened=False).double()
    within.residual(p, h)
    within.eval()
    residual = within.residual(p, h)
    assert torch.equal(within.whiten(p, residual), residual)
    for cluster in range(3):
        own = clusters == cluster
        torch.testing.assert_close(residual[own], h[own] - h[own].mean(dim=0))


def test_moments_are_those_of_the_images_lately_seen() -> None:
    _, p, h = three_clusters(600)
    within = WithinClusters(3, 2, whitened=True).double()
    for _ in range(5):
        within.residual(p, h)
    five_times = within.first.clone()
    torch.testing.assert_close(five_times, p.T @ h / 600)
    for _ in range(1500):
        within.residual(p, 2 * h)
    torch.testing.assert_close(within.first, p.T @ (2 * h) / 600, rtol=1e-3, atol=1e-3)


def test_a_cluster_without_images_does_no_harm() -> None:
    _, p, h = three_clusters(300)
    within = WithinClusters(4, 2, whitened=True).double()
    p = torch.cat([p, torch.zeros(300, 1)], dim=1)
    within.residual(p, h)
    within.eval()
    empty = F.one_hot(torch.tensor([3]), 4).double()
    assert within.whiten(empty, within.residual(empty, h[:1])).isfinite().all()
    assert within.whiten(p, within.residual(p, h)).isfinite().all()
