"""VITAE: CPAB flows against libcpab's own integrator, the objective image by image, and deformed copies learnt."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from dualcontrast.errors import MethodError
from dualcontrast.methods import Batch, Codes, vitae
from dualcontrast.methods.vitae import VITAE, Diffeomorphism
from dualcontrast.recipe import recipe_of

PICTURE, VOLUME = (28, 28), (16, 16, 16)
CELLS, NUMBERS = {2: [2, 4], 3: [2, 2, 2]}, {2: 30, 3: 27}
SPACES = pytest.mark.parametrize("spatial", [PICTURE, (12, 20), VOLUME], ids=str)
SHAPES = pytest.mark.parametrize("shape", [(1, 12, 14), (3, 12, 12), (1, 8, 8, 8)], ids=str)
COUNT, SIZE = 6, 4


def vitae_of(shape: tuple[int, ...] = (1, 12, 12), **settings: Any) -> VITAE:
    torch.manual_seed(0)
    sizes = {"content_size": SIZE, "transformation_size": SIZE - 1, "hidden": [32, 16]}
    method = recipe_of({"method": {"name": "vitae", **sizes, **settings}}).build(shape)
    assert isinstance(method, VITAE)
    return method


def batch_of(shape: tuple[int, ...] = (1, 12, 12), epoch: int = 0) -> Batch:
    images = torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(COUNT), epoch=epoch)


def thetas(spatial: tuple[int, ...], size: float = 0.5, count: int = COUNT) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return size * torch.randn(count, NUMBERS[len(spatial)], generator=generator)


def smooth(spatial: tuple[int, ...]) -> Tensor:
    """Return smooth images (COUNT, 1, spatial...)."""
    coarse = torch.rand(COUNT, 1, *[4] * len(spatial), generator=torch.Generator().manual_seed(3))
    mode = "bicubic" if len(spatial) == 2 else "trilinear"
    return torch.nn.functional.interpolate(coarse, spatial, mode=mode, align_corners=True)


# ---- the diffeomorphism


def integrated(spatial: tuple[int, ...], theta: Tensor) -> Tensor:
    """Return the displacements in pixels, (B, D, spatial...), by libcpab point by point, in its 50 steps."""
    vitae._libcpab()
    from libcpab import Cpab

    axes = [torch.linspace(0, 1, side) for side in spatial]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1]).flatten(1)
    transformer = Cpab(CELLS[len(spatial)], zero_boundary=True, override=True)
    moved = transformer.transform_grid(points.clone(), theta) - points
    steps = torch.tensor([side - 1 for side in spatial[::-1]])
    return (moved * steps[:, None]).reshape(len(theta), len(spatial), *spatial)


@SPACES
@pytest.mark.parametrize(("size", "moved", "allowed"), [(0.3, 0.2, 0.02), (1.0, 0.7, 0.1)])
def test_flows_are_those_of_libcpab(spatial: tuple[int, ...], size: float, moved: float, allowed: float) -> None:
    """The mean error is a hundredth of a pixel, or some hundredths where pixels move by more than one."""
    theta = thetas(spatial, size)
    expected = integrated(spatial, theta)
    flow = Diffeomorphism(spatial)
    assert flow.size == NUMBERS[len(spatial)]
    assert expected.norm(dim=1).mean() > moved
    error = (flow.displacements(theta) - expected).norm(dim=1)
    assert error.mean() < allowed
    assert error.max() < 10 * allowed


@SPACES
def test_the_inverse_undoes_the_transformation(spatial: tuple[int, ...]) -> None:
    """There and back, a pixel is 0.02 pixels from where it was, as a mean, and an image is itself."""
    flow, theta = Diffeomorphism(spatial), thetas(spatial)
    there, back = flow.displacements(theta), flow.displacements(-theta)
    left = (there + vitae._deformed(back, there)).norm(dim=1)
    assert there.norm(dim=1).mean() > 0.5
    assert left.mean() < 0.05
    images = smooth(spatial)
    deformed = flow(images, theta)
    assert (flow(deformed, -theta) - images).square().mean() < 0.15 * (deformed - images).square().mean()


@SPACES
def test_no_deformation_is_the_identity_and_the_border_stays_on_the_border(spatial: tuple[int, ...]) -> None:
    flow, theta = Diffeomorphism(spatial), thetas(spatial)
    images = smooth(spatial)
    torch.testing.assert_close(flow(images, torch.zeros_like(theta)), images)
    displacements = flow.displacements(theta)
    for axis, side in enumerate(reversed(spatial)):  # x first
        across = displacements[:, axis].movedim(-1 - axis, 1)
        torch.testing.assert_close(across[:, [0, side - 1]], torch.zeros_like(across[:, :2]), atol=1e-4, rtol=0)
        assert across[:, 1 : side - 1].abs().max() > 0.1


def test_flows_do_not_fold_and_follow_one_another() -> None:
    """x + displacement keeps the order of neighbours, and twice half a flow is the whole.

    Which flows these are depends on the basis that a machine chooses; the mean over many hardly does.
    """
    flow, theta = Diffeomorphism(PICTURE), thetas(PICTURE, count=400)
    whole, half = flow.displacements(theta), flow.displacements(theta / 2)
    assert (whole[:, 0].diff(dim=2) > -1).all()
    assert (whole[:, 1].diff(dim=1) > -1).all()
    assert (half + vitae._deformed(half, half) - whole).norm(dim=1).mean() < 1e-3


@SPACES
def test_gradients_are_those_of_finite_differences(spatial: tuple[int, ...]) -> None:
    flow = Diffeomorphism(spatial).double()
    images, target = smooth(spatial).double(), smooth(spatial).double().flip(0)
    theta = thetas(spatial).double().requires_grad_()

    def error(at: Tensor) -> Tensor:
        return (flow(images, at) - target).square().sum()

    (gradient,) = torch.autograd.grad(error(theta), theta)
    direction = torch.randn(theta.shape, generator=torch.Generator().manual_seed(4)).double()
    step = 1e-6
    with torch.no_grad():
        slope = (error(theta + step * direction) - error(theta - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-3)


def test_all_channels_are_deformed_alike() -> None:
    flow, theta = Diffeomorphism(PICTURE), thetas(PICTURE)
    images = smooth(PICTURE)
    coloured = flow(images.expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.5, 0.2])[:, None, None], theta)
    torch.testing.assert_close(coloured[:, 1:2], 0.5 * flow(images, theta))


# ---- the objective


@SHAPES
@pytest.mark.parametrize(("epoch", "warmth"), [(0, 0.0), (1, 0.25), (9, 1.0)])
def test_the_objective_is_that_of_each_image(
    shape: tuple[int, ...], epoch: int, warmth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = vitae_of(shape, gamma_c=0.2, gamma_z=0.5, warm_up=4)
    for module in method.modules():  # images one by one have no statistics of their own
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    noises = {
        size: torch.randn(COUNT, size, generator=torch.Generator().manual_seed(5)) for size in (SIZE, SIZE - 1)
    }
    monkeypatch.setattr(torch, "randn_like", lambda like: noises[like.shape[1]])
    batch = batch_of(shape, epoch)
    losses = method(batch)
    prior = Normal(0.0, 1.0)
    expected = {"reconstruction": 0.0, "kl_content": 0.0, "kl_transformation": 0.0}
    for i, image in enumerate(batch.images[:, None]):
        pixels = image.flatten(1)
        q_z = Normal(*moments(method.transformation, pixels))
        theta = method.parameters_of_flow(q_z.mean + q_z.stddev * noises[SIZE - 1][i])
        q_c = Normal(*moments(method.content, method.flow(image, -theta).flatten(1)))
        appearance = method.appearance(q_c.mean + q_c.stddev * noises[SIZE][i])
        expected["reconstruction"] += 0.5 * ((method.flow(appearance, theta) - image) ** 2).sum().item() / COUNT
        expected["kl_content"] += kl_divergence(q_c, prior).sum().item() / COUNT
        expected["kl_transformation"] += kl_divergence(q_z, prior).sum().item() / COUNT
    assert {name: part.item() for name, part in losses.parts.items()} == pytest.approx(expected, rel=1e-3)
    weights = {"reconstruction": 1.0, "kl_content": 0.2 * warmth, "kl_transformation": 0.5 * warmth}
    assert losses.weights == pytest.approx(weights)


def moments(posterior: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, each from its own network."""
    variance = torch.log1p(posterior.variance(pixels).exp()) + 1e-6
    return posterior.mean(pixels), variance.sqrt()


