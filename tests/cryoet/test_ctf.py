"""CTF, wedge and filters against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume, low_pass, wedge_volume
from dualcontrast.transforms.fourier import filtered


def test_wavelength_at_300_kv() -> None:
    assert CTFSettings().wavelength == pytest.approx(0.0196875, rel=1e-4)


def test_ctf_at_zero_frequency_is_the_amplitude_contrast() -> None:
    settings = CTFSettings(amplitude_contrast=0.07)
    assert settings.at(np.array([0.0]))[0] == pytest.approx(0.07)


def test_ctf_is_positive_before_its_first_zero_and_then_turns_over() -> None:
    settings = CTFSettings(defocus=50_000, spherical_aberration=0, amplitude_contrast=0)
    first_zero = 1 / math.sqrt(settings.wavelength * settings.defocus)
    below, above = settings.at(np.array([0.9 * first_zero, 1.1 * first_zero]))
    assert below > 0 > above
    assert settings.at(np.array([first_zero]))[0] == pytest.approx(0, abs=1e-9)


def test_spherical_aberration_works_against_underfocus() -> None:
    k = np.array([1 / 3.0])
    plain = CTFSettings(defocus=10_000, spherical_aberration=0, amplitude_contrast=0)
    settings = CTFSettings(defocus=10_000, spherical_aberration=2.0, amplitude_contrast=0)
    wavelength = settings.wavelength
    phase = math.pi * wavelength * 10_000 * k**2 - 0.5 * math.pi * 2e7 * wavelength**3 * k**4
    assert settings.at(k) == pytest.approx(np.sin(phase))
    assert settings.at(k) != pytest.approx(plain.at(k))


@pytest.mark.parametrize("box", [8, 9])
def test_ctf_volume_has_zero_frequency_in_the_middle(box: int) -> None:
    settings = CTFSettings()
    volume = ctf_volume(box, 10.0, settings)
    middle = box // 2
    assert volume[middle, middle, middle] == pytest.approx(settings.amplitude_contrast)
    for z, y, x in [(0, 0, 0), (middle, 1, middle + 1), (2, 3, 4)]:
        radius = math.sqrt((z - middle) ** 2 + (y - middle) ** 2 + (x - middle) ** 2)
        assert volume[z, y, x] == pytest.approx(settings.at(np.array(radius / (box * 10.0))))


@pytest.mark.parametrize("tilt_range", [40, 60, 90])
def test_wedge_is_what_the_tilts_measure(tilt_range: float) -> None:
    box = 12
    wedge = wedge_volume(box, tilt_range)
    for z, y, x in np.ndindex(box, box, box):
        k_z, k_x = z - box // 2, x - box // 2
        tilt = 0.0 if k_z == 0 else math.degrees(math.atan2(abs(k_z), abs(k_x)))
        assert wedge[z, y, x] == (tilt <= tilt_range + 1e-6)


def test_wedge_leaves_out_the_beams_direction() -> None:
    wedge = wedge_volume(16, 60)
    assert wedge[12, 8, 8] == 0  # along the beam
    assert wedge[8, 12, 8] == wedge[8, 8, 12] == wedge[8, 8, 8] == 1


@pytest.mark.parametrize("box", [6, 7])
def test_filtered_is_a_product_in_fourier_space(box: int) -> None:
    rng = np.random.default_rng(0)
    volumes = rng.normal(size=(3, box, box, box))
    transfer = ctf_volume(box, 10.0, CTFSettings())
    slow = [np.fft.ifftn(np.fft.fftn(volume) * np.fft.ifftshift(transfer)).real for volume in volumes]
    fast = filtered(torch.from_numpy(volumes), torch.from_numpy(transfer))
    np.testing.assert_allclose(fast, slow, atol=1e-10)


def test_low_pass_is_one_within_and_zero_beyond() -> None:
    mask = low_pass(32, 16)
    z, y, x = np.indices(mask.shape) - 16
    radius = np.sqrt(z**2 + y**2 + x**2)
    assert (mask[radius <= 0.9 * 16] == 1).all()
    np.testing.assert_allclose(mask[radius >= 16], 0, atol=1e-12)
    between = mask[(radius > 14.5) & (radius < 15.9)]
    assert ((between > 0) & (between < 1)).all()
