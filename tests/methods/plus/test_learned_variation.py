"""Learnt variation of pictures: its objective, gradients and moments against slow references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dualcontrast.methods import Batch
from dualcontrast.methods.method import Losses
from dualcontrast.methods.plus.learned_variation import LearnedVariation
from dualcontrast.methods.plus.settings import DualContrastPlusSettings
from dualcontrast.networks import DecoderSettings, EncoderSettings, NetworkSettings

SHAPE = (1, 12, 12)
CLUSTERS, SIZE = 5, 4
HYBRIDS = ("hybrid_content", "hybrid_transformation")
FILTER = torch.linspace(-1, 1, 144).reshape(SHAPE)


def variation_of(norm: Any = "instance", **settings: Any) -> LearnedVariation:
    torch.manual_seed(0)
    sizes = {"content_size": CLUSTERS, "transformation_size": SIZE}
    networks = NetworkSettings(
        encoder=EncoderSettings(channels=(6, 8), kernel=3, hidden=(10,), norm=norm),
        decoder=DecoderSettings(code_width=8, hidden=(16,)),
    )
    return LearnedVariation(SHAPE, DualContrastPlusSettings(**sizes, **settings), networks)


def batch_of(count: int = 20, seed: int = 1) -> Batch:
    return Batch.of(torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed)))


def probabilities(count: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.softmax(3 * torch.randn(count, CLUSTERS, generator=generator), dim=1)


def content_error(images: Tensor, p: Tensor) -> Tensor:
    """Make up an error that depends on both arguments."""
    return ((images * FILTER).sum(dim=(1, 2, 3)) * p[:, 0]).mean()


def losses_of(variation: LearnedVariation, batch: Batch, p: Tensor) -> Losses:
    torch.manual_seed(7)
    return variation.losses(batch, p, content_error)


def slow_losses(variation: LearnedVariation, batch: Batch, p: Tensor) -> dict[str, Tensor]:
    """Compute the parts image by image, as the class docstring of DualContrastPlus writes them."""
    torch.manual_seed(7)
    x, count = batch.images, len(batch)
    heads = variation.encoder(x)
    h, log_variance, mu = heads[:, :SIZE], heads[:, SIZE:], torch.zeros(CLUSTERS, SIZE)
    if variation.settings.centred:
        ridge = sum(torch.outer(row, row) for row in p) / count + 1e-3 * torch.eye(CLUSTERS)
        mu = torch.linalg.inv(ridge) @ sum(torch.outer(p[i], h[i]) for i in range(count)) / count
    mean = torch.stack([h[i] - p[i] @ mu for i in range(count)])
    z = mean + (log_variance / 2).exp() * torch.randn(count, SIZE)
    order = torch.randperm(count)
    decoder = variation.decoder
    error, kl, far = torch.zeros(()), torch.zeros(()), torch.zeros(())
    hybrids = []
    for i in range(count):
        error = error + (decoder(4 * p[i : i + 1], z[i : i + 1]) - x[i]).square().sum() / (144 * count)
        for m, v in zip(mean[i], log_variance[i].exp(), strict=True):
            kl = kl + 0.5 * (m**2 + v - 1 - v.log()) / (144 * count)
        other = z[order[i]]
        hybrids.append(decoder(4 * p[i : i + 1], other[None]))
        seen = variation.encoder(hybrids[-1])[0, :SIZE] - p[i] @ mu
        far = far + (seen - other.detach()).square().sum() / (SIZE * count)
    return {
        "reconstruction": error,
        "kl": kl,
        "hybrid_content": content_error(torch.cat(hybrids), p),
        "hybrid_transformation": far,
    }


@pytest.mark.parametrize("centred", [True, False])
def test_the_objective_is_that_of_its_equation(centred: bool) -> None:
    variation, batch, p = variation_of(centred=centred), batch_of(), probabilities()
    losses, expected = losses_of(variation, batch, p), slow_losses(variation, batch, p)
    assert losses.parts.keys() == expected.keys()
    for name, part in losses.parts.items():
        torch.testing.assert_close(part, expected[name], rtol=1e-3, atol=1e-6)
    assert losses.weights == pytest.approx(
        {"reconstruction": 80, "kl": 80 * 0.02, "hybrid_content": 0.3, "hybrid_transformation": 1}
    )


@pytest.mark.parametrize("part", ["reconstruction", "kl", *HYBRIDS])
def test_gradients_are_those_of_the_equation(part: str) -> None:
    """The target of the transformation's hybrids has none."""
    variation, batch, p = variation_of(), batch_of(), probabilities()
    gradients = []
    for parts in (losses_of(variation, batch, p).parts, slow_losses(variation, batch, p)):
        variation.zero_grad()
        parts[part].backward()
        gradients.append({name: one.grad for name, one in variation.named_parameters() if one.grad is not None})
    found, expected = gradients
    assert found.keys() == expected.keys()
    assert any("encoder" in name for name in found)
    assert any("decoder" in name for name in found) is (part != "kl")
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_weight_of_zero_leaves_the_part_out(name: str) -> None:
    losses = losses_of(variation_of(**{name: 0.0}), batch_of(), probabilities())
    assert list(losses.parts) == [one for one in ("reconstruction", "kl", *HYBRIDS) if one != name]


