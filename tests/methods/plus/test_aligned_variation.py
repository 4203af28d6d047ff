"""Variation of aligned volumes: components against a plain principal component analysis, and what they tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.methods import Batch
from dualcontrast.methods.plus.aligned_variation import AlignedVariation
from dualcontrast.poses import Poses
from dualcontrast.transforms import random_rotations, resample
from dualcontrast.transforms.fourier import filtered

BOX = 12


def blob(x: float, y: float, z: float, width: float = 1.2) -> Tensor:
    axis = torch.arange(BOX) - BOX // 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).float()
    return torch.exp(-(grid - torch.tensor([x, y, z])).square().sum(dim=-1) / (2 * width**2))[None]


def two_states(count: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return volumes in random poses, the state of each, and the mean of both states."""
    torch.manual_seed(seed)
    body = blob(-2, 0, 0) + blob(2, 1, 0) + 0.8 * blob(0, -2, 2)
    states = torch.stack([body + blob(0, 3, 1), body + blob(0, 1, -3)])
    state = torch.arange(count) % 2
    rotations = random_rotations(count, 3, 180, torch.device("cpu"))
    volumes = resample(states[state], rotations)
    return volumes + noise * torch.randn_like(volumes), state, states.mean(dim=0)


def certain(k: Tensor) -> Tensor:
    """Return the probabilities (B, 2) of clusters that are certain."""
    return torch.nn.functional.one_hot(k, 2).float()


def fitted(volumes: Tensor, reference: Tensor, size: int = 3, ctf: Tensor | None = None) -> AlignedVariation:
    variation = AlignedVariation((1, BOX, BOX, BOX), 2, size)
    variation.search.references[1] = reference
    variation.moments([(seen(part, ctf), torch.ones(len(part), dtype=torch.long)) for part in volumes.split(30)])
    return variation


def seen(volumes: Tensor, ctf: Tensor | None) -> Batch:
    """Return a batch of volumes of one CTF."""
    of_all = None if ctf is None else ctf.expand(len(volumes), *ctf.shape)
    return Batch(volumes, torch.arange(len(volumes)), of_all)


def test_components_are_those_of_the_aligned_volumes() -> None:
    volumes, _, reference = two_states(60, noise=0.3)
    variation = fitted(volumes, reference)
    k = torch.ones(60, dtype=torch.long)
    aligned = variation.search(volumes, k).undo(volumes)[:, 0]
    np.testing.assert_allclose(variation.volumes[1], aligned.mean(dim=0), atol=1e-4)
    inside = (variation.search.ball.mask > 0).numpy()
    data = aligned.numpy()[:, inside].astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(data.T, bias=True))
    np.testing.assert_allclose(variation.eigenvalues[1], values[::-1][:3], rtol=1e-3)
    np.testing.assert_allclose(variation.noise[1], values[:-3].mean(), rtol=1e-3)
    overlap = np.abs(variation.components[1].numpy()[:, inside] @ vectors[:, ::-1][:, :3])
    np.testing.assert_allclose(overlap, np.eye(3), atol=2e-2)
    assert not variation.components[1].numpy()[:, ~inside].any()
    assert not variation.components[0].any()


def test_the_posterior_is_that_of_the_linear_gaussian_model() -> None:
    volumes, _, reference = two_states(40, noise=0.3)
    variation, k = fitted(volumes, reference), torch.ones(40, dtype=torch.long)
    posterior, pose = variation.posterior(Batch.of(volumes), k)
    residual = (Poses.from_code(pose, BOX).undo(volumes)[:, 0] - variation.volumes[1]).flatten(1).double()
    basis = variation.components[1].flatten(1).double()
    prior, noise = variation.eigenvalues[1].double() - variation.noise[1], variation.noise[1].double()
    covariance = torch.linalg.inv(basis @ basis.T / noise + torch.diag(1 / prior))
    torch.testing.assert_close(
        posterior.mean.double(), residual @ basis.T @ covariance / noise, rtol=1e-3, atol=1e-4
    )
    for row in posterior.log_variance.exp().double():
        torch.testing.assert_close(row, covariance.diagonal(), rtol=1e-3, atol=1e-6)
    means = posterior.mean.double()
    torch.testing.assert_close(means.mean(dim=0), torch.zeros(3).double(), rtol=0, atol=1e-3)
    counts, stated, covariances = variation.moments([(Batch.of(volumes), k)])
    assert counts.tolist() == [0, 40]
    assert not stated.any()
    torch.testing.assert_close(torch.cov(means.T, correction=0), covariances[1].double(), rtol=0, atol=1e-2)