def test_outside_training_the_divergences_weigh_in_full() -> None:
    method = vitae_of(gamma_c=0.2, warm_up=4)
    assert method(batch_of()).weights["kl_content"] == 0
    assert method.eval()(batch_of()).weights["kl_content"] == 0.2
    assert vitae_of(gamma_c=0.2, warm_up=0)(batch_of()).weights["kl_content"] == 0.2


def test_content_is_that_of_the_image_without_its_deformation() -> None:
    method, batch = vitae_of().eval(), batch_of()
    codes = method.encode(batch)
    without = method.flow(batch.images, -method.parameters_of_flow(codes.transformation))
    torch.testing.assert_close(codes.content, method.content(without).mean)
    assert not torch.allclose(codes.content, method.content(batch.images).mean, atol=1e-3)
    decoded = method.flow(method.appearance(codes.content), method.parameters_of_flow(codes.transformation))
    assert torch.equal(method.decode(codes), decoded)


def test_samples_scatter_about_the_codes() -> None:
    method, batch = vitae_of().eval(), batch_of()
    posterior = method.transformation(batch.images)
    torch.manual_seed(0)
    samples = torch.stack([method.encode_and_sample(batch)[1].transformation for _ in range(500)])
    torch.testing.assert_close(samples.mean(dim=0), method.encode(batch).transformation, atol=0.2, rtol=0)
    torch.testing.assert_close(samples.std(dim=0), (0.5 * posterior.log_variance).exp(), atol=0, rtol=0.2)


