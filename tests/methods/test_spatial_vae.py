"""SpatialVAE: its objective point by point, its sense of the grid, and that it finds how images were turned."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from scipy.ndimage import affine_transform, rotate, shift
from torch import Tensor

from dualcontrast.errors import RecipeError
from dualcontrast.methods import Batch, Codes, spatial_vae
from dualcontrast.methods.spatial_vae import SpatialVAE
from dualcontrast.recipe import recipe_of
from dualcontrast.transforms import random_rotations, resample, rotations_2d

GREY, COLOUR, VOLUME = (1, 6, 6), (3, 5, 7), (1, 4, 4, 4)
SHAPES = [GREY, COLOUR, VOLUME]
COUNT, CONTENT = 3, 2


def vae_of(shape: tuple[int, ...], **settings: Any) -> SpatialVAE:
    torch.manual_seed(0)
    chosen = {"name": "spatial_vae", "content_size": CONTENT, "hidden": [12, 8], **settings}
    method = recipe_of({"method": chosen}).build(shape)
    assert isinstance(method, SpatialVAE)
    return method


def batch_of(shape: tuple[int, ...], count: int = COUNT) -> Batch:
    return Batch.of(torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)))


def noise(like: Tensor) -> Tensor:
    """Return the same standard normal numbers for the same shape."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(like.shape[1]))


# ---- the objective


def slow_rotation(turns: list[float]) -> np.ndarray:
    """Return the matrix that turns by an angle, or by the series of the exponential of a cross product."""
    if len(turns) == 1:
        (angle,) = turns
        return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    x, y, z = turns
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    total, term = np.eye(3), np.eye(3)
    for order in range(1, 30):
        term = term @ cross / order
        total = total + term
    return total


def weights_of(network: torch.nn.Module) -> list[np.ndarray]:
    return [parameter.detach().numpy().astype(np.float64) for parameter in network.parameters()]