def test_the_first_component_tells_the_state_in_any_pose() -> None:
    volumes, state, reference = two_states(120, noise=0.2)
    variation = fitted(volumes[:80], reference)
    first = variation.posterior(Batch.of(volumes[80:]), torch.ones(40, dtype=torch.long))[0].mean[:, 0]
    told = (first > 0).long()
    right = (told == state[80:]).float().mean()
    assert max(right, 1 - right) > 0.9


def test_what_was_not_measured_is_no_variation() -> None:
    """Volumes of one state behind a wedge: without being told of it, the wedge is what varies most."""
    volumes, state, reference = two_states(120, noise=0.1)
    wedge = torch.from_numpy(wedge_volume(BOX, 45)).float()
    volumes = filtered(volumes, wedge)
    alike = volumes[state == 0]
    told, untold = (fitted(alike, reference, ctf=ctf) for ctf in (-0.5 * wedge, None))
    assert told.eigenvalues[1, 0] < 0.5 * untold.eigenvalues[1, 0]

    def right(ctf: Tensor | None) -> float:
        variation = fitted(volumes[:80], reference, size=1, ctf=ctf)
        k = torch.ones(40, dtype=torch.long)
        first = variation.posterior(seen(volumes[80:], ctf), k)[0].mean[:, 0]
        share = ((first > 0).long() == state[80:]).float().mean().item()
        return max(share, 1 - share)

    assert right(wedge) > 0.85
    assert right(wedge) > right(None)


def test_ctfs_that_leave_everything_change_nothing() -> None:
    volumes, _, reference = two_states(40, noise=0.3)
    one, other = fitted(volumes, reference), fitted(volumes, reference, ctf=torch.full((BOX,) * 3, -0.3))
    assert torch.equal(one.components, other.components)


def test_decoded_volumes_stand_in_their_pose() -> None:
    volumes, _, reference = two_states(120, noise=0.05)
    variation, k = fitted(volumes, reference), torch.ones(120, dtype=torch.long)
    posterior, pose = variation.posterior(Batch.of(volumes), k)
    decoded = variation.decoded(certain(k), posterior.mean, pose)
    rest = Poses.identity(120).to_code(BOX)
    at_rest = variation.decoded(certain(k), posterior.mean, rest)
    likeness = torch.corrcoef(torch.stack([decoded.flatten(), volumes.flatten()]))[0, 1]
    assert likeness > 0.9
    assert torch.corrcoef(torch.stack([at_rest.flatten(), volumes.flatten()]))[0, 1] < likeness - 0.2


def test_larger_boxes_are_decoded_in_their_size() -> None:
    variation = AlignedVariation((1, 32, 32, 32), 2, 3)
    volumes = torch.rand(10, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    k = torch.zeros(10, dtype=torch.long)
    variation.begin([(Batch.of(volumes), k)], 0)
    variation.moments([(Batch.of(volumes), k)])
    posterior, pose = variation.posterior(Batch.of(volumes), k)
    assert variation.components.shape == (2, 3, 16, 16, 16)
    assert torch.isfinite(posterior.mean).all()
    assert variation.decoded(certain(k), posterior.mean, pose).shape == volumes.shape


@pytest.mark.parametrize("count", [1, 2])
def test_clusters_of_few_volumes_do_no_harm(count: int) -> None:
    volumes, _, reference = two_states(count, noise=0.2)
    posterior, _ = fitted(volumes, reference).posterior(Batch.of(volumes), torch.ones(count, dtype=torch.long))
    assert torch.isfinite(posterior.mean).all()
    assert torch.isfinite(posterior.log_variance).all()
