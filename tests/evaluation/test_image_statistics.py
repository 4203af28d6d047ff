from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from dualcontrast.evaluation.image_statistics import statistics_of, trivial_statistics
from dualcontrast.images.arrays import ArrayImages


def slow_statistics(image: np.ndarray) -> list[float]:
    """Measure one image (C, spatial...) pixel by pixel."""
    spatial = image.shape[1:]
    centre = [(n - 1) / 2 if len(spatial) == 2 else n // 2 for n in spatial]
    figures = []
    for channel in image.astype(float):
        lowest = min(channel[place] for place in np.ndindex(spatial))
        mass, moment = 0.0, np.zeros(len(spatial))
        shells: list[list[float]] = [[] for _ in range(min(spatial) // 2)]
        for place in np.ndindex(spatial):
            offset = np.array(place) - centre
            mass += channel[place] - lowest
            moment += (channel[place] - lowest) * offset
            shell = int(np.floor(np.sqrt((offset**2).sum())))
            if shell < len(shells):
                shells[shell].append(channel[place])
        mean = channel.sum() / channel.size
        spread = np.sqrt(((channel - mean) ** 2).sum() / channel.size)
        figures += [mean, spread, *(moment / mass), *(np.mean(shell) for shell in shells)]
    return figures


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 7), (2, 6, 9), (1, 6, 6, 6), (1, 7, 7, 7), (2, 4, 5, 8)])
def test_statistics_are_those_of_a_slow_loop(shape):
    images = np.random.default_rng(0).normal(3, 2, (4, *shape)).astype(np.float32)
    expected = [slow_statistics(image) for image in images]
    measured = trivial_statistics(torch.from_numpy(images))
    assert measured.shape == (4, shape[0] * (2 + len(shape) - 1 + min(shape[1:]) // 2))
    np.testing.assert_allclose(measured, expected, atol=1e-4)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_point_has_its_place_as_centre_of_mass_whatever_the_background(dimensions):
    images = torch.full((1, 1, *[8] * dimensions), -5.0)
    images[(0, 0, 6, 1, 3)[: 2 + dimensions]] = 2.0
    centre = 3.5 if dimensions == 2 else 4
    place = trivial_statistics(images)[0, 2 : 2 + dimensions]
    np.testing.assert_allclose(place, np.array([6, 1, 3][:dimensions]) - centre, atol=1e-5)


def test_an_image_of_one_value_has_its_mass_in_the_centre():
    measured = trivial_statistics(torch.full((1, 1, 4, 4), 0.5))
    np.testing.assert_allclose(measured[0], [0.5, 0, 0, 0, 0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 1, 1), (2, 2, 2)])
def test_the_smallest_images_are_measured(shape):
    measured = trivial_statistics(torch.rand(3, 1, *shape))
    assert measured.shape == (3, 2 + len(shape) + shape[0] // 2)
    assert measured.isfinite().all()


def test_a_set_is_measured_in_batches_in_its_order():
    pixels = np.random.default_rng(0).integers(256, size=(7, 3, 6, 6)).astype(np.uint8)
    images = ArrayImages(pixels, "pixels", pd.DataFrame({"row": np.arange(7)}))
    told = []
    measured = statistics_of(images, batch_size=3, progress=lambda *seen: told.append(seen))
    np.testing.assert_allclose(measured, [slow_statistics(image / 255) for image in pixels], atol=1e-5)
    assert told == [("measuring trivial statistics", done, 7) for done in (3, 6, 7)]