def slow_output(method: SpatialVAE, place: tuple[int, ...], content: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return what the decoder gives at one pixel, (C,): its three layers written out."""
    spatial = method.shape[1:]
    dimensions = len(spatial)
    centre = [(n - 1) / 2 if dimensions == 2 else n // 2 for n in spatial]
    r = np.array([(p - c) / ((max(spatial) - 1) / 2) for p, c in zip(place, centre, strict=True)][::-1])
    moved = slow_rotation(z[:-dimensions].tolist()) @ r + 0.1 * z[-dimensions:]
    to_coordinates, bias, to_content, second, second_bias, last, last_bias = weights_of(method.decoder)
    hidden = np.tanh(to_coordinates @ moved + bias + to_content @ content)
    return last @ np.tanh(second @ hidden + second_bias) + last_bias


def slow_posteriors(method: SpatialVAE, image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return means and standard deviations of content and of transformation, by layers written out."""
    first, first_bias, second, second_bias, heads, heads_bias = weights_of(method.encoder)
    hidden = np.tanh(first @ image.numpy().astype(np.float64).ravel() + first_bias)
    outputs = heads @ np.tanh(second @ hidden + second_bias) + heads_bias
    size = (len(outputs) - 2 * CONTENT) // 2
    c, log_c, z, log_z = np.split(outputs, [CONTENT, 2 * CONTENT, 2 * CONTENT + size])
    return c, np.exp(log_c), z, np.exp(log_z)


def slow_parts(method: SpatialVAE, images: Tensor, likelihood: str, flat: bool) -> dict[str, float]:
    parts = {"reconstruction": 0.0, "kl_content": 0.0, "kl_transformation": 0.0}
    dimensions = images.ndim - 2
    turns = 1 if dimensions == 2 else 3
    noise_c, noise_z = (noise(torch.empty(COUNT, size)).numpy() for size in (CONTENT, turns + dimensions))
    for image, e_c, e_z in zip(images, noise_c, noise_z, strict=True):
        c, c_deviation, z, z_deviation = slow_posteriors(method, image)
        for place in np.ndindex(*image.shape[1:]):
            outputs = slow_output(method, place, c + c_deviation * e_c, z + z_deviation * e_z)
            for output, value in zip(outputs, image[(slice(None), *place)].tolist(), strict=True):
                seen = 1 / (1 + math.exp(-output)) if dimensions == 2 else output
                if likelihood == "bernoulli":
                    loss = -value * math.log(seen) - (1 - value) * math.log(1 - seen)
                else:
                    loss = 0.5 * (seen - value) ** 2
                parts["reconstruction"] += loss / COUNT
        for mu, sigma in zip(c, c_deviation, strict=True):
            parts["kl_content"] += kl(mu, sigma, 1.0) / COUNT
        for i, (mu, sigma) in enumerate(zip(z, z_deviation, strict=True)):
            of_turn = (0.0, sigma, math.pi) if flat else (mu, sigma, math.pi / 4)
            parts["kl_transformation"] += kl(*(of_turn if i < turns else (mu, sigma, 1.0))) / COUNT
    return parts


def kl(mu: float, sigma: float, prior: float) -> float:
    return math.log(prior / sigma) + (sigma**2 + mu**2) / (2 * prior**2) - 0.5


@pytest.mark.parametrize(
    ("shape", "settings", "likelihood", "flat"),
    [
        (GREY, {}, "bernoulli", False),
        (GREY, {"likelihood": "gaussian"}, "gaussian", False),
        (GREY, {"angle_prior": "flat"}, "bernoulli", True),
        (COLOUR, {}, "bernoulli", False),
        (VOLUME, {}, "gaussian", True),
        (VOLUME, {"likelihood": "gaussian", "angle_prior": "flat"}, "gaussian", True),
    ],
)
def test_the_objective_is_that_of_each_image_point_by_point(
    shape: tuple[int, ...],
    settings: dict[str, str],
    likelihood: str,
    flat: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, batch = vae_of(shape, **settings), batch_of(shape)
    with torch.no_grad():
        for parameter in method.parameters():  # so that turns and shifts are large
            parameter.mul_(2)
    monkeypatch.setattr(torch, "randn_like", noise)
    losses = method(batch)
    expected = slow_parts(method, batch.images, likelihood, flat)
    assert {name: part.item() for name, part in losses.parts.items()} == pytest.approx(expected, rel=1e-4)
    assert set(losses.weights.values()) == {1.0}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_random_subset_of_points_stands_for_all_of_them(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, some = vae_of(shape, points_per_step=None), vae_of(shape, points_per_step=11)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    batch = batch_of(shape)
    expected = whole(batch).parts["reconstruction"].item()
    decoded: list[tuple[int, ...]] = []
    some.decoder.register_forward_pre_hook(lambda _, args: decoded.append(tuple(args[0].shape)))
    draws = torch.stack([some(batch).parts["reconstruction"].detach() for _ in range(500)])
    assert set(decoded) == {(COUNT, 11, len(shape) - 1)}
    error = draws.std().item() / math.sqrt(len(draws))
    assert 0 < error < 0.02 * expected
    assert abs(draws.mean().item() - expected) < 3.5 * error


def test_a_subset_has_no_point_twice_and_every_point_now_and_then() -> None:
    method = vae_of(GREY, points_per_step=35)
    counts = torch.zeros(36)
    places = torch.arange(36.0).reshape(1, 36, 1).expand(COUNT, -1, -1)
    for _ in range(200):
        points, values = method._points_of(places)
        assert all(len(one.unique()) == 35 for one in values)
        torch.testing.assert_close(points, method.grid[values[:, :, 0].long()])  # values stay at their coordinates
        counts += values.flatten().long().bincount(minlength=36)
    torch.testing.assert_close(counts / counts.sum(), torch.full((36,), 1 / 36), atol=0, rtol=0.05)


def test_pictures_of_the_paper_are_decoded_whole() -> None:
    method = vae_of((1, 28, 28))
    decoded: list[int] = []
    method.decoder.register_forward_pre_hook(lambda _, args: decoded.append(args[0].shape[1]))
    method(batch_of((1, 28, 28)))
    assert decoded == [784]


def test_binary_cross_entropy_is_refused_for_volumes() -> None:
    with pytest.raises(RecipeError, match=r"method\.likelihood = bernoulli is for pictures.*choose gaussian"):
        vae_of(VOLUME, likelihood="bernoulli")


@pytest.mark.parametrize(("shape", "size"), [(GREY, 3), (COLOUR, 3), (VOLUME, 6)])
def test_z_is_the_turn_and_the_shift_whatever_size_is_stated(shape: tuple[int, ...], size: int) -> None:
    method, batch = vae_of(shape, transformation_size=10), batch_of(shape)
    assert method.encode(batch).transformation.shape == (COUNT, size)
    torch.manual_seed(0)
    draws = torch.stack([method.encode_and_sample(batch)[1].transformation for _ in range(500)])
    posterior = slow_posteriors(method, batch.images[0])
    torch.testing.assert_close(draws[:, 0].std(dim=0).double(), torch.from_numpy(posterior[3]), atol=0, rtol=0.2)


def test_the_networks_are_the_published_ones_whatever_the_recipe_states() -> None:
    network = {"encoder": {"channels": [4]}, "decoder": {"hidden": [4]}}
    stated = {"method": {"name": "spatial_vae", "content_size": CONTENT}, "network": network}
    for recipe in (stated, {**stated, "network": {}}):
        shapes = [tuple(parameter.shape) for parameter in recipe_of(recipe).build((1, 28, 28)).parameters()]
        encoder = [(500, 784), (500,), (500, 500), (500,), (10, 500), (10,)]
        assert shapes == [*encoder, (500, 2), (500,), (500, CONTENT), (500, 500), (500,), (1, 500), (1,)]


# ---- the grid


def smooth_images(method: SpatialVAE, z: list[float]) -> np.ndarray:
    """Return one decoded image without channels, of a content given."""
    with torch.no_grad():
        image = method.decode(Codes(torch.tensor([[0.7, -1.2]]), torch.tensor([z])))
    return image[0, 0].numpy()


def uneven(method: SpatialVAE) -> SpatialVAE:
    """Make an untrained decoder's images vary."""
    with torch.no_grad():
        for parameter in method.decoder.parameters():
            parameter.mul_(3)
    return method


def inside(images: np.ndarray) -> np.ndarray:
    """Return the part of an image that a turn about its centre takes from within it."""
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in images.shape], indexing="ij")
    return images[sum(axis**2 for axis in axes) < (min(images.shape) / 2 - 3) ** 2]


@pytest.mark.parametrize("degrees", [25.0, -70.0, 160.0])
def test_theta_turns_a_picture_as_scipy_does(degrees: float) -> None:
    method = uneven(vae_of((1, 24, 24)))
    plain, turned = smooth_images(method, [0, 0, 0]), smooth_images(method, [math.radians(degrees), 0, 0])
    # x(r) = g(R r) turns the picture from y towards x, which is scipy's positive sense for the axes (y, x).
    expected = rotate(plain, degrees, reshape=False, order=3, mode="nearest")
    assert np.ptp(plain) > 0.05
    assert np.abs(inside(turned - expected)).max() < 0.01 * np.ptp(plain)


def test_dx_and_dy_shift_a_picture_as_scipy_does() -> None:
    method = uneven(vae_of((1, 24, 24)))
    plain, shifted = smooth_images(method, [0, 0, 0]), smooth_images(method, [0, 1.5, -0.5])
    pixels = 0.1 * 23 / 2
    expected = shift(plain, (0.5 * pixels, -1.5 * pixels), order=3, mode="nearest")
    assert np.abs(inside(shifted - expected)).max() < 0.01 * np.ptp(plain)


def test_a_volume_is_turned_and_shifted_as_scipy_does() -> None:
    method = uneven(vae_of((1, 15, 15, 15)))
    v, s = [0.9, -0.4, 1.3], [0.4, -0.6, 0.2]
    plain, moved = smooth_images(method, [0.0] * 6), smooth_images(method, v + s)
    centre = np.full(3, 7.0)
    matrix = slow_rotation(v)[::-1, ::-1]  # of axes in the order z, y, x
    offset = centre - matrix @ centre + 0.1 * 7 * np.array(s[::-1])
    expected = affine_transform(plain, matrix, offset, order=3, mode="nearest")
    assert np.ptp(plain) > 0.05
    assert np.abs(inside(moved - expected)).max() < 0.01 * np.ptp(plain)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decoding_some_points_at_a_time_makes_the_same_images(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = vae_of(shape)
    codes = method.encode(batch_of(shape))
    whole = method.decode(codes)
    decoded: list[int] = []
    method.decoder.register_forward_pre_hook(lambda _, args: decoded.append(args[0].shape[1]))
    monkeypatch.setattr(spatial_vae, "POINTS_AT_ONCE", 7 * COUNT)
    torch.testing.assert_close(method.decode(codes), whole)
    points = math.prod(shape[1:])
    assert decoded == [7] * (points // 7) + [points % 7] * (points % 7 > 0)


# ---- it learns what it claims


def fit(method: SpatialVAE, copies: Callable[[int], tuple[Tensor, Tensor]], learning_rate: float) -> None:
    """Train on copies that are turned anew for each of 400 steps."""
    optimizer = torch.optim.Adam(method.parameters(), learning_rate)
    for _ in range(400):
        optimizer.zero_grad()
        method(Batch.of(copies(80)[0])).total.backward()
        optimizer.step()


def mean_error(turns: Tensor) -> float:
    """Return the mean angle, in degrees, between rotations and their mean."""
    mean = roma.special_procrustes(turns.mean(dim=0))
    traces = (turns * mean).sum(dim=(1, 2))
    cosines = traces / 2 if len(mean) == 2 else (traces - 1) / 2
    return math.degrees(cosines.clamp(-1, 1).acos().mean())


def test_it_finds_by_what_angle_digits_were_turned(shared_data: Path) -> None:
    """Where a digit was turned by A, R(theta) A is the same for all its copies."""
    with gzip.open(shared_data / "mnist/train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + 20 * 784), np.uint8, offset=16)
    digits = torch.from_numpy(pixels.astype(np.float32)).reshape(20, 1, 28, 28)[[5, 15]] / 255  # a 2 and a 7
    method = vae_of((1, 28, 28), hidden=[64, 64], points_per_step=96)

    def copies(count: int) -> tuple[Tensor, Tensor]:
        turns = random_rotations(count, 2, 60, torch.device("cpu"))
        return resample(digits.repeat(count // 2, 1, 1, 1), turns), turns

    fit(method, copies, 3e-3)
    images, turns = copies(400)
    with torch.no_grad():
        found = rotations_2d(method.encode(Batch.of(images)).transformation[:, 0])
    for digit in (0, 1):
        assert mean_error(turns[digit::2]) > 25  # where nothing is found
        assert mean_error((found @ turns)[digit::2]) < 5


def test_it_finds_how_a_volume_was_turned() -> None:
    """Three blobs turned about any axis: where they were turned by A, R(v) A is the same for all copies."""
    centres = torch.tensor([[5.0, 0, 0], [-3, 3, 0], [0, -4, 2]]) * 0.625
    positions = torch.cartesian_prod(*[torch.arange(-5.0, 5)] * 3).flip(1)
    squares = (positions[:, None] - centres).square().sum(dim=2)
    body = ((-squares / 2.5).exp() * torch.tensor([1.0, 1, 0.6])).sum(dim=1).reshape(1, 1, 10, 10, 10)
    body = body / body.std()
    method = vae_of((1, 10, 10, 10), hidden=[64, 64], points_per_step=96)

    def copies(count: int) -> tuple[Tensor, Tensor]:
        turns = random_rotations(count, 3, 60, torch.device("cpu"))
        return resample(body.expand(count, -1, -1, -1, -1), turns), turns

    fit(method, copies, 2e-3)
    images, turns = copies(400)
    with torch.no_grad():
        found = roma.rotvec_to_rotmat(method.encode(Batch.of(images)).transformation[:, :3])
    assert mean_error(turns) > 40  # where nothing is found
    assert mean_error(found @ turns) < 15
