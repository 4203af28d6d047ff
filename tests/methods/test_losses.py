"""The terms of the objectives, against loops over pairs and pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dualcontrast.methods.losses import (
    cosine_distance_loss,
    cosine_similarity_loss,
    cross_correlation_loss,
    info_nce,
    line_distance_loss,
    mutual_information,
    squared_error,
    standardised,
)


def cosine(first: list[float], second: list[float]) -> float:
    dot = sum(a * b for a, b in zip(first, second, strict=True))
    lengths = [math.sqrt(sum(a * a for a in code)) for code in (first, second)]
    return dot / (lengths[0] * lengths[1])


@pytest.fixture
def codes() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    return first, 3 * torch.randn(9, 6, generator=generator, dtype=torch.float64)


Loss = Callable[[Tensor, Tensor], Tensor]

TERMS: dict[Loss, Callable[[float], float]] = {
    cosine_similarity_loss: abs,
    cosine_distance_loss: lambda cos: abs(1 - cos),
    line_distance_loss: lambda cos: 1 - abs(cos),
}


@pytest.mark.parametrize("loss", TERMS, ids=lambda loss: loss.__name__)
def test_a_contrastive_term_is_the_mean_over_pairs(loss: Loss, codes: tuple[Tensor, Tensor]) -> None:
    pairs = list(zip(codes[0].tolist(), codes[1].tolist(), strict=True))
    assert any(cosine(*pair) < 0 for pair in pairs)  # so that the signs matter
    expected = sum(TERMS[loss](cosine(*pair)) for pair in pairs) / len(pairs)
    assert loss(*codes).shape == ()
    assert loss(*codes).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", TERMS, ids=lambda loss: loss.__name__)
def test_a_contrastive_term_does_not_see_the_length_of_codes(loss: Loss, codes: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(loss(5 * codes[0], 0.1 * codes[1]), loss(*codes))


@pytest.mark.parametrize(
    ("loss", "equal", "opposite", "orthogonal"),
    [
        (cosine_similarity_loss, 1, 1, 0),
        (cosine_distance_loss, 0, 2, 1),
        (line_distance_loss, 0, 0, 1),
    ],
    ids=["similarity", "cosine", "line"],
)
def test_equal_opposite_and_orthogonal_codes(loss: Loss, equal: float, opposite: float, orthogonal: float) -> None:
    code, other = torch.tensor([[3.0, 4.0]]), torch.tensor([[-4.0, 3.0]])
    assert loss(code, 2 * code).item() == pytest.approx(equal, abs=1e-6)
    assert loss(code, -code).item() == pytest.approx(opposite, abs=1e-6)
    assert loss(code, other).item() == pytest.approx(orthogonal, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 1, 5, 6), (3, 2, 4, 4, 4)])
def test_squared_error_per_image_is_half_the_sum_over_pixels(shape: tuple[int, ...]) -> None:
    images, reconstructions = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    sums = []
    for image, reconstruction in zip(images, reconstructions, strict=True):
        pairs = zip(image.flatten().tolist(), reconstruction.flatten().tolist(), strict=True)
        sums.append(sum((a - b) ** 2 for a, b in pairs))
    per_image = squared_error(reconstructions, images, "image")
    assert per_image.item() == pytest.approx(0.5 * sum(sums) / shape[0], rel=1e-5)
    pixels = math.prod(shape[1:])
    per_pixel = squared_error(reconstructions, images, "pixel")
    assert per_pixel.item() == pytest.approx(sum(sums) / shape[0] / pixels, rel=1e-5)


def test_squared_error_per_image_is_a_gaussians_negative_log_likelihood_but_for_a_constant() -> None:
    images, first, second = torch.rand(3, 2, 1, 3, 3, generator=torch.Generator().manual_seed(1)).numpy()

    def negative_log_likelihood(mean: np.ndarray) -> float:
        return float(np.mean(np.sum(0.5 * (images - mean) ** 2 + 0.5 * np.log(2 * np.pi), axis=(1, 2, 3))))

    losses = [
        squared_error(torch.from_numpy(mean), torch.from_numpy(images), "image").item() for mean in (first, second)
    ]
    difference = negative_log_likelihood(first) - negative_log_likelihood(second)
    assert losses[0] - losses[1] == pytest.approx(difference, rel=1e-4)


# ---- InfoNCE and cross-correlation


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_info_nce_is_the_mean_over_all_codes_of_both_views(
    temperature: float, codes: tuple[Tensor, Tensor]
) -> None:
    everything = [*codes[0].tolist(), *codes[1].tolist()]
    pairs = len(codes[0])
    losses = []
    for i, code in enumerate(everything):
        partner = (i + pairs) % (2 * pairs)
        scores = {k: math.exp(cosine(code, other) / temperature) for k, other in enumerate(everything) if k != i}
        losses.append(-math.log(scores[partner] / sum(scores.values())))
    assert info_nce(*codes, temperature).item() == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_info_nce_of_codes_that_say_nothing_and_of_codes_that_say_all() -> None:
    nothing = torch.ones(8, 4)
    assert info_nce(nothing, nothing, 0.1).item() == pytest.approx(math.log(15), rel=1e-5)
    everything = torch.eye(8)
    assert info_nce(everything, everything, 0.02).item() == pytest.approx(0, abs=1e-6)


def test_cross_correlation_is_the_mean_of_squared_correlations(codes: tuple[Tensor, Tensor]) -> None:
    first, second = codes[0].numpy(), codes[1].numpy()[:, :4]
    squares = [np.corrcoef(first[:, i], second[:, j])[0, 1] ** 2 for i in range(6) for j in range(4)]
    loss = cross_correlation_loss(codes[0], codes[1][:, :4])
    assert loss.item() == pytest.approx(np.mean(squares), rel=1e-4)


def test_cross_correlation_bears_a_code_that_has_collapsed() -> None:
    codes = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = cross_correlation_loss(codes, torch.ones(9, 2) + 0 * codes[:, :2])
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert codes.grad is not None
    assert torch.isfinite(codes.grad).all()


@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_codes_are_standardised_but_for_a_millionth(scale: float) -> None:
    codes = scale * torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 4
    done = standardised(codes)
    np.testing.assert_allclose(done.mean(dim=0), 0, atol=1e-9)
    deviation = codes.numpy().std(axis=0)
    np.testing.assert_allclose(done.numpy().std(axis=0), deviation / (deviation + 1e-6), rtol=1e-9)


def test_info_nce_stays_on_the_device_of_the_codes(codes: tuple[Tensor, Tensor]) -> None:
    with torch.device("meta"):  # where whatever does not say otherwise is made
        assert info_nce(*codes, 0.2).isfinite()


# ---- mutual information of clusters


def test_mutual_information_is_that_of_the_symmetric_joint_distribution() -> None:
    first, second = torch.softmax(torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)), dim=2).double()
    joint = np.zeros((4, 4))
    for p, q in zip(first.numpy(), second.numpy(), strict=True):
        joint += (np.outer(p, q) + np.outer(q, p)) / 18
    expected = sum(
        joint[a, b] * math.log(joint[a, b] / joint[a].sum() / joint[:, b].sum())
        for a in range(4)
        for b in range(4)
    )
    assert mutual_information(first, second).item() == pytest.approx(expected, rel=1e-6)


def test_mutual_information_of_clusters_that_agree_and_of_clusters_that_say_nothing() -> None:
    agreed = torch.eye(4).repeat(3, 1)
    assert mutual_information(agreed, agreed).item() == pytest.approx(math.log(4), abs=1e-4)
    nothing = torch.full((12, 4), 0.25)
    assert mutual_information(nothing, agreed).item() == pytest.approx(0, abs=1e-5)
