"""The posterior of a latent, against torch.distributions and integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from dualcontrast.networks import Gaussian


@pytest.fixture
def gaussian() -> Gaussian:
    generator = torch.Generator().manual_seed(0)
    mean = 2 * torch.randn(7, 5, generator=generator, dtype=torch.float64)
    return Gaussian(mean, torch.randn(7, 5, generator=generator, dtype=torch.float64))


def divergence(mean: Tensor, std: Tensor) -> Tensor:
    standard = Normal(torch.zeros_like(mean), torch.ones_like(std))
    return kl_divergence(Normal(mean, std), standard).sum(dim=1)


def test_kl_is_that_of_torch_distributions(gaussian: Gaussian) -> None:
    expected = divergence(gaussian.mean, torch.exp(0.5 * gaussian.log_variance))
    torch.testing.assert_close(gaussian.kl(), expected)


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, -1.0), (-0.3, 0.8)])
def test_kl_is_the_integral_of_its_definition(mean: float, log_variance: float) -> None:
    std = math.exp(0.5 * log_variance)
    x = np.linspace(mean - 12 * std, mean + 12 * std, 40_001)
    log_q = -0.5 * ((x - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))
    log_p = -0.5 * x**2 - math.log(math.sqrt(2 * math.pi))
    integral = float(np.sum(np.exp(log_q) * (log_q - log_p)) * (x[1] - x[0]))
    one = Gaussian(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    assert one.kl().item() == pytest.approx(integral, abs=1e-6)


def test_kl_of_the_prior_is_zero_and_of_all_else_above() -> None:
    prior = Gaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    assert prior.kl().tolist() == [0, 0]
    assert Gaussian(torch.zeros(1, 3), torch.full((1, 3), 0.1)).kl().item() > 0
    assert Gaussian(torch.full((1, 3), 0.1), torch.zeros(1, 3)).kl().item() > 0


def test_kl_as_log_std_is_the_script_s_formula(gaussian: Gaussian) -> None:
    expected = []
    for mean, log_std in zip(gaussian.mean.tolist(), gaussian.log_variance.tolist(), strict=True):
        terms = [-0.5 - lv + 0.5 * (mu**2 + math.exp(lv) ** 2) for mu, lv in zip(mean, log_std, strict=True)]
        expected.append(sum(terms))
    np.testing.assert_allclose(gaussian.kl_as_log_std(), expected)


def test_kl_as_log_std_is_the_divergence_of_that_standard_deviation(gaussian: Gaussian) -> None:
    torch.testing.assert_close(gaussian.kl_as_log_std(), divergence(gaussian.mean, gaussian.log_variance.exp()))


def test_samples_have_the_mean_and_variance_that_the_kl_assumes() -> None:
    """A Monte Carlo estimate of E_q[log q - log p] from the samples agrees with the closed form."""
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([[0.7, -1.2]]), torch.tensor([[-0.9, 0.5]])
    many = Gaussian(mean.expand(200_000, 2), log_variance.expand(200_000, 2))
    samples = many.sample()
    torch.testing.assert_close(samples.mean(dim=0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(samples.var(dim=0), log_variance[0].exp(), atol=0, rtol=0.02)
    q = Normal(mean[0], torch.exp(0.5 * log_variance[0]))
    p = Normal(torch.zeros(2), torch.ones(2))
    estimate = (q.log_prob(samples) - p.log_prob(samples)).sum(dim=1).mean()
    assert estimate.item() == pytest.approx(many.kl()[0].item(), abs=0.02)


def test_a_sample_is_differentiable_in_both_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.tensor([[0.5, -2.0]])
    monkeypatch.setattr(torch, "randn_like", lambda _: noise)
    mean = torch.tensor([[1.0, 2.0]], requires_grad=True)
    log_variance = torch.tensor([[0.0, math.log(4.0)]], requires_grad=True)
    sample = Gaussian(mean, log_variance).sample()
    torch.testing.assert_close(sample, torch.tensor([[1.5, -2.0]]))
    sample.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(1, 2))
    torch.testing.assert_close(log_variance.grad, torch.tensor([[0.25, -2.0]]))  # 0.5 * std * noise


def test_rows_are_taken_of_both_parameters(gaussian: Gaussian) -> None:
    rows = gaussian[2:4]
    assert torch.equal(rows.mean, gaussian.mean[2:4])
    assert torch.equal(rows.log_variance, gaussian.log_variance[2:4])
