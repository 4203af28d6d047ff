"""Harmony: its objective image by image, alignment as the inverse of decoding's move, and rotations recovered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import roma
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from dualcontrast.errors import RecipeError
from dualcontrast.methods import Batch, Codes
from dualcontrast.methods.harmony import Harmony
from dualcontrast.recipe import recipe_of
from dualcontrast.transforms import random_rotations, resample, rotations_2d
from dualcontrast.transforms.geometry import centre_of

GREY, COLOUR, VOLUME = (1, 15, 15), (3, 12, 16), (1, 12, 12, 12)
SHAPES = pytest.mark.parametrize("shape", [GREY, COLOUR, VOLUME], ids=["grey", "colour", "volume"])
COUNT, SIZE = 5, 4
NETWORKS = {
    "encoder": {"channels": [16, 32], "kernel": 4, "norm": "none", "activation": "leaky_relu", "hidden": [64]},
    "decoder": {"code_width": 32, "hidden": [64], "channels": [16, 8]},
}


def harmony_of(shape: tuple[int, ...] = GREY, output: str = "sigmoid", **settings: Any) -> Harmony:
    torch.manual_seed(0)
    network = {**NETWORKS, "decoder": {**NETWORKS["decoder"], "output": output}}
    stated = {"name": "harmony", "content_size": SIZE, "hidden": [64, 32], **settings}
    method = recipe_of({"method": stated, "network": network}).build(shape)
    assert isinstance(method, Harmony)
    return method


def batch_of(shape: tuple[int, ...] = GREY) -> Batch:
    return Batch.of(torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(1)))


def blobs(sides: Sequence[int], places: Sequence[tuple[float, ...]]) -> Tensor:
    """Return an image (1, 1, sides...) of soft blobs, each fainter; places are x first, in halves of the side."""
    axes = [(torch.arange(n) - c) / (n / 2) for n, c in zip(sides, centre_of(sides), strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    image = sum(
        0.8**i * torch.exp(-(grid - torch.tensor(place)).square().sum(dim=-1) / 0.08)
        for i, place in enumerate(places)
    )
    assert isinstance(image, Tensor)
    return image[None, None]


class Fixed(torch.nn.Module):
    """A decoder that makes the same images of any content."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images

    def forward(self, _: Tensor) -> Tensor:
        return self.images


def moves_of(shape: tuple[int, ...], count: int, turn: float = 1.0, shift: float = 0.2) -> Tensor:
    """Draw transformation codes."""
    dimensions = len(shape) - 1
    turns = 1 if dimensions == 2 else 3
    scales = torch.tensor([turn] * turns + [shift] * dimensions)
    return scales * (2 * torch.rand(count, len(scales), generator=torch.Generator().manual_seed(2)) - 1)


# ---- the objective


