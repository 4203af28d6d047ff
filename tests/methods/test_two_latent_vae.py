"""The two-latent VAE: equation 2 image by image, and the paper's observation on its weights (section 3.3)."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dualcontrast.methods import Batch, Codes
from dualcontrast.methods.two_latent_vae import TwoLatentVAE
from dualcontrast.networks import Gaussian
from dualcontrast.recipe import recipe_of

SHAPES = [(1, 12, 12), (3, 12, 14), (1, 16, 16, 16)]
COUNT = 5


def vae_of(shape: tuple[int, ...], **settings: Any) -> TwoLatentVAE:
    torch.manual_seed(0)
    sizes = {"content_size": 4, "transformation_size": 3}
    method = recipe_of(
        {
            "method": {"name": "two_latent_vae", **sizes, **settings},
            "network": {"decoder": {"code_width": 8, "hidden": [16]}},
        }
    ).build(shape)
    assert isinstance(method, TwoLatentVAE)
    return method


def batch_of(shape: tuple[int, ...]) -> Batch:
    return Batch.of(torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(1)))


def fix_randomness(method: TwoLatentVAE, monkeypatch: pytest.MonkeyPatch, images: Tensor) -> Tensor:
    """Make T and the noise of the latents known: return T(x); the noise is that of `noise`."""
    view = method.view(images)
    monkeypatch.setattr(method, "view", lambda _: view)
    monkeypatch.setattr(torch, "randn_like", noise)
    return view


def noise(like: Tensor) -> Tensor:
    """Return the same standard normal numbers for the same shape."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(like.shape[1]))


def kl(posterior: Gaussian, as_log_std: bool) -> float:
    total = 0.0
    for mu, lv in zip(posterior.mean[0].tolist(), posterior.log_variance[0].tolist(), strict=True):
        if as_log_std:
            total += -0.5 - lv + 0.5 * (mu**2 + math.exp(lv) ** 2)
        else:
            total += 0.5 * (mu**2 + math.exp(lv) - 1 - lv)
    return total


def slow_parts(
    method: TwoLatentVAE, images: Tensor, places: range, per: str, as_log_std: bool
) -> dict[str, float]:
    """Compute L_vae's parts image by image; `places` are the images' rows in the noise."""
    parts = {"reconstruction": 0.0, "kl_content": 0.0, "kl_transformation": 0.0}
    rows = COUNT * (2 if method.settings.vae_on_views else 1)
    noises = noise(torch.empty(rows, 4)), noise(torch.empty(rows, 3))
    for image, place in zip(images, places, strict=True):
        content, transformation = method.encoder(image[None])
        latents = [
            q.mean[0] + (0.5 * q.log_variance[0]).exp() * e[place]
            for q, e in zip((content, transformation), noises, strict=True)
        ]
        decoded = method.decode(Codes(latents[0][None], latents[1][None]))[0]
        squares = [(a - b) ** 2 for a, b in zip(decoded.flatten().tolist(), image.flatten().tolist(), strict=True)]
        pixels = len(squares) if per == "pixel" else 1
        parts["reconstruction"] += sum(squares) / (pixels if per == "pixel" else 2) / len(images)
        parts["kl_content"] += kl(content, as_log_std) / pixels / len(images)
        parts["kl_transformation"] += kl(transformation, as_log_std) / pixels / len(images)
    return parts


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("per", ["image", "pixel"])
@pytest.mark.parametrize("as_log_std", [False, True])
def test_the_objective_is_equation_2_of_each_image_and_its_view(
    shape: tuple[int, ...], per: str, as_log_std: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"gamma_c": 0.02, "gamma_z": 0.3, "reconstruction_weight": 3.0}
    method = vae_of(shape, **weights, reconstruction_per=per, kl_as_log_std=as_log_std)
    batch = batch_of(shape)
    view = fix_randomness(method, monkeypatch, batch.images)
    losses = method(batch)
    of_x = slow_parts(method, batch.images, range(COUNT), per, as_log_std)
    of_view = slow_parts(method, view, range(COUNT, 2 * COUNT), per, as_log_std)
    total = 0.0
    for name, weight in zip(of_x, (3.0, 0.02, 0.3), strict=True):
        both = of_x[name] + of_view[name]
        assert losses.parts[name].item() * losses.weights[name] == pytest.approx(weight * both, rel=1e-4)
        total += weight * both
    assert losses.parts.keys() == of_x.keys()
    assert losses.total.item() == pytest.approx(total, rel=1e-4)