# ---- what it learns


def digits(shared_data: Path, count: int) -> Tensor:
    with gzip.open(shared_data / "mnist/train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + count * 784), np.uint8, offset=16)
    return torch.from_numpy(pixels.astype(np.float32)).reshape(count, 1, 28, 28) / 255


def test_deformed_copies_of_two_digits_differ_in_z_and_the_digits_in_c(shared_data: Path) -> None:
    """The objective falls; what remains of the error without z, or without c, shows what each is for."""
    flow = Diffeomorphism(PICTURE)
    torch.manual_seed(0)
    which = torch.arange(800) % 2
    images = flow(digits(shared_data, 4)[1:3][which], 0.5 * torch.randn(800, flow.size)).detach()
    method = vitae_of((1, 28, 28), hidden=[128, 64], transformation_size=16)
    optimizer = torch.optim.Adam(method.parameters(), 2e-3)
    totals = []
    for _ in range(200):
        total = method(Batch.of(images[torch.randint(len(images), (64,))])).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-10:]) < 0.25 * sum(totals[:10])

    method.eval()
    with torch.no_grad():
        codes = method.encode(Batch.of(images))

        def error(content: Tensor, transformation: Tensor) -> float:
            return float((method.decode(Codes(content, transformation)) - images).square().sum((1, 2, 3)).mean())

        right = error(*codes)
        other_deformation = error(codes.content, codes.transformation.roll(2, dims=0))
        other_digit = error(codes.content.roll(1, dims=0), codes.transformation)
        same_digit = error(codes.content.roll(2, dims=0), codes.transformation)
    assert right < 0.5 * other_deformation
    assert right < 0.2 * other_digit
    assert same_digit < 0.2 * other_digit


# ---- the house's needs


def test_it_survives_copies_and_its_weights_carry_the_basis() -> None:
    method, batch = vitae_of().eval(), batch_of()
    expected = method.encode(batch)
    for other in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        assert all(torch.equal(a, b) for a, b in zip(other.encode(batch), expected, strict=True))
    elsewhere = vitae_of().eval()
    elsewhere.flow.velocities.copy_(elsewhere.flow.velocities.flip(0))  # as another machine may choose the basis
    assert not torch.allclose(elsewhere.encode(batch).content, expected.content, atol=1e-3)
    elsewhere.load_state_dict(method.state_dict())
    assert torch.equal(elsewhere.encode(batch).content, expected.content)


@pytest.fixture
def without_libcpab(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("libcpab", "libcpab.tesselation", "libcpab.findcellidx"):
        monkeypatch.setitem(sys.modules, name, None)
    vitae._velocities.cache_clear()
    yield
    vitae._velocities.cache_clear()


@pytest.mark.usefixtures("without_libcpab")
def test_without_libcpab_it_says_what_to_install() -> None:
    with pytest.raises(MethodError, match=r"libcpab.*pip install 'dualcontrast\[vitae\]'"):
        vitae_of()


@pytest.mark.parametrize("shape", [(1, 17, 17, 17), (1, 16, 16, 32)], ids=str)
def test_larger_volumes_are_refused(shape: tuple[int, ...]) -> None:
    sides = " x ".join(map(str, shape[1:]))
    with pytest.raises(MethodError, match=f"at most 16 voxels a side, and these have {sides}"):
        vitae_of(shape)


def test_libcpab_says_nothing_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    program = (
        "from dualcontrast.methods.vitae import Diffeomorphism\n"
        "print(Diffeomorphism((8, 8)).size)\n"
        "import torch.utils.cpp_extension as c; assert c.load.__module__ == c.__name__\n"
    )
    home = {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "plots"), "CUDA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "30\n", "")
    assert {path.name for path in tmp_path.iterdir()} <= {"plots"}