@SHAPES
def test_the_objective_is_that_of_each_pair_of_views(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, batch = harmony_of(shape, squared_error_weight=3.0), batch_of(shape)
    view = method.view(batch.images)
    noise = torch.randn(2 * COUNT, SIZE, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(method, "view", lambda _: view)
    monkeypatch.setattr(torch, "randn_like", lambda _: noise)
    losses = method(batch)
    expected = {"reconstruction": 0.0, "alignment": 0.0, "kl_views": 0.0}
    for i in range(COUNT):
        aligned, posteriors = [], []
        for image, e in ((batch.images[i], noise[i]), (view[i], noise[COUNT + i])):
            codes = method.encode(Batch.of(image[None]))
            mean, log_variance = method.encoder(image[None])[0, : 2 * SIZE].split(SIZE)
            torch.testing.assert_close(mean, codes.content[0])
            posteriors.append(Normal(mean, torch.exp(0.5 * log_variance)))
            aligned.append(method.align(image[None], codes.transformation)[0])
            decoded = method.decoder((mean + posteriors[-1].stddev * e)[None])[0]
            expected["reconstruction"] += ((decoded - aligned[-1]) ** 2).sum().item() / COUNT
        expected["alignment"] += ((aligned[0] - aligned[1]) ** 2).sum().item() / COUNT
        expected["kl_views"] += kl_divergence(*posteriors).sum().item() / COUNT
    assert {name: part.item() for name, part in losses.parts.items()} == pytest.approx(expected, rel=1e-3)
    assert losses.weights == {"reconstruction": 3.0, "alignment": 3.0, "kl_views": 1 / SIZE}


def test_codes_are_not_random_but_content_is_drawn_about_its_mean() -> None:
    method, batch = harmony_of(), batch_of()
    codes = method.encode(batch)
    torch.manual_seed(0)
    samples = [method.encode_and_sample(batch)[1] for _ in range(400)]
    assert all(torch.equal(sample.transformation, codes.transformation) for sample in samples)
    contents = torch.stack([sample.content for sample in samples])
    torch.testing.assert_close(contents.mean(dim=0), codes.content, atol=0.25, rtol=0)
    assert contents.std(dim=0).min() > 0.5  # of an untrained encoder, whose variances are about 1


# ---- the transformation


@pytest.mark.parametrize(("shape", "size"), [(GREY, 3), (COLOUR, 3), (VOLUME, 6)])
def test_the_code_has_a_number_for_each_turn_and_shift(shape: tuple[int, ...], size: int) -> None:
    method = harmony_of(shape, transformation_size=10)
    assert method.encode(batch_of(shape)).transformation.shape == (COUNT, size)
    assert method.encode(batch_of(shape)).content.shape == (COUNT, SIZE)


def test_a_picture_is_turned_and_then_shifted_by_its_code() -> None:
    """A bright pixel 4 to the right of the centre, turned a quarter and shifted by (2, -1) pixels."""
    method = harmony_of()
    point = torch.zeros(1, *GREY)
    point[0, 0, 7, 11] = 1
    method.decoder = Fixed(point)
    code = torch.tensor([[math.pi / 2, 2 / 7.5, -1 / 7.5]])
    moved = method.decode(Codes(torch.zeros(1, SIZE), code))[0, 0]
    assert divmod(int(moved.argmax()), 15) == (7 + 4 - 1, 7 + 2)
    assert moved.max() == pytest.approx(1, abs=1e-4)


def test_a_volume_is_turned_about_its_vector_and_then_shifted() -> None:
    """A bright voxel at x = 3, turned a quarter about z, which brings it to y = 3, and shifted by (1, 0, -2)."""
    method = harmony_of(VOLUME)
    point = torch.zeros(1, *VOLUME)
    point[0, 0, 6, 6, 6 + 3] = 1
    method.decoder = Fixed(point)
    code = torch.tensor([[0, 0, math.pi / 2, 1 / 6, 0, -2 / 6]])
    moved = method.decode(Codes(torch.zeros(1, SIZE), code))[0, 0]
    assert moved[6 - 2, 6 + 3, 6 + 1] == pytest.approx(1, abs=1e-4)


@SHAPES
def test_alignment_undoes_what_decoding_moves(shape: tuple[int, ...]) -> None:
    method = harmony_of(shape)
    dimensions = len(shape) - 1
    image = blobs(shape[1:], [(0.3, *[0.0] * (dimensions - 1)), (*[0.0] * (dimensions - 1), 0.3)])
    images = image.expand(COUNT, *shape)
    method.decoder = Fixed(images)
    code = moves_of(shape, COUNT)
    moved = method.decode(Codes(torch.zeros(COUNT, SIZE), code))
    away, back = ((x - images).square().mean() for x in (moved, method.align(moved, code)))
    assert away > 0.005
    assert back < 0.1 * away  # two interpolations are left


@SHAPES
def test_gradients_reach_every_number_of_the_code(shape: tuple[int, ...]) -> None:
    method = harmony_of(shape)
    for code in (moves_of(shape, COUNT), torch.zeros_like(moves_of(shape, COUNT))):
        code.requires_grad_()
        method.align(batch_of(shape).images, code).square().sum().backward()
        assert code.grad is not None
        assert code.grad.isfinite().all()
        assert (code.grad.abs().max(dim=0).values > 0).all()


def test_the_encoder_cannot_move_an_image_out_of_sight() -> None:
    method = harmony_of()
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.mul_(100)
    shifts = method.encode(batch_of()).transformation[:, 1:]
    assert shifts.abs().max().item() == pytest.approx(0.5, abs=1e-3)  # half sides: a quarter of the side


@pytest.mark.parametrize("shape", [(1, 41, 41), (1, 20, 20, 20)], ids=["picture", "volume"])
def test_views_turn_and_shift_within_the_stated_bounds(shape: tuple[int, ...]) -> None:
    """The bright spot of each view lies where a turn within 45 degrees and a shift within a tenth can bring it."""
    method = harmony_of(shape, degrees=45, shift=0.1, hidden=[8])
    dimensions, side = len(shape) - 1, shape[1]
    radius = 0.5
    spot = blobs(shape[1:], [(radius, *[0.0] * (dimensions - 1))]) ** 4
    torch.manual_seed(0)
    views = method.view(spot.expand(300, *shape))
    weights = views.flatten(1) / views.flatten(1).sum(dim=1, keepdim=True)
    axes = [(torch.arange(side) - c) / (side / 2) for c in centre_of(shape[1:])]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).reshape(-1, dimensions)
    distance = (weights @ grid - torch.tensor([radius, *[0.0] * (dimensions - 1)])).norm(dim=1)
    largest = 2 * radius * math.sin(math.radians(45) / 2) + 0.2 * math.sqrt(dimensions)
    assert 0.7 * largest < distance.max() < 1.05 * largest
    assert distance.min() < 0.15


def test_views_are_the_method_s_own_whatever_the_recipe_says() -> None:
    images = batch_of().images
    methods = [
        recipe_of({"method": {"name": "harmony"}, "views": [view]}).build(GREY)
        for view in ("rotation", "contrast")
    ]
    views = []
    for method in methods:
        torch.manual_seed(4)
        views.append(method.view(images))
    assert torch.equal(*views)


# ---- the networks


def test_pictures_pass_the_stated_layers_and_volumes_the_recipe_s() -> None:
    pictures, volumes = harmony_of(COLOUR), harmony_of(VOLUME)
    linear = [m for m in pictures.modules() if isinstance(m, torch.nn.Linear)]
    outputs = 2 * SIZE + 3
    assert [m.out_features for m in linear] == [64, 32, outputs, 32, 64, 3 * 12 * 16]
    convolutions = [m for m in volumes.modules() if isinstance(m, torch.nn.Conv3d)]
    assert [m.out_channels for m in convolutions[:2]] == [16, 32]


def test_only_a_linear_output_leaves_the_range_from_0_to_1() -> None:
    codes = Codes(100 * torch.randn(COUNT, SIZE), torch.zeros(COUNT, 3))
    bounded, free = (harmony_of(output=output).decode(codes) for output in ("sigmoid", "linear"))
    assert bounded.min() >= 0
    assert bounded.max() <= 1
    assert free.min() < 0


def test_volumes_that_the_decoder_cannot_make_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"13 x 13 x 13 .*network\.decoder\.channels"):
        harmony_of((1, 13, 13, 13))