def test_without_views_the_objective_is_of_the_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    method = vae_of((1, 12, 12), vae_on_views=False)
    batch = batch_of((1, 12, 12))
    fix_randomness(method, monkeypatch, batch.images)
    monkeypatch.setattr(method, "view", lambda _: pytest.fail("T is not needed"))
    losses = method(batch)
    parts = slow_parts(method, batch.images, range(COUNT), "image", False)
    expected = parts["reconstruction"] + 0.01 * (parts["kl_content"] + parts["kl_transformation"])
    assert losses.total.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("vae_on_views", "images"), [(True, 2 * COUNT), (False, COUNT)])
def test_each_network_is_passed_once(vae_on_views: bool, images: int) -> None:
    method = vae_of((1, 12, 12), vae_on_views=vae_on_views)
    passes: dict[str, list[int]] = {"encoder": [], "decoder": []}
    method.encoder.register_forward_pre_hook(lambda _, args: passes["encoder"].append(len(args[0])))
    method.decoder.register_forward_pre_hook(lambda _, args: passes["decoder"].append(len(args[0])))
    method(batch_of((1, 12, 12)))
    assert passes == {"encoder": [images], "decoder": [images]}


def test_codes_are_means_and_samples_scatter_about_them() -> None:
    method, batch = vae_of((1, 12, 12)), batch_of((1, 12, 12))
    content, transformation = method.encoder(batch.images)
    codes = method.encode(batch)
    assert torch.equal(codes.content, content.mean)
    assert torch.equal(codes.transformation, transformation.mean)
    torch.manual_seed(0)
    samples = torch.stack([method.encode_and_sample(batch)[1].content for _ in range(500)])
    torch.testing.assert_close(samples.mean(dim=0), content.mean, atol=0.25, rtol=0)
    torch.testing.assert_close(samples.std(dim=0), (0.5 * content.log_variance).exp(), atol=0, rtol=0.2)


def test_views_are_applied_one_after_the_other() -> None:
    shifted = {"name": "translation", "fraction": 0.2, "per": "batch"}
    method = recipe_of(
        {"method": {"name": "two_latent_vae"}, "views": [{"name": "scale", "factor": [0.5, 0.5]}, shifted]}
    ).build((1, 16, 16))
    images = torch.ones(2, 1, 16, 16)
    viewed = method.view(images)
    torch.testing.assert_close(viewed.sum(dim=(1, 2, 3)), torch.full((2,), 64.0), atol=0.5, rtol=0)
    assert not torch.allclose(viewed, viewed.flip(2, 3), atol=1e-3)  # small, and off the centre


# ---- section 3.3


def digits(shared_data: Path, count: int) -> Tensor:
    with gzip.open(shared_data / "mnist/train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + count * 784), np.uint8, offset=16)
    return torch.from_numpy(pixels.astype(np.float32)).reshape(count, 1, 28, 28) / 255


@pytest.mark.parametrize("free", ["content", "transformation"])
def test_a_latent_with_a_heavy_prior_tells_nothing_and_the_free_one_tells_all(
    free: str, shared_data: Path
) -> None:
    """With gamma_c = 0 and a large gamma_z the likelihood is optimized through c alone, and the reverse."""
    gammas = {"gamma_c": 0.0, "gamma_z": 10.0} if free == "content" else {"gamma_c": 10.0, "gamma_z": 0.0}
    torch.manual_seed(0)
    method = recipe_of(
        {
            "method": {"name": "two_latent_vae", "vae_on_views": False, **gammas},
            "network": {"encoder": {"channels": [8, 16]}, "decoder": {"code_width": 64, "hidden": [128]}},
        }
    ).build((1, 28, 28))
    assert isinstance(method, TwoLatentVAE)
    images = digits(shared_data, 1000)
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    for _ in range(300):
        batch = Batch.of(images[torch.randint(len(images), (64,))])
        optimizer.zero_grad()
        method(batch).total.backward()
        optimizer.step()

    with torch.no_grad():
        posteriors = dict(zip(("content", "transformation"), method.encoder(images), strict=True))
        tight = "transformation" if free == "content" else "content"
        assert posteriors[tight].kl().mean() < 0.05
        assert posteriors[free].kl().mean() > 20

        codes = {name: posterior.mean for name, posterior in posteriors.items()}

        def error(**replaced: Tensor) -> float:
            return float((method.decode(Codes(**{**codes, **replaced})) - images).square().mean())

        reconstructed = error()
        of_the_mean_image = float((images.mean(dim=0) - images).square().mean())
        assert reconstructed < 0.5 * of_the_mean_image
        random = torch.randn(codes[tight].shape)
        assert error(**{tight: random}) == pytest.approx(reconstructed, rel=0.02)
        assert error(**{free: codes[free].roll(1, 0)}) > of_the_mean_image
