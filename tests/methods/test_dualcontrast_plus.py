"""DualContrast plus: each part of the objective against its equation, and what is a constant in which part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.methods import Batch
from dualcontrast.methods.dualcontrast_plus import ClusterCentring, DualContrastPlus
from dualcontrast.methods.losses import info_nce, mutual_information
from dualcontrast.training.recipe import recipe_of

GREY = (1, 12, 12)
PARTS = (
    "contrast",
    "clustering",
    "second_moments",
    "random_features",
    "adversary",
    "hybrid_content",
    "hybrid_transformation",
)


def plus_of(shape: tuple[int, ...] = GREY, **settings: Any) -> DualContrastPlus:
    torch.manual_seed(0)
    stated = {
        "method": {
            "name": "dualcontrast_plus",
            **{"content_size": 5, "embedding_size": 6, "transformation_size": 4, **settings},
        },
        "network": {
            "encoder": {"channels": [6, 8], "kernel": 3, "hidden": [10]},
            "decoder": {"code_width": 8, "hidden": [16]},
        },
    }
    method = recipe_of(stated).build(shape)
    assert isinstance(method, DualContrastPlus)
    return method


def batch_of(shape: tuple[int, ...] = GREY, count: int = 40) -> Batch:
    return Batch.of(torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)))


def probabilities(count: int, clusters: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(3 * torch.randn(count, clusters, generator=generator, dtype=torch.float64), dim=1)


# ---- centring


def test_centring_is_the_residual_of_a_ridge_regression() -> None:
    h = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    p = probabilities(60, 4)
    residual = ClusterCentring(4, 3).double()(p, h)
    ridge = p.T @ p / 60 + 1e-3 * torch.eye(4)
    slow = h.numpy() - p.numpy() @ np.linalg.solve(ridge.numpy(), (p.T @ h / 60).numpy())
    np.testing.assert_allclose(residual, slow, rtol=1e-6)


def test_centred_codes_have_one_mean_in_every_cluster() -> None:
    clusters = torch.arange(300) % 3
    p = F.one_hot(clusters, 3).double()
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(300, 2, dtype=torch.float64, generator=generator) + 5 * clusters[:, None]
    centred = ClusterCentring(3, 2).double()(p, h)
    for cluster in range(3):
        own = clusters == cluster
        assert centred[own].mean(dim=0).abs().max() < 0.1
        torch.testing.assert_close(centred[own].std(dim=0), h[own].std(dim=0))


def test_after_training_centring_goes_by_the_images_seen_lately() -> None:
    centring = ClusterCentring(3, 2)
    p = probabilities(200, 3).float()
    h = 4 + torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        in_training = centring(p, h)
    centring.eval()
    torch.testing.assert_close(centring(p, h), in_training, rtol=1e-3, atol=1e-3)
    assert centring(p[:1], h[:1]).shape == (1, 2)
    before = {name: value.clone() for name, value in centring.state_dict().items()}
    centring(p, 2 * h)
    assert all(torch.equal(value, before[name]) for name, value in centring.state_dict().items())


# ---- parts of the objective


def test_the_contents_parts_are_those_of_two_views() -> None:
    method, batch = plus_of(), batch_of()
    torch.manual_seed(3)
    losses = method(batch)
    torch.manual_seed(3)
    x = batch.images
    first, second, _ = method.content(torch.cat([method.view(x), method.view(x), x])).chunk(3)
    torch.testing.assert_close(losses.parts["contrast"], info_nce(first, second, 0.2))
    p = [method.probabilities(c) for c in (first, second)]
    torch.testing.assert_close(losses.parts["clustering"], -mutual_information(*p))


def test_probabilities_are_the_softmax_of_cosines_with_the_prototypes() -> None:
    method = plus_of()
    c = torch.randn(7, 6)
    expected = []
    for code in c:
        prototypes, scale = method.prototypes.detach(), method.settings.cluster_temperature
        cosines = [float(code @ w / code.norm() / w.norm()) / scale for w in prototypes]
        total = sum(math.exp(cosine) for cosine in cosines)
        expected.append([math.exp(cosine) / total for cosine in cosines])
    np.testing.assert_allclose(method.probabilities(c).detach(), expected, rtol=1e-4)


def test_a_penalty_of_correlation_has_no_floor_where_there_is_none() -> None:
    """Its mean over batches is the squared correlation: nothing for independent codes, however many features."""
    method = plus_of().train()
    generator = torch.Generator().manual_seed(0)
    past, independent = torch.zeros(5, 50), []
    for i in range(200):
        features = torch.randn(40, 50, generator=generator)
        independent.append(float(method._cross_correlation(probabilities(40, 5, i).float(), features, past)))
    assert abs(np.mean(independent[20:])) < 0.15
    past = torch.zeros(5, 5)
    p = probabilities(40, 5).float()
    dependent = [float(method._cross_correlation(p, p, past)) for _ in range(60)]
    squares = np.square(np.corrcoef(p.numpy().T)).sum() / 5
    assert dependent[-1] == pytest.approx(2 * squares, rel=0.02)
    floor = 5 * 50 / 40 / 5  # what the plain square of a batch's correlation would give
    assert floor > 1


@pytest.mark.parametrize("name", PARTS)
def test_a_weight_of_zero_leaves_the_part_out(name: str) -> None:
    losses = plus_of(**{name: 0.0})(batch_of())
    assert name not in losses.parts
    assert set(PARTS) - {name} <= set(losses.parts)


def test_the_total_is_the_weighted_sum() -> None:
    losses = plus_of()(batch_of())
    expected = sum(losses.weights[name] * part for name, part in losses.parts.items())
    torch.testing.assert_close(losses.total, expected)
    assert losses.weights["reconstruction"] == 40
    assert losses.weights["kl"] == pytest.approx(6)


# ---- what is a constant in which part


def gradient_of(method: DualContrastPlus, part: str, module: str) -> float:
    """Return the largest gradient of a part in a module's parameters."""
    method.zero_grad()
    torch.manual_seed(4)
    losses = method(batch_of())
    if losses.parts[part].requires_grad:
        losses.parts[part].backward()
    parameters = [p for name, p in method.named_parameters() if name.split(".")[0] == module]
    return max(0.0 if p.grad is None else float(p.grad.abs().max()) for p in parameters)


