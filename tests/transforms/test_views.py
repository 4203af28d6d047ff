"""The registry of T: each view by what it did to an image, measured from the result."""

from __future__ import annotations

import colorsys
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dualcontrast.errors import RecipeError
from dualcontrast.transforms import VIEWS, View, view_of

GEOMETRIC = ["rotation", "translation", "scale", "deformation"]
COLOUR = ["saturation", "hue"]
OF_VOLUMES = ["wedge"]
COUNT = 300


def smooth(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return an image (C, spatial...) in [0, 1] with structure everywhere."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, shape[0], *(4 for _ in shape[1:]), generator=generator)
    mode = "bilinear" if len(shape) == 3 else "trilinear"
    return torch.nn.functional.interpolate(coarse, shape[1:], mode=mode)[0]


def blob(spatial: tuple[int, ...], position: tuple[float, ...]) -> Tensor:
    """Return an image (1, spatial...) of a round blob at a position (x, y) or (x, y, z) from the centre."""
    offsets = np.indices(spatial)[::-1] - _column(centre(spatial)) - _column(position)
    return torch.from_numpy(np.exp(-(offsets**2).sum(axis=0) / (2 * 1.5**2)))[None]


def centroids(images: Tensor) -> np.ndarray:
    """Return the centre of mass of each image (B, 1, spatial...), (B, D), as (x, y) or (x, y, z)."""
    spatial = tuple(images.shape[2:])
    offsets = np.indices(spatial)[::-1] - _column(centre(spatial))
    weights = images[:, 0].numpy()
    axes = tuple(range(1, weights.ndim))
    return (
        np.stack([(weights * axis).sum(axis=axes) for axis in offsets], axis=1) / weights.sum(axis=axes)[:, None]
    )


def centre(spatial: tuple[int, ...]) -> tuple[float, ...]:
    """Return the centre as (x, y) or (x, y, z)."""
    return tuple((n - 1) / 2 if len(spatial) == 2 else n // 2 for n in reversed(spatial))


def _column(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values).reshape(-1, *(1 for _ in values))


def assert_uniform(values: np.ndarray, low: float, high: float, slack: float) -> None:
    """Check that values lie within bounds and fill them evenly (Kolmogorov-Smirnov at a level of 0.1%)."""
    assert low - slack <= values.min()
    assert values.max() <= high + slack
    empirical = (np.arange(len(values)) + 0.5) / len(values)
    distance = np.abs((np.sort(values) - low) / (high - low) - empirical).max()
    assert distance < 1.95 / math.sqrt(len(values)) + slack / (high - low)


def drawn(view: str, images: Tensor, **settings: Any) -> Tensor:
    torch.manual_seed(0)
    return view_of({"name": view, **settings})(images)


# ---- every view


def test_the_registry_has_the_seven_of_table_2_first() -> None:
    assert list(VIEWS)[:7] == [
        "rotation",
        "translation",
        "scale",
        "contrast",
        "saturation",
        "hue",
        "blur",
    ]


OF_PICTURES = [name for name in VIEWS if name not in OF_VOLUMES]
CASES = [
    *((name, (3, 18, 15)) for name in OF_PICTURES),
    *((name, (1, 6, 4)) for name in OF_PICTURES if name not in COLOUR),
    *((name, (1, 8, 9, 7)) for name in (*GEOMETRIC, *OF_VOLUMES)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_view_is_an_image_of_the_same_shape_type_and_range(
    name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    view = view_of(name)
    view.check(shape)
    images = torch.stack([smooth(shape, seed) for seed in range(4)]).to(dtype)
    images[0] = 0
    images[1] = 1
    before = images.clone()
    viewed = drawn(name, images)
    assert viewed.shape == images.shape
    assert viewed.dtype == dtype
    if name not in OF_VOLUMES:  # what has lost frequencies may go beyond the range
        assert viewed.min() >= -1e-6
        assert viewed.max() <= 1 + 1e-6
    assert not torch.allclose(viewed[2:], images[2:], atol=1e-3)
    assert torch.equal(images, before)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_each_image_has_a_draw_of_its_own_or_a_batch_shares_one(name: str, shape: tuple[int, ...]) -> None:
    images = smooth(shape).expand(6, *shape)
    by_sample, by_batch = drawn(name, images), drawn(name, images, per="batch")
    for first, second in itertools.combinations(by_sample, 2):
        assert not torch.allclose(first, second, atol=1e-5)
    for image in by_batch[1:]:
        torch.testing.assert_close(image, by_batch[0])
    assert not torch.allclose(by_batch[0], images[0], atol=1e-5)


@pytest.mark.parametrize(("name", "shape"), CASES)
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_a_seed_repeats_a_view_and_the_next_draw_differs(name: str, shape: tuple[int, ...], per: str) -> None:
    images = torch.stack([smooth(shape, seed) for seed in range(2)])
    view = view_of({"name": name, "per": per})
    torch.manual_seed(5)
    first, second = view(images), view(images)
    torch.manual_seed(5)
    assert torch.equal(view(images), first)
    assert not torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("name", OF_PICTURES)
def test_an_images_view_does_not_depend_on_the_others(name: str) -> None:
    images = torch.stack([smooth((3, 12, 12), seed) for seed in range(3)])
    with_others = drawn(name, images)
    others = torch.cat([images[:1], 1 - images[1:]])
    torch.testing.assert_close(drawn(name, others)[0], with_others[0])


# ---- what was done, measured


def test_rotation_of_pictures_is_uniform_within_its_degrees() -> None:
    images = blob((25, 25), (7, 0)).expand(COUNT, 1, 25, 25)
    x, y = centroids(drawn("rotation", images, degrees=40)).T
    np.testing.assert_allclose(np.hypot(x, y), 7, atol=0.1)
    assert_uniform(np.degrees(np.arctan2(y, x)), -40, 40, slack=0.5)


def test_rotation_of_volumes_turns_by_no_more_than_its_degrees_about_any_axis() -> None:
    on_the_axes = torch.stack([blob((17, 17, 17), tuple(3.0 * axis)) for axis in np.eye(3)])
    torch.manual_seed(0)
    view = view_of({"name": "rotation", "degrees": 60, "per": "batch"})
    matrices = np.stack([centroids(view(on_the_axes)).T / 3 for _ in range(60)])
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=0.02)
    angles = np.degrees(np.arccos((np.trace(matrices, axis1=1, axis2=2) - 1) / 2))
    assert angles.max() < 61
    assert np.median(angles) > 40  # the density 1 - cos(angle) has its median at 48 of 60 degrees
    axes = matrices - matrices.transpose(0, 2, 1)
    assert (np.abs([axes[:, 2, 1], axes[:, 0, 2], axes[:, 1, 0]]).max(axis=1) > 0.5).all()


@pytest.mark.parametrize("spatial", [(24, 36), (10, 14, 12)])
def test_translation_is_a_share_of_each_side(spatial: tuple[int, ...]) -> None:
    images = blob(spatial, (0.0,) * len(spatial)).expand(COUNT, 1, *spatial)
    before = centroids(images[:1])
    shifts = centroids(drawn("translation", images, fraction=0.1)) - before
    for shift, side in zip(shifts.T, reversed(spatial), strict=True):
        assert_uniform(shift / side, -0.1, 0.1, slack=0.01)
    assert np.abs(np.corrcoef(shifts.T) - np.eye(len(spatial))).max() < 0.2  # each axis on its own


@pytest.mark.parametrize("spatial", [(31, 31), (17, 17, 17)])
def test_scale_magnifies_by_a_factor_within_its_range(spatial: tuple[int, ...]) -> None:
    distance = 0.25 * spatial[0]
    position = (distance, *(0.0 for _ in spatial[1:]))
    images = blob(spatial, position).expand(COUNT, 1, *spatial)
    moved = centroids(drawn("scale", images, factor=[0.7, 1.3]))
    assert_uniform(moved[:, 0] / distance, 0.7, 1.3, slack=0.02)
    np.testing.assert_allclose(moved[:, 1:], 0, atol=0.05)


@pytest.mark.parametrize("spatial", [(41, 41), (21, 21, 21)])
def test_a_deformation_without_bending_is_the_linear_map_it_says(spatial: tuple[int, ...]) -> None:
    """Where a blob comes to lie tells the map: a turn, a factor, and shifts within their bounds."""
    place = (6.0, 0.0) if len(spatial) == 2 else (4.0, 0.0, 0.0)
    images = blob(spatial, place).float().expand(COUNT, 1, *spatial)
    still = {"degrees": 1e-3, "factor": (1, 1), "shear": 0.0, "shift": 0.0, "elastic": 0.0}
    np.testing.assert_allclose(centroids(drawn("deformation", images, **still)), [place] * COUNT, atol=0.05)
    turned = centroids(drawn("deformation", images, **{**still, "degrees": 40}))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), place[0], atol=0.1)
    assert np.degrees(np.arccos(turned[:, 0] / np.linalg.norm(turned, axis=1))).max() <= 41
    larger = centroids(drawn("deformation", images, **{**still, "factor": (0.8, 1.25)}))
    assert_uniform(larger[:, 0] / place[0], 0.8, 1.25, slack=0.03)
    shifted = centroids(drawn("deformation", images, **{**still, "shift": 0.1})) - place
    for axis in range(len(spatial)):
        assert_uniform(shifted[:, axis], -0.1 * spatial[0], 0.1 * spatial[0], slack=0.1)


def test_a_shear_moves_along_x_by_a_share_of_y() -> None:
    images = blob((41, 41), (0.0, 6.0)).float().expand(COUNT, 1, 41, 41)
    settings = {"degrees": 1e-3, "factor": (1, 1), "shift": 0.0, "elastic": 0.0, "shear": 0.5}
    moved = centroids(drawn("deformation", images, **settings))
    # the diagonal's terms are kept at 1
    np.testing.assert_allclose(moved[:, 1], 6, atol=0.05)
    assert_uniform(moved[:, 0], -3, 3, slack=0.05)


@pytest.mark.parametrize("spatial", [(31, 31), (15, 15, 15)])
def test_bending_moves_neighbours_alike_and_distant_places_apart(spatial: tuple[int, ...]) -> None:
    settings = {"degrees": 1e-3, "factor": (1, 1), "shift": 0.0, "elastic": 0.05}
    reach = 0.3 * spatial[0]
    places = [tuple([at] + [0.0] * (len(spatial) - 1)) for at in (-reach, -reach + 1, reach)]
    blobs = [blob(spatial, place).float().expand(COUNT, 1, *spatial) for place in places]
    moves = [
        centroids(drawn("deformation", images, **settings)) - place
        for images, place in zip(blobs, places, strict=True)
    ]
    spread = np.std(moves[0], axis=0)
    assert (spread > 0.2 * 0.05 * spatial[0]).all()
    assert (spread < 1.5 * 0.05 * spatial[0]).all()
    near = np.corrcoef(moves[0][:, 1], moves[1][:, 1])[0, 1]
    far = np.corrcoef(moves[0][:, 1], moves[2][:, 1])[0, 1]
    assert near > 0.9
    assert abs(far) < 0.4


def test_thickness_widens_and_narrows_a_stroke_by_up_to_its_pixels() -> None:
    stroke = torch.zeros(COUNT, 1, 15, 15)
    stroke[..., 5:10] = 1
    widths = drawn("thickness", stroke, pixels=1.0)[:, 0, 7].sum(dim=1).numpy()
    assert_uniform(widths, 3, 7, slack=1e-5)
    half = drawn("thickness", stroke, pixels=0.5)[:, 0, 7].sum(dim=1).numpy()
    assert_uniform(half, 4, 6, slack=1e-5)


def test_contrast_stretches_about_the_mean_within_its_range() -> None:
    image = torch.full((1, 4, 4), 0.4)
    image[:, :, 2:] = 0.6
    viewed = drawn("contrast", image.expand(COUNT, 1, 4, 4), factor=[0.5, 1.5])
    torch.testing.assert_close(viewed.mean(dim=(1, 2, 3)), torch.full((COUNT,), 0.5))
    factors = (viewed[:, 0, 0, 3] - viewed[:, 0, 0, 0]) / 0.2
    assert_uniform(factors.numpy(), 0.5, 1.5, slack=1e-4)


def test_contrast_stays_in_range_by_cutting_off() -> None:
    image = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    viewed = drawn("contrast", image.expand(5, 1, 2, 2), factor=[3, 3])
    assert torch.equal(viewed, image.expand(5, 1, 2, 2))


COLOURS = [(0.8, 0.4, 0.3), (0.2, 0.5, 0.35), (0.5, 0.45, 0.7)]


@pytest.mark.parametrize("colour", COLOURS)
def test_saturation_is_scaled_within_its_range_and_nothing_else(colour: tuple[float, ...]) -> None:
    images = torch.tensor(colour, dtype=torch.float64)[:, None, None].expand(COUNT, 3, 2, 2)
    viewed = drawn("saturation", images, factor=[0.5, 1.4])
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    after = np.array([colorsys.rgb_to_hsv(*image[:, 0, 0].tolist()) for image in viewed])
    np.testing.assert_allclose(after[:, 0], hue, atol=1e-6)
    np.testing.assert_allclose(after[:, 2], value, atol=1e-6)
    assert_uniform(after[:, 1] / saturation, 0.5, 1.4, slack=1e-4)


@pytest.mark.parametrize("degrees", [30, 180])
@pytest.mark.parametrize("colour", COLOURS)
def test_hue_is_turned_within_its_degrees_and_nothing_else(colour: tuple[float, ...], degrees: float) -> None:
    images = torch.tensor(colour, dtype=torch.float64)[:, None, None].expand(COUNT, 3, 2, 2)
    viewed = drawn("hue", images, degrees=degrees)
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    after = np.array([colorsys.rgb_to_hsv(*image[:, 0, 0].tolist()) for image in viewed])
    np.testing.assert_allclose(after[:, 1], saturation, atol=1e-6)
    np.testing.assert_allclose(after[:, 2], value, atol=1e-6)
    turned = 360 * ((after[:, 0] - hue + 0.5) % 1 - 0.5)
    assert_uniform(turned, -degrees, degrees, slack=0.01)


def test_blur_has_a_standard_deviation_of_its_own_within_its_range() -> None:
    """A blurred point is the kernel itself: its neighbour is exp(-1 / (2 sigma^2)) of its middle."""
    point = torch.zeros(1, 31, 31, dtype=torch.float64)
    point[0, 15, 15] = 1
    viewed = drawn("blur", point.expand(COUNT, 1, 31, 31), sigma=[0.4, 2.0])[:, 0].numpy()
    sigmas = [
        np.sqrt(-0.5 / np.log(neighbour / viewed[:, 15, 15]))
        for neighbour in (viewed[:, 15, 16], viewed[:, 16, 15])
    ]
    np.testing.assert_allclose(sigmas[0], sigmas[1])  # round
    assert_uniform(sigmas[0], 0.4, 2.0, slack=1e-4)
    np.testing.assert_allclose(viewed.sum(axis=(1, 2)), 1)


def test_blur_is_the_loop_over_a_gaussians_weights() -> None:
    image = smooth((2, 9, 12)).double()
    viewed = drawn("blur", image[None], sigma=[1.2, 1.2])[0]
    reach = 4  # three standard deviations
    padded = np.pad(image.numpy(), ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    weights = np.array([math.exp(-(k**2) / (2 * 1.2**2)) for k in range(-reach, reach + 1)])
    weights /= weights.sum()
    expected = np.zeros_like(image.numpy())
    for row, column in np.ndindex(9, 12):
        for i, j in np.ndindex(2 * reach + 1, 2 * reach + 1):
            expected[:, row, column] += weights[i] * weights[j] * padded[:, row + i, column + j]
    np.testing.assert_allclose(viewed, expected, atol=1e-9)


@pytest.mark.parametrize("degrees", [45.0, 60.0])
def test_a_wedge_is_what_tilts_would_leave_out_in_a_direction_of_its_own(degrees: float) -> None:
    """Of a point's frequencies, which are all alike, it takes the share that tilts do not reach, and only that."""
    point = torch.zeros(1, 17, 17, 17, dtype=torch.float64)
    point[0, 0, 0, 0] = 1
    viewed = drawn("wedge", point.expand(20, 1, 17, 17, 17), degrees=degrees)
    spectra = torch.fft.fftshift(torch.fft.fftn(viewed[:, 0], dim=(1, 2, 3)), dim=(1, 2, 3))
    assert ((spectra.abs() - 1).abs() < 1e-9).logical_or(spectra.abs() < 1e-9).all()
    axis = torch.arange(-8, 9)
    k = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1]).reshape(3, -1).double()
    ball = k.norm(dim=0) <= 8
    lost = (spectra.abs() < 0.5).reshape(20, -1)[:, ball].double()
    assert lost.mean().item() == pytest.approx(1 - degrees / 90, abs=0.02)
    # A wedge is widest along the beam: the mean of k k' over what is lost has its largest axis there.
    moments = torch.einsum("bk,ik,jk->bij", lost, k[:, ball], k[:, ball]) / lost.sum(dim=1)[:, None, None]
    beams = torch.linalg.eigh(moments).eigenvectors[:, :, -1]
    angles = (beams @ beams.T).abs()[tuple(torch.triu_indices(20, 20, offset=1))]
    assert angles.min() < 0.2
    assert angles.max() > 0.8
    assert spectra[:, 8, 8, 8].abs().min() > 0.5


@pytest.mark.parametrize("name", ["rotation", "translation", "scale"])
def test_nearest_interpolation_makes_no_new_values(name: str) -> None:
    """The default, bilinear, does."""
    images = (torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    nearest, bilinear = drawn(name, images, interpolation="nearest"), drawn(name, images)
    assert set(nearest.unique().tolist()) == {0.0, 1.0}
    assert len(bilinear.unique()) > 100


# ---- what is refused


@pytest.mark.parametrize("name", COLOUR)
@pytest.mark.parametrize("channels", [1, 4])
def test_colour_views_refuse_what_has_no_colours(name: str, channels: int) -> None:
    with pytest.raises(RecipeError, match=f"the view {name} changes colours.*{channels} channel"):
        view_of(name).check((channels, 16, 16))


@pytest.mark.parametrize("name", [name for name in OF_PICTURES if name not in GEOMETRIC])
def test_views_of_pictures_refuse_volumes(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"the view {name} is for pictures; .*\(3, 8, 8, 8\)"):
        view_of(name).check((3, 8, 8, 8))


def test_views_of_volumes_refuse_pictures() -> None:
    with pytest.raises(RecipeError, match=r"the view wedge is for volumes; .*\(1, 8, 8\)"):
        view_of("wedge").check((1, 8, 8))


def test_view_of_takes_a_name_a_mapping_or_a_view() -> None:
    rotation = view_of("rotation")
    assert rotation == view_of({"name": "rotation"})
    assert view_of(rotation) is rotation
    assert view_of({"name": "rotation", "degrees": 30}).model_dump() == {
        "name": "rotation",
        "per": "sample",
        "degrees": 30,
        "interpolation": "bilinear",
    }


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ("rotatoin", "no view is called rotatoin; did you mean rotation"),
        ({"name": "xyz"}, "no view is called xyz; known are blur, contrast, deformation"),
        ({"degrees": 30}, "a view is a mapping with a name"),
        (30, "a view is a mapping with a name.* not 30"),
        (None, "a view is a mapping with a name"),
    ],
)
def test_view_of_says_what_a_view_is(stated: Any, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        view_of(stated)


@pytest.mark.parametrize(
    "stated",
    [
        {"name": "rotation", "degree": 30},
        {"name": "rotation", "degrees": 0},
        {"name": "rotation", "degrees": 181},
        {"name": "rotation", "per": "image"},
        {"name": "rotation", "interpolation": "cubic"},
        {"name": "translation", "fraction": 1.5},
        {"name": "scale", "factor": [1.3, 0.7]},
        {"name": "scale", "factor": [1.0]},
        {"name": "hue", "degrees": -10},
        {"name": "blur", "sigma": "wide"},
        {"name": "deformation", "elastic": -0.1},
        {"name": "deformation", "control_points": 1},
        {"name": "thickness", "pixels": 2},
        {"name": "wedge", "degrees": 90},
    ],
)
def test_wrong_settings_are_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        view_of(stated)


@pytest.mark.parametrize(
    "stated",
    [
        {"name": "scale", "factor": [0, 1]},
        {"name": "scale", "factor": [-1, 1]},
        {"name": "blur", "sigma": [0, 1]},
        {"name": "contrast", "factor": [-1, 1]},
        {"name": "saturation", "factor": [-1, 1]},
    ],
)
def test_factors_that_turn_an_image_inside_out_are_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        view_of(stated)


def test_a_view_does_not_change_after_reading() -> None:
    view: View = view_of("scale")
    with pytest.raises(ValidationError):
        view.per = "batch"  # type: ignore[misc]
