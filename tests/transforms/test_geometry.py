"""Turning, shifting and scaling, by where a bright pixel lands and against loops over pixels."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dualcontrast.transforms import (
    nearest_rotations,
    random_rotations,
    resample,
    rotation_grid,
    rotations_2d,
    rotations_by,
)
from dualcontrast.transforms.geometry import Interpolation, _haar_angles, grid_size

INTERPOLATIONS: list[Interpolation] = ["bilinear", "nearest"]
CPU = torch.device("cpu")


def centre(spatial: tuple[int, ...]) -> np.ndarray:
    """Return the centre in array order: a picture's middle, a volume's voxel N // 2."""
    return np.array([(n - 1) / 2 if len(spatial) == 2 else n // 2 for n in spatial])


def bright(spatial: tuple[int, ...], at: tuple[int, ...]) -> Tensor:
    """Return an image (1, 1, spatial...) that is 1 at an index in array order and 0 elsewhere."""
    image = torch.zeros(1, 1, *spatial)
    image[(0, 0, *at)] = 1
    return image


def landing(
    at: tuple[int, ...], spatial: tuple[int, ...], matrix: np.ndarray, shift: tuple[float, ...]
) -> np.ndarray:
    """Return the index in array order to which A p + shift moves the pixel at an index."""
    position = (np.array(at) - centre(spatial))[::-1]  # (x, y) or (x, y, z)
    return (matrix @ position + np.array(shift))[::-1] + centre(spatial)


def check_landing(
    spatial: tuple[int, ...],
    at: tuple[int, ...],
    matrix: np.ndarray,
    shift: tuple[float, ...],
    interpolation: Interpolation,
) -> None:
    moved = resample(
        bright(spatial, at),
        torch.tensor(matrix, dtype=torch.float32)[None],
        torch.tensor([shift], dtype=torch.float32),
        interpolation,
    )
    there = landing(at, spatial, matrix, shift)
    inside = bool(((there >= 0) & (there <= np.array(spatial) - 1)).all())
    expected = bright(spatial, tuple(there.round().astype(int))) if inside else torch.zeros(1, 1, *spatial)
    torch.testing.assert_close(moved, expected, atol=2e-5, rtol=0)


QUARTERS = [np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), k) for k in range(4)]  # from x towards y
CUBE = [  # the 24 rotations of a cube
    matrix
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1, -1], repeat=3)
    if np.linalg.det(matrix := np.diag(signs)[list(order)]) > 0
]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_quarter_turns_and_whole_shifts_of_pictures(interpolation: Interpolation, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 9))
    turn = data.draw(st.integers(0, 3))
    if turn % 2 and (height - width) % 2:  # the pixels of odd sides do not fall on those of even ones
        width += 1
    at = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    shift = data.draw(st.integers(-3, 3)), data.draw(st.integers(-3, 3))
    check_landing((height, width), at, QUARTERS[turn], shift, interpolation)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("side", [6, 7])
def test_cube_rotations_and_whole_shifts_of_volumes(side: int, interpolation: Interpolation) -> None:
    rng = np.random.default_rng(side)
    for matrix in CUBE:
        at = tuple(rng.integers(0, side, 3).tolist())
        shift = tuple(rng.integers(-2, 3, 3).tolist())
        check_landing((side, side, side), at, matrix, shift, interpolation)


def test_the_sense_of_a_turn_in_the_plane_is_from_x_towards_y() -> None:
    """A pixel right of the centre goes below it: the second axis of an array is x, the first is y."""
    turned = resample(bright((5, 5), (2, 4)), rotations_2d(torch.tensor([math.pi / 2])))
    torch.testing.assert_close(turned, bright((5, 5), (4, 2)), atol=1e-6, rtol=0)