@pytest.mark.parametrize("part", ["reconstruction", "second_moments", "random_features", "adversary_error", "kl"])
def test_only_the_contents_own_parts_teach_the_content(part: str) -> None:
    method = plus_of()
    method(batch_of())  # so that there is a past
    assert gradient_of(method, part, "content") == gradient_of(method, part, "prototypes") == 0
    for own in ("contrast", "clustering"):
        assert gradient_of(method, own, "content") > 0
    assert gradient_of(method, "contrast", "transformation") == 0


@pytest.mark.parametrize("part", ["hybrid_content", "hybrid_transformation"])
def test_hybrids_teach_the_decoder_and_not_the_content(part: str) -> None:
    method = plus_of()
    assert gradient_of(method, part, "content") == gradient_of(method, part, "prototypes") == 0
    assert gradient_of(method, part, "decoder") > 0
    assert gradient_of(method, part, "transformation") > 0


def test_the_adversary_learns_of_z_and_z_of_the_adversary_but_not_both_at_once() -> None:
    method = plus_of()
    with torch.no_grad():  # an adversary that knows something
        method.adversary[-1].weight.mul_(20)
    assert gradient_of(method, "adversary_error", "adversary") > 0
    assert gradient_of(method, "adversary_error", "transformation") == 0
    assert gradient_of(method, "adversary", "adversary") == 0


def test_hybrids_leave_the_statistics_of_batch_normalisation_alone() -> None:
    with_hybrids, without = plus_of(), plus_of(hybrid_content=0.0, hybrid_transformation=0.0)
    for method in (with_hybrids, without):
        torch.manual_seed(5)
        method(batch_of())
    for name, value in with_hybrids.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, without.state_dict()[name])


# ---- codes


def test_the_content_code_is_the_probabilities_and_z_is_centred() -> None:
    method, batch = plus_of(), batch_of()
    for _ in range(3):
        with torch.no_grad():
            p = method.probabilities(method.content(batch.images))
            method._posterior(batch.images, p)
    method.eval()
    codes = method.encode(batch)
    assert codes.content.shape == (40, 5)
    torch.testing.assert_close(codes.content.sum(dim=1), torch.ones(40))
    assert codes.transformation.shape == (40, 4)
    sampled = method.sample(batch)
    torch.testing.assert_close(sampled.content, codes.content)
    assert not torch.allclose(sampled.transformation, codes.transformation)
    assert method.decode(codes).shape == batch.images.shape
