from __future__ import annotations

import numpy as np
import pytest
import torch

from dualcontrast.transforms.fourier import fourier_crop, resized, whole_spectrum


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def band_limited(box: int, cutoff: int, rng: np.random.Generator) -> np.ndarray:
    """A sum of waves of fewer than `cutoff` cycles a box along each axis."""
    z, y, x = np.indices((box,) * 3)
    volume = np.zeros((box,) * 3)
    for _ in range(20):
        (kz, ky, kx), phase = rng.integers(1 - cutoff, cutoff, 3), rng.uniform(0, 2 * np.pi)
        volume += rng.normal() * np.cos(2 * np.pi * (kz * z + ky * y + kx * x) / box + phase)
    return volume


@pytest.mark.parametrize(("box", "size"), [(16, 8), (12, 4), (18, 6), (16, 16)])
def test_what_can_be_kept_is_sampled(box: int, size: int, rng: np.random.Generator) -> None:
    volume = 3 + band_limited(box, size // 2, rng)
    factor = box // size
    binned = fourier_crop(torch.from_numpy(volume)[None, None], size)
    assert binned.shape == (1, 1, size, size, size)
    np.testing.assert_allclose(binned[0, 0], volume[::factor, ::factor, ::factor], atol=1e-12)


@pytest.mark.parametrize(("box", "size"), [(8, 4), (12, 4)])
def test_the_frequencies_that_are_left(box: int, size: int, rng: np.random.Generator) -> None:
    volume = rng.normal(size=(box,) * 3)
    binned = fourier_crop(torch.from_numpy(volume), size).numpy()
    z, y, x = np.indices((box,) * 3)
    inside = range(1 - size // 2, size // 2)
    for k in [(kz, ky, kx) for kz in inside for ky in inside for kx in inside]:
        wave = np.exp(-2j * np.pi * (k[0] * z + k[1] * y + k[2] * x) / box)
        expected = (volume * wave).mean()  # the coefficient, written out
        small = wave[:: box // size, :: box // size, :: box // size]
        assert (binned * small).mean() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("box", "size"), [(16, 8), (12, 4), (12, 6)])
def test_the_centre_stays_the_centre(box: int, size: int) -> None:
    z, y, x = np.indices((box,) * 3) - box // 2
    blob = torch.from_numpy(np.exp(-(z**2 + y**2 + x**2) / (2 * (box / size) ** 2)))
    binned = fourier_crop(blob, size)
    assert np.unravel_index(int(binned.argmax()), binned.shape) == (size // 2,) * 3
    at = size // 2
    for axis in range(3):  # and lies evenly about it
        left, right = (binned.select(axis, at + step).sum() for step in (-1, 1))
        assert left == pytest.approx(float(right), rel=1e-6)


def even(box: int, rng: np.random.Generator) -> np.ndarray:
    """A real spectrum in FFTW's order with no symmetry but F(-k) = F(k)."""
    spectrum = rng.random((box,) * 3)
    opposite = -np.arange(box) % box
    return (spectrum + spectrum[np.ix_(opposite, opposite, opposite)]) / 2


@pytest.mark.parametrize("box", [6, 8, 7])
def test_a_half_spectrum_becomes_whole(box: int, rng: np.random.Generator) -> None:
    spectrum = even(box, rng)
    assert not np.allclose(spectrum, spectrum[:, ::-1])
    half = torch.from_numpy(spectrum[..., : box // 2 + 1])
    whole = whole_spectrum(half)
    np.testing.assert_array_equal(whole, np.fft.fftshift(spectrum))
    assert whole[(box // 2,) * 3] == spectrum[0, 0, 0]
    np.testing.assert_array_equal(whole_spectrum(torch.stack([half, 2 * half]))[1], 2 * whole)


@pytest.mark.parametrize(("box", "size"), [(8, 16), (6, 18), (8, 8)])
def test_padding_samples_the_same_waves_more_finely(box: int, size: int, rng: np.random.Generator) -> None:
    fine = 3 + band_limited(size, box // 2, rng)
    factor = size // box
    coarse = torch.from_numpy(fine[::factor, ::factor, ::factor].copy())[None]
    np.testing.assert_allclose(resized(coarse, size)[0], fine, atol=1e-12)