def test_a_turn_about_z_acts_on_x_and_y_and_the_centre_of_a_volume_stays() -> None:
    about_z = roma.rotvec_to_rotmat(torch.tensor([[0, 0, math.pi / 2]]))
    turned = resample(bright((8, 8, 8), (1, 4, 6)), about_z)  # x = 2, y = 0, z = -3
    torch.testing.assert_close(turned, bright((8, 8, 8), (1, 6, 4)), atol=1e-5, rtol=0)
    anyhow = random_rotations(4, 3, 180, CPU)
    still = resample(bright((8, 8, 8), (4, 4, 4)).expand(4, -1, -1, -1, -1), anyhow)
    torch.testing.assert_close(still[:, 0, 4, 4, 4], torch.ones(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [8, 9])
def test_half_turns_of_even_and_odd_pictures_reverse_both_axes(side: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, side, side + 1)
    turned = resample(images, rotations_2d(torch.full((2,), math.pi)))
    torch.testing.assert_close(turned, images.flip(2, 3), atol=1e-5, rtol=0)


def test_scaling_moves_a_pixel_away_from_the_centre() -> None:
    doubled = resample(bright((9, 9), (5, 2)), 2 * torch.eye(2)[None])
    assert doubled[0, 0].argmax().item() == 6 * 9 + 0  # (1, -2) from the centre goes to (2, -4)
    assert doubled.sum().item() == pytest.approx(3.0)  # 4 in all, were not a column of it outside


def test_a_shift_comes_after_the_linear_map() -> None:
    check_landing((7, 7), (3, 5), QUARTERS[1], (1, -2), "bilinear")
    moved = resample(
        bright((7, 7), (3, 5)), rotations_2d(torch.tensor([math.pi / 2])), torch.tensor([[1.0, -2.0]])
    )
    assert moved[0, 0].argmax().item() == 3 * 7 + 4  # (2, 0) turns to (0, 2), then shifts to (1, 0)


def test_half_a_pixels_shift_splits_a_bright_pixel() -> None:
    moved = resample(bright((5, 5), (2, 2)), torch.eye(2)[None], torch.tensor([[0.5, 0.0]]))
    expected = 0.5 * bright((5, 5), (2, 2)) + 0.5 * bright((5, 5), (2, 3))
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("spatial", [(5, 8), (4, 5, 6)])
def test_any_map_is_the_loop_over_pixels(spatial: tuple[int, ...], interpolation: Interpolation) -> None:
    rng = np.random.default_rng(3)
    dimensions = len(spatial)
    images = rng.random((3, 2, *spatial))
    matrices = np.eye(dimensions) + 0.5 * rng.standard_normal((3, dimensions, dimensions))
    shifts = rng.standard_normal((3, dimensions))
    fast = resample(torch.from_numpy(images), torch.from_numpy(matrices), torch.from_numpy(shifts), interpolation)
    slow = np.stack([slow_resample(*one, interpolation) for one in zip(images, matrices, shifts, strict=True)])
    np.testing.assert_allclose(fast, slow, atol=1e-9)


def test_displacements_are_added_where_an_image_is_looked_up() -> None:
    """A displacement that is linear in the position is a linear map of its own."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.random((2, 1, 7, 9)))
    bend = torch.from_numpy(0.2 * rng.standard_normal((2, 2)))
    y, x = np.meshgrid(np.arange(7) - 3.0, np.arange(9) - 4.0, indexing="ij")
    positions = torch.from_numpy(np.stack([x, y], axis=-1))
    displacements = (positions @ bend.T).expand(2, 7, 9, 2)
    identity = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    expected = resample(images, torch.linalg.inv(identity + bend))
    torch.testing.assert_close(resample(images, identity, displacements=displacements), expected)


def slow_resample(image: np.ndarray, matrix: np.ndarray, shift: np.ndarray, interpolation: str) -> np.ndarray:
    """Loop over the output's pixels: output(p) = image(A^-1 (p - shift)), zero outside."""
    spatial = image.shape[1:]
    output = np.zeros_like(image)
    inverse = np.linalg.inv(matrix)
    for index in np.ndindex(*spatial):
        position = (np.array(index) - centre(spatial))[::-1]
        source = (inverse @ (position - shift))[::-1] + centre(spatial)
        if interpolation == "nearest":
            neighbours = [(np.round(source).astype(int), 1.0)]
        else:
            low = np.floor(source).astype(int)
            neighbours = []
            for corner in itertools.product([0, 1], repeat=len(spatial)):
                neighbour = low + np.array(corner)
                neighbours.append((neighbour, float(np.prod(1 - np.abs(source - neighbour)))))
        for neighbour, weight in neighbours:
            if (neighbour >= 0).all() and (neighbour < np.array(spatial)).all():
                output[(slice(None), *index)] += weight * image[(slice(None), *neighbour)]
    return output


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_what_comes_from_outside_is_zero(interpolation: Interpolation) -> None:
    ones = torch.ones(1, 1, 6, 8)
    shifted = resample(ones, torch.eye(2)[None], torch.tensor([[3.0, -1.0]]), interpolation)
    expected = torch.ones(1, 1, 6, 8)
    expected[..., :3] = 0  # x grows to the right
    expected[..., -1, :] = 0  # y grows downwards
    torch.testing.assert_close(shifted, expected, atol=1e-6, rtol=0)
    turned = resample(torch.ones(1, 1, 20, 20), rotations_2d(torch.tensor([math.pi / 4])), None, interpolation)
    assert turned[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [0, 0, 0, 0]


def test_each_image_moves_by_its_own_map() -> None:
    images = bright((5, 5), (2, 4)).expand(3, -1, -1, -1)
    moved = resample(images, rotations_2d(torch.tensor([0, math.pi / 2, math.pi])))
    assert moved.flatten(1).argmax(dim=1).tolist() == [2 * 5 + 4, 4 * 5 + 2, 2 * 5 + 0]


def test_gradients_reach_the_matrices_and_shifts() -> None:
    """Against finite differences: methods that predict a pose learn through it."""
    torch.manual_seed(0)
    images = torch.rand(2, 1, 6, 7, dtype=torch.float64)
    angles = torch.tensor([0.3, -0.8], dtype=torch.float64, requires_grad=True)
    shifts = torch.tensor([[0.4, -0.3], [1.2, 0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, s: resample(images, rotations_2d(a), s), (angles, shifts))


def test_gradients_flow_after_a_first_use_in_inference_mode() -> None:
    images = torch.rand(1, 1, 5, 11)  # a size no other test uses, since positions are kept by size
    with torch.inference_mode():
        resample(images, torch.eye(2)[None])
    angle = torch.zeros(1, requires_grad=True)
    resample(images, rotations_2d(angle)).square().sum().backward()
    assert angle.grad is not None


def test_mixed_precision_does_not_blur_positions() -> None:
    torch.manual_seed(0)
    images, matrices = torch.rand(4, 1, 64, 64), random_rotations(4, 2, 90, CPU)
    exact = resample(images.double(), matrices.double()).float()
    torch.testing.assert_close(resample(images, matrices), exact, atol=1e-4, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = resample(images, matrices)
    torch.testing.assert_close(mixed, exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "spatial", [(6, 11), (4, 5, 7)]
)  # sizes no other test uses, since positions are kept by size
def test_images_keep_their_device_and_their_type(spatial: tuple[int, ...], dtype: torch.dtype) -> None:
    images = torch.ones(2, 1, *spatial, dtype=dtype)
    matrices = torch.eye(len(spatial), dtype=dtype).expand(2, -1, -1)
    with torch.device("meta"):  # where whatever does not say otherwise is made
        moved = resample(images, matrices)
    assert (moved.device, moved.dtype) == (CPU, dtype)
    torch.testing.assert_close(moved, images)


def test_displacements_of_volumes_are_in_the_order_of_their_voxels() -> None:
    volumes = torch.rand(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    displacements = torch.zeros(2, 3, 4, 5, 3)
    displacements[1, 2, 1, 3] = torch.tensor([-1.0, 2.0, -2.0])  # x, y, z: looked up at [0, 3, 2]
    moved = resample(volumes, torch.eye(3).expand(2, 3, 3), displacements=displacements)
    expected = volumes.clone()
    expected[1, 0, 2, 1, 3] = volumes[1, 0, 0, 3, 2]
    torch.testing.assert_close(moved, expected)


# ---- rotations


def test_rotations_by_vectors_are_exponentials_of_their_cross_products() -> None:
    vectors = torch.tensor([[0.3, -0.2, 1.1], [2.0, 0.5, -1.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    for vector, rotation in zip(vectors, rotations_by(vectors), strict=True):
        x, y, z = vector.tolist()
        crossed = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
        torch.testing.assert_close(rotation, torch.linalg.matrix_exp(crossed))


def test_rotations_by_a_single_number_are_turns_in_the_plane() -> None:
    angles = torch.tensor([0.4, -1.2])
    torch.testing.assert_close(rotations_by(angles[:, None]), rotations_2d(angles))


def test_stacked_rotation_vectors_keep_their_shape() -> None:
    vectors = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    rotations = rotations_by(vectors)
    assert rotations.shape == (2, 3, 3, 3)
    torch.testing.assert_close(rotations[1, 2], rotations_by(vectors[1, 2:])[0])
    assert rotations_by(vectors[:1, 0]).shape == (1, 3, 3)
    assert rotations_by(vectors[0, 0]).shape == (3, 3)


def test_no_rotation_is_nearer_to_a_matrix_than_the_nearest() -> None:
    matrices = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nearest = nearest_rotations(matrices)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(5, dtype=torch.float64))
    torch.manual_seed(0)
    others = random_rotations(2000, 3, 180, CPU, torch.float64)
    distances = (matrices[:, None] - others[None]).square().sum(dim=(2, 3))
    assert ((matrices - nearest).square().sum(dim=(1, 2)) < distances.min(dim=1).values).all()


def test_the_package_does_not_load_torchs_compiler_before_it_is_needed() -> None:
    told = "import sys, dualcontrast.api, dualcontrast.evaluation.scores; print('torch._dynamo' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    assert ended.stdout == "False\n"


# ---- random rotations

COUNT = 4000


def assert_distributed(values: Tensor, distribution: np.ndarray) -> None:
    """Kolmogorov-Smirnov at a level of 0.1%: `distribution` is the wanted function at the sorted values."""
    empirical = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(distribution - empirical).max() < 1.95 / math.sqrt(len(values))


def turns(matrices: Tensor) -> np.ndarray:
    """Return the sorted angles of rotation in radians."""
    return np.sort(roma.rotmat_to_rotvec(matrices).norm(dim=1).numpy())


@pytest.mark.parametrize(("dimensions", "degrees"), [(2, 90), (2, 180), (3, 30), (3, 90), (3, 180)])
def test_all_are_proper_rotations_and_repeat_with_the_seed(dimensions: int, degrees: float) -> None:
    torch.manual_seed(1)
    matrices = random_rotations(100, dimensions, degrees, CPU, torch.float64)
    identity = torch.eye(dimensions, dtype=torch.float64).expand_as(matrices)
    torch.testing.assert_close(matrices @ matrices.mT, identity)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(100, dtype=torch.float64))
    torch.manual_seed(1)
    assert torch.equal(matrices, random_rotations(100, dimensions, degrees, CPU, torch.float64))
    assert len(matrices.flatten(1).unique(dim=0)) == 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("dimensions", "degrees"), [(2, 90), (3, 30), (3, 180)])
def test_random_rotations_are_drawn_where_and_as_they_are_asked_for(
    dimensions: int, degrees: float, dtype: torch.dtype
) -> None:
    for device, elsewhere in (("cpu", "meta"), ("meta", "cpu")):
        with torch.device(elsewhere):
            matrices = random_rotations(5, dimensions, degrees, torch.device(device), dtype)
        assert (matrices.shape, matrices.dtype) == ((5, dimensions, dimensions), dtype)
        assert matrices.device.type == device


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", [0.5, 15, 60, 179])
def test_angles_of_the_uniform_measure_invert_its_distribution(degrees: float, dtype: torch.dtype) -> None:
    largest = math.radians(degrees)
    uniform = torch.cat([torch.linspace(0, 1, 1001, dtype=dtype), torch.tensor([1e-9, 1 - 1e-7], dtype=dtype)])
    angles = _haar_angles(uniform, largest)
    assert angles.dtype == dtype
    assert _haar_angles(uniform.to("meta"), largest).device.type == "meta"
    exact = angles.double()
    assert (exact[0].item(), exact[1000].item()) == (0, pytest.approx(largest, rel=1e-6))
    assert (exact[:1001].diff() > 0).all()
    assert ((exact >= 0) & (exact <= largest * (1 + 1e-6))).all()
    distribution = (exact - exact.sin()) / (largest - math.sin(largest))
    np.testing.assert_allclose(distribution, uniform, atol=1e-6)


def test_turns_by_180_degrees_and_more_are_all_of_so3() -> None:
    for degrees in (180, 200):
        torch.manual_seed(5)
        matrices = random_rotations(10, 3, degrees, CPU)
        torch.manual_seed(5)
        assert torch.equal(matrices, roma.random_rotmat(10))


@pytest.mark.parametrize("degrees", [20, 90, 180])
def test_angles_in_the_plane_are_uniform_within_the_bounds(degrees: float) -> None:
    torch.manual_seed(2)
    matrices = random_rotations(COUNT, 2, degrees, CPU)
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg().sort().values
    assert angles.abs().max() <= degrees + 1e-3
    assert_distributed(angles, (angles.numpy() + degrees) / (2 * degrees))


def test_rotations_in_space_are_uniform_on_so3() -> None:
    """Angles have the density (1 - cos) / pi, and the image of any axis fills the sphere evenly."""
    torch.manual_seed(3)
    matrices = random_rotations(COUNT, 3, 180, CPU)
    assert matrices.mean(dim=0).abs().max() < 4 / math.sqrt(3 * COUNT)
    angles = turns(matrices)
    assert_distributed(torch.from_numpy(angles), (angles - np.sin(angles)) / math.pi)
    for entry in matrices.flatten(1).unbind(dim=1):  # Archimedes: a coordinate on the sphere is uniform
        assert_distributed(entry, (np.sort(entry.numpy()) + 1) / 2)


@pytest.mark.parametrize("degrees", [15, 60, 150])
def test_restricted_rotations_in_space_follow_the_same_density_up_to_the_bound(degrees: float) -> None:
    torch.manual_seed(4)
    matrices = random_rotations(COUNT, 3, degrees, CPU)
    angles, largest = turns(matrices), math.radians(degrees)
    assert angles.max() <= largest + 1e-5
    assert_distributed(torch.from_numpy(angles), (angles - np.sin(angles)) / (largest - math.sin(largest)))
    axes = torch.nn.functional.normalize(roma.rotmat_to_rotvec(matrices), dim=1)
    for coordinate in axes.unbind(dim=1):
        assert_distributed(coordinate, (np.sort(coordinate.numpy()) + 1) / 2)


# ---- grids of rotations


@pytest.mark.parametrize("count", [50, 1000])
def test_a_grid_of_rotations_is_spread_evenly(count: int) -> None:
    grid = rotation_grid(count)
    assert (grid.shape, grid.dtype) == ((count, 3, 3), torch.float32)
    torch.testing.assert_close(grid @ grid.mT, torch.eye(3).expand(count, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(grid), torch.ones(count), atol=1e-5, rtol=0)
    assert torch.equal(grid, rotation_grid(count))
    cos = ((grid[:, None] * grid[None]).sum(dim=(2, 3)) - 1) / 2
    to_the_next = (cos - 3 * torch.eye(count)).amax(dim=1).clamp(-1, 1).acos()
    spacing = (8 * math.pi**2 / count) ** (1 / 3)  # of a cubic lattice in the volume of SO(3)
    assert to_the_next.min() > 0.5 * spacing
    assert to_the_next.max() < 1.2 * spacing


def test_a_grid_of_rotations_is_a_super_fibonacci_spiral() -> None:
    """The published sequence of quaternions, one at a time: (x, y, z, w)."""
    psi, count = 1.533751168755204, 20  # psi^4 = psi + 4
    assert psi**4 == pytest.approx(psi + 4, rel=1e-12)
    for i, rotation in enumerate(rotation_grid(count)):
        s = i + 0.5
        alpha, beta = 2 * math.pi * s / math.sqrt(2), 2 * math.pi * s / psi
        inner, outer = math.sqrt(s / count), math.sqrt(1 - s / count)
        quaternion = [
            *(inner * math.sin(alpha), inner * math.cos(alpha)),
            *(outer * math.sin(beta), outer * math.cos(beta)),
        ]
        torch.testing.assert_close(rotation, roma.unitquat_to_rotmat(torch.tensor(quaternion)), atol=1e-5, rtol=0)


def test_grid_size_is_the_number_of_steps_in_the_space_of_rotations() -> None:
    assert grid_size(15) == math.ceil(8 * math.pi**2 / math.radians(15) ** 3) == 4401
    assert grid_size(400) == 1


def test_rotations_cover_all_of_space_evenly() -> None:
    grid = rotation_grid(1152)
    torch.testing.assert_close(grid @ grid.mT, torch.eye(3).expand(1152, 3, 3), rtol=0, atol=1e-5)
    anywhere = random_rotations(300, 3, 180, torch.device("cpu"))
    traces = torch.einsum("aij,bij->ab", anywhere, grid)
    nearest = torch.rad2deg(torch.arccos(((traces - 1) / 2).clamp(-1, 1))).amin(dim=1)
    spacing = math.degrees((8 * math.pi**2 / 1152) ** (1 / 3))
    assert nearest.max() < 1.3 * spacing
    assert nearest.mean() < 0.6 * spacing