def test_without_hybrids_images_are_decoded_once() -> None:
    variation, decoded = variation_of(hybrid_content=0.0, hybrid_transformation=0.0), []
    variation.decoder.register_forward_hook(lambda module, inputs, output: decoded.append(len(output)))
    losses = variation.losses(batch_of(), probabilities(), lambda *_: pytest.fail("not needed"))
    assert list(losses.parts) == ["reconstruction", "kl"]
    assert decoded == [20]


def test_the_weights_are_those_of_the_settings() -> None:
    stated = {"reconstruction": 10.0, "gamma_z": 0.5, "hybrid_content": 2.0, "hybrid_transformation": 3.0}
    losses = losses_of(variation_of(**stated), batch_of(), probabilities())
    assert losses.weights == {"reconstruction": 10, "kl": 5, "hybrid_content": 2, "hybrid_transformation": 3}
    expected = sum(losses.weights[name] * part for name, part in losses.parts.items())
    torch.testing.assert_close(losses.total, expected)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_posterior_of_an_image_depends_on_no_other(norm: str) -> None:
    """Nor on the mode, nor on the clusters, nor on the normalisation that the recipe names for the content."""
    variation, batch = variation_of(norm).train(), batch_of()
    posterior, pose = variation.posterior(batch, torch.zeros(20, dtype=torch.long))
    assert pose.shape == (20, 0)
    alone, _ = variation.eval().posterior(Batch.of(batch.images[7:8]), torch.ones(1, dtype=torch.long))
    torch.testing.assert_close(alone.mean, posterior.mean[7:8], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.log_variance, posterior.log_variance[7:8], rtol=1e-4, atol=1e-5)
    both = variation.encoder(batch.images)
    torch.testing.assert_close(torch.cat([posterior.mean, posterior.log_variance], dim=1), both)


def test_decoding_sharpens_the_content_and_ignores_poses() -> None:
    variation, p, h = variation_of(), probabilities(3), torch.randn(3, SIZE)
    images = variation.decoded(p, h, torch.zeros(3, 0))
    torch.testing.assert_close(images, variation.decoder(4 * p, h))
    assert not torch.allclose(images, variation.decoder(p, h), atol=1e-4)


def test_moments_are_those_of_the_means_over_all_batches() -> None:
    variation = variation_of()
    batches, clusters = [batch_of(20, 3), batch_of(13, 4)], torch.arange(33) % 3
    with torch.no_grad():
        moments = variation.moments(zip(batches, clusters.split([20, 13]), strict=True))
        means = torch.cat([variation.encoder(batch.images)[:, :SIZE] for batch in batches]).double().numpy()
    assert moments.counts.tolist() == [11, 11, 11, 0, 0]
    for k in range(3):
        own = means[clusters == k]
        np.testing.assert_allclose(moments.means[k], own.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(moments.covariances[k], np.cov(own.T, bias=True), atol=1e-6)
    assert not moments.means[3:].any()
    assert not moments.covariances[3:].any()