# ---- what it learns


def trained(method: Harmony, images: Tensor, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(method.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        method(Batch.of(images[torch.randint(len(images), (48,))])).total.backward()
        optimizer.step()


def test_the_known_rotation_of_rotated_copies_of_pictures_is_recovered() -> None:
    """Two pictures at known angles: the angle between copies of one is known to some degrees; by chance 60."""
    pictures = [[(0.4, 0.0), (-0.1, 0.4)], [(0.5, 0.0), (0.0, 0.0), (0.2, 0.5)]]

    def copies(count: int) -> tuple[Tensor, Tensor]:
        angles = math.pi * (torch.rand(len(pictures), count) - 0.5)
        turned = [
            resample(blobs((16, 16), places).clamp(max=1).expand(count, 1, 16, 16), rotations_2d(a))
            for places, a in zip(pictures, angles, strict=True)
        ]
        return torch.cat(turned), angles

    method = harmony_of((1, 16, 16), hidden=[128, 64])
    trained(method, copies(500)[0], steps=600, rate=1e-3)
    images, angles = copies(100)
    with torch.no_grad():
        found = method.encode(Batch.of(images)).transformation[:, 0].reshape(angles.shape)
    error = (found - found.roll(1, dims=1)) - (angles - angles.roll(1, dims=1))
    error = torch.atan2(error.sin(), error.cos()).abs().rad2deg().mean(dim=1)
    assert error.max() < 15


def test_the_known_rotation_of_rotated_copies_of_a_volume_is_recovered() -> None:
    """A volume turned within 90 degrees: relative rotations are known to 10 degrees (median); by chance 88."""
    volume = blobs((12, 12, 12), [(0.4, 0.0, 0.0), (-0.1, 0.4, 0.0), (0.0, 0.0, -0.4)])

    def copies(count: int) -> tuple[Tensor, Tensor]:
        rotations = random_rotations(count, 3, 90, torch.device("cpu"))
        return resample(volume.expand(count, *VOLUME), rotations), rotations

    method = harmony_of(VOLUME, output="linear", shift=0.05)
    trained(method, copies(500)[0], steps=500, rate=3e-3)
    images, rotations = copies(200)
    with torch.no_grad():
        found = roma.rotvec_to_rotmat(method.encode(Batch.of(images)).transformation[:, :3])
    between, expected = (r @ r.roll(1, dims=0).mT for r in (found, rotations))
    assert roma.rotmat_geodesic_distance(between, expected).rad2deg().mean() < 40


def test_the_pairs_drawn_are_both_views_before_and_after_alignment() -> None:
    method, batch = harmony_of(), batch_of()
    before, after = method.pairs(batch)
    assert torch.equal(before.first, batch.images)
    for raw, aligned in zip(before[1:], after[1:], strict=True):
        codes = method.encode(Batch.of(raw))
        torch.testing.assert_close(method.align(raw, codes.transformation), aligned)


def test_posteriors_diverge_from_each_other_and_not_from_a_prior() -> None:
    method, batch = harmony_of(degrees=1e-3, shift=0.0), batch_of()
    assert method(batch).parts["kl_views"].item() == pytest.approx(0, abs=1e-3)
    assert harmony_of()(batch).parts["kl_views"].item() > 1e-3
