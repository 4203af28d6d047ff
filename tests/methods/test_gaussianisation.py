"""Codes of clusters brought to one Gaussian: against slow quantile maps, and what a probe reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch import Tensor

from dualcontrast.methods.gaussianisation import ROUNDS, Gaussianisation


def two_shapes(count: int = 4000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return clusters and codes of mean 0 and covariance 1 in both: a ring, and a cross."""
    rng = np.random.default_rng(seed)
    k = rng.integers(0, 2, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.1 * rng.standard_normal((count, 2))
    arm, along = rng.integers(0, 2, count), rng.standard_normal(count) * np.sqrt(2)
    cross = np.where(arm[:, None] == 0, np.stack([along, 0 * along], 1), np.stack([0 * along, along], 1))
    codes = np.where(k[:, None] == 0, ring / ring.std(axis=0), cross + 0.1 * rng.standard_normal((count, 2)))
    return torch.from_numpy(k), torch.from_numpy(codes).double()


def fitted(k: Tensor, z: Tensor) -> Gaussianisation:
    gaussianisation = Gaussianisation(2, z.shape[1]).double()
    gaussianisation.fit(k, z)
    return gaussianisation


def test_every_direction_of_every_cluster_becomes_gaussian_on_unseen_codes() -> None:
    k, z = two_shapes()
    gaussianisation = fitted(k, z)
    k, z = two_shapes(seed=1)
    codes, scale = gaussianisation(k, z), gaussianisation.inverse_root
    distances = []
    for angle in np.linspace(0, np.pi, 7):
        direction = torch.tensor([np.cos(angle), np.sin(angle)])
        for cluster in range(2):
            before, after = ((c[k == cluster] @ scale @ direction).numpy() for c in (z, codes))
            distances.append([kstest(values, "norm").statistic for values in (before, after)])
    before, after = np.max(distances, axis=0)
    assert before > 0.15
    assert after < 0.05


def test_it_is_undone() -> None:
    k, z = two_shapes()
    gaussianisation = fitted(k, z)
    torch.testing.assert_close(gaussianisation.inverse(k, gaussianisation(k, z)), z, atol=1e-5, rtol=1e-5)
    assert (gaussianisation(k, z) - z).abs().max() > 0.3


def test_neighbours_no_longer_tell_the_cluster() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    k, z = two_shapes()
    gaussianisation = fitted(k, z)
    fresh_k, fresh_z = two_shapes(seed=1)

    def told(of: Tensor, fresh: Tensor) -> float:
        return KNeighborsClassifier(10).fit(of, k).score(fresh, fresh_k)

    assert told(z, fresh_z) > 0.85
    assert told(gaussianisation(k, z), gaussianisation(fresh_k, fresh_z)) < 0.6


def test_a_round_is_the_map_between_quantiles() -> None:
    """The first round of one cluster, coordinate by coordinate with numpy's interpolation."""
    k, z = two_shapes()
    gaussianisation = fitted(k, z)
    gaussianisation.knots[1] = 0
    rotation = gaussianisation.rotations[0].numpy()
    u = (z[k == 0] @ gaussianisation.inverse_root).numpy() @ rotation.T
    knots = int(gaussianisation.knots[0])
    shares = (np.arange(knots) + 0.5) / knots
    for column, own in zip(u.T, gaussianisation.quantiles[0, 0].numpy(), strict=True):
        expected = np.quantile(column, shares)
        np.testing.assert_allclose(own[:knots], expected, atol=1e-8)
    for step in range(1, ROUNDS):  # leave the first alone: the rest maps the Gaussian to itself
        gaussianisation.quantiles[0, step, :, :knots] = torch.from_numpy(norm.ppf(shares))
    mapped = (gaussianisation(k, z)[k == 0] @ gaussianisation.inverse_root).numpy() @ rotation.T
    for column, after in zip(u.T, mapped.T, strict=True):
        quantiles = np.quantile(column, shares)
        inside = (column > quantiles[0]) & (column < quantiles[-1])
        np.testing.assert_allclose(
            after[inside], np.interp(column, quantiles, norm.ppf(shares))[inside], atol=1e-5
        )
        beyond = column > quantiles[-1]
        np.testing.assert_allclose(after[beyond], norm.ppf(shares)[-1] + column[beyond] - quantiles[-1], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 150])
def test_clusters_of_few_codes_stay_as_they_are(count: int) -> None:
    k, z = two_shapes()
    some = torch.cat([torch.nonzero(k == 0)[:, 0], torch.nonzero(k == 1)[:count, 0]])
    gaussianisation = fitted(k[some], z[some])
    own = k == 1
    torch.testing.assert_close(gaussianisation(k, z)[own], z[own])
    assert not torch.allclose(gaussianisation(k, z)[~own], z[~own])
