from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dualcontrast.images.preparation import Preparation, normalise, outside_sphere, soft_sphere


def distances(box: int) -> np.ndarray:
    return np.linalg.norm(np.indices((box,) * 3) - box // 2, axis=0)


def blob(box: int, place: np.ndarray, width: float = 1.2) -> np.ndarray:
    """A Gaussian at a place (x, y, z) relative to the voxel N // 2."""
    z, y, x = np.indices((box,) * 3) - box // 2
    squared = (x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2
    return np.asarray(np.exp(-squared / (2 * width**2)))


def prepared(volumes: np.ndarray, preparation: Preparation) -> np.ndarray:
    """Prepare volumes (N, z, y, x)."""
    tensor = torch.from_numpy(volumes.astype(np.float32))[:, None]
    return preparation(tensor, np.arange(len(volumes)))[:, 0].numpy()


def posed(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return Rotation.random(count, random_state=rng).as_matrix(), rng.uniform(-2, 2, (count, 3))


def preparation_by(box: int, matrices: np.ndarray, offsets: np.ndarray, factor: int = 1) -> Preparation:
    turns, shifts = torch.from_numpy(matrices).float(), torch.from_numpy(offsets).float()
    return Preparation(box, False, factor, turns, shifts)


def aligned_slowly(volume: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """aligned(p) = particle(A p + offset) about N // 2, by scipy; zeros come in from outside."""
    centre = np.full(3, len(volume) // 2)
    turn = matrix[::-1, ::-1]  # acts on (z, y, x)
    start = centre - turn @ centre + offset[::-1]
    return np.asarray(ndimage.affine_transform(volume, turn, start, order=1, mode="grid-constant"))


def covered_slowly(box: int, factor: int, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Which voxels of the aligned and binned volume come from within the stored one."""
    size = box // factor
    covered = np.zeros((size,) * 3, bool)
    for z, y, x in np.ndindex(covered.shape):
        place = matrix @ (factor * (np.array([x, y, z]) - size // 2)) + offset + box // 2
        covered[z, y, x] = (place >= 0).all() and (place <= box - 1).all()
    return covered


# ---- normalising


@pytest.mark.parametrize("box", [8, 9, 16])
def test_the_background_is_brought_to_mean_0_and_deviation_1(box: int, rng: np.random.Generator) -> None:
    volumes = rng.normal(50, 7, (3, box, box, box)) + 100 * (distances(box) < box / 4)
    outside = distances(box) > box / 2 - 1
    done = prepared(volumes, Preparation(box))
    for volume, result in zip(volumes, done, strict=True):
        background = volume[outside]
        expected = (volume - background.mean()) / background.std()
        np.testing.assert_allclose(result, expected, atol=1e-4)
        assert result[outside].mean() == pytest.approx(0, abs=1e-4)
        assert result[outside].std() == pytest.approx(1, abs=1e-4)


def test_dark_becomes_white(rng: np.random.Generator) -> None:
    volumes = rng.normal(5, 2, (2, 8, 8, 8))
    np.testing.assert_allclose(
        prepared(volumes, Preparation(8, invert=True)), -prepared(volumes, Preparation(8)), atol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 3.7, -1e4])
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_a_constant_background_becomes_nan(
    value: float, factor: int, aligned: bool, rng: np.random.Generator
) -> None:
    volumes = np.stack([np.full((8, 8, 8), value) + rng.random((8, 8, 8)) * (distances(8) < 2)] * 2)
    volumes[1] += rng.normal(size=(8, 8, 8))
    preparation = preparation_by(8, *posed(2, rng), factor) if aligned else Preparation(8, bin=factor)
    done = prepared(volumes, preparation)
    assert np.isnan(done[0]).all()
    assert np.isfinite(done[1]).all()


def test_the_background_lies_outside_the_inscribed_sphere() -> None:
    np.testing.assert_array_equal(outside_sphere(8), distances(8) > 3)
    np.testing.assert_array_equal(outside_sphere(9), distances(9) > 3.5)


def test_each_volume_may_have_a_background_of_its_own(rng: np.random.Generator) -> None:
    volumes = rng.normal(3, 2, (2, 1, 6, 6, 6))
    where = rng.random((2, 1, 6, 6, 6)) < 0.5
    done = normalise(torch.from_numpy(volumes), torch.from_numpy(where).double()).numpy()
    for volume, mine, result in zip(volumes, where, done, strict=True):
        np.testing.assert_allclose(result, (volume - volume[mine].mean()) / volume[mine].std())


# ---- poses


@pytest.mark.parametrize("box", [12, 11])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_the_pose_is_undone_as_a_slow_reference_does_it(box: int, mean: float, rng: np.random.Generator) -> None:
    matrices, offsets = posed(4, rng)
    volumes = mean + rng.normal(size=(4, box, box, box))
    done = prepared(volumes, preparation_by(box, matrices, offsets))
    outside = distances(box) > box / 2 - 1
    for volume, matrix, offset, result in zip(volumes, matrices, offsets, done, strict=True):
        # What comes in from outside is as bright as the background.
        moved = aligned_slowly(volume - volume[outside].mean(), matrix, offset)
        background = moved[outside & covered_slowly(box, 1, matrix, offset)]
        np.testing.assert_allclose(result, (moved - background.mean()) / background.std(), atol=2e-3)


def test_a_particle_comes_back_to_where_its_reference_is(rng: np.random.Generator) -> None:
    box, place = 16, np.array([3.0, -2.0, 1.0])
    matrices, offsets = posed(5, rng)
    volumes = np.stack(
        [blob(box, matrix @ place + offset) for matrix, offset in zip(matrices, offsets, strict=True)]
    )
    volumes += 1e-3 * rng.normal(size=volumes.shape)
    for result in prepared(volumes, preparation_by(box, matrices, offsets)):
        brightest = np.array(np.unravel_index(result.argmax(), result.shape))[::-1] - box // 2
        np.testing.assert_array_equal(brightest, place)
    opposite = prepared(volumes, preparation_by(box, matrices.transpose(0, 2, 1), offsets))
    brightest = np.array([np.unravel_index(result.argmax(), result.shape) for result in opposite])
    assert (brightest[:, ::-1] - box // 2 == place).all(axis=1).mean() < 0.5


def test_noise_has_one_strength_however_it_is_turned(rng: np.random.Generator) -> None:
    matrices = Rotation.from_euler("zx", [[0, 0], [45, 0], [45, 35]], degrees=True).as_matrix()
    noise = rng.normal(size=(3, 24, 24, 24))
    done = prepared(noise, preparation_by(24, matrices, np.zeros((3, 3))))
    # Were the corners counted that nothing was turned into, it would be 1.2 at 45 degrees.
    np.testing.assert_allclose(done[:, distances(24) < 11].std(axis=1), 1, atol=0.05)


def test_spectra_turn_with_their_volumes(rng: np.random.Generator) -> None:
    matrices, offsets = posed(3, rng)
    spectra = rng.random((3, 8, 8, 8))
    turned = preparation_by(8, matrices, offsets).rotate_spectra(torch.from_numpy(spectra).float(), np.arange(3))
    for spectrum, matrix, result in zip(spectra, matrices, turned, strict=True):
        np.testing.assert_allclose(result, aligned_slowly(spectrum, matrix, np.zeros(3)), atol=1e-5)


# ---- binning and masks


@pytest.mark.parametrize(("box", "factor"), [(16, 2), (12, 3)])
@pytest.mark.parametrize("aligned", [False, True])
def test_binning_keeps_the_centre_and_normalises_afterwards(
    box: int, factor: int, aligned: bool, rng: np.random.Generator
) -> None:
    size = box // factor
    matrices, offsets = posed(2, rng)
    offsets *= aligned
    centre = [blob(box, offset, factor) for offset in offsets]
    volumes = 100 * np.stack(centre) + rng.normal(40, 5, (2, box, box, box))
    preparation = preparation_by(box, matrices, offsets, factor) if aligned else Preparation(box, bin=factor)
    done = prepared(volumes, preparation)
    assert done.shape == (2, size, size, size)
    for matrix, offset, result in zip(matrices, offsets, done, strict=True):
        assert np.unravel_index(result.argmax(), result.shape) == (size // 2,) * 3
        outside = distances(size) > size / 2 - 1
        if aligned:
            outside &= covered_slowly(box, factor, matrix, offset)
        assert result[outside].mean() == pytest.approx(0, abs=1e-4)
        assert result[outside].std() == pytest.approx(1, abs=1e-4)


def test_a_soft_sphere_falls_by_a_cosine() -> None:
    mask, distance = soft_sphere(32).numpy(), distances(32)
    assert (mask[distance <= 10] == 1).all()
    np.testing.assert_allclose(mask[distance >= 15], 0, atol=1e-7)
    assert mask[16, 16, 16 + 12] == pytest.approx(0.5 * (1 + np.cos(np.pi * 2 / 5)), abs=1e-6)
    assert soft_sphere(8).max() == 1


def test_the_mask_comes_last(rng: np.random.Generator) -> None:
    mask = rng.random((8, 8, 8))
    volumes = rng.normal(9, 3, (2, 8, 8, 8))
    masked = prepared(volumes, Preparation(8, mask=torch.from_numpy(mask).float()))
    np.testing.assert_allclose(masked, mask * prepared(volumes, Preparation(8)), atol=1e-5)
