import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from dualcontrast.evaluation.invariance import images_to_judge, invariance
from dualcontrast.images import ImageSet
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import Batch, Codes, Method


class Pixels(Method):
    """Images of two pixels: content is what a sign flip keeps, transformation is what it turns round."""

    def encode(self, batch: Batch) -> Codes:
        pixels = batch.images.flatten(1)
        return Codes(pixels.abs(), pixels)

    def view(self, images: Tensor) -> Tensor:
        return -images


class Noisy(Pixels):
    """T adds noise."""

    def view(self, images: Tensor) -> Tensor:
        return images + torch.randn_like(images)


def images_of(pixels: np.ndarray, **columns) -> ImageSet:
    table = pd.DataFrame({"row": np.arange(len(pixels)), **columns})
    # Volumes of 1 x 1 x 2 voxels, since pictures must lie between 0 and 1.
    return ArrayImages(pixels.astype(np.float32).reshape(-1, 1, 1, 1, 2), "pixels", table)


def test_cosines_of_codes_that_are_kept_and_turned_round():
    pixels = np.random.default_rng(0).standard_normal((50, 2))
    figures = invariance(Pixels(), images_of(pixels), batch_size=7)
    assert figures["content"] == 1.0
    assert figures["transformation"] == -1.0


def test_random_pairs_are_two_different_images():
    figures = invariance(Pixels(), images_of(np.array([[1.0, 0.0], [0.0, 1.0]])))
    assert figures["content_chance"] == 0.0

    same_way = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    figures = invariance(Pixels(), images_of(same_way))
    assert figures["content_chance"] == figures["transformation_chance"] == 1.0


def test_random_pairs_have_the_mean_cosine_of_all_pairs():
    pixels = np.random.default_rng(0).normal(loc=[1, 0], size=(3000, 2))
    directions = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
    all_pairs = (directions @ directions.T).sum() - len(pixels)
    expected = all_pairs / (len(pixels) * (len(pixels) - 1))
    assert invariance(Pixels(), images_of(pixels))["transformation_chance"] == pytest.approx(expected, abs=0.05)


def test_views_follow_the_seed_and_leave_the_random_state_alone():
    images = images_of(np.random.default_rng(0).standard_normal((20, 2)))
    state = torch.get_rng_state()
    first = invariance(Noisy(), images, seed=1)
    assert first == invariance(Noisy(), images, seed=1)
    assert first["content"] != invariance(Noisy(), images, seed=2)["content"]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("test_images", "judged"), [(0, list(range(10))), (1, list(range(10))), (2, [0, 1]), (3, [0, 1, 2])]
)
def test_test_images_are_judged_where_there_are_two(test_images, judged):
    split = ["test"] * test_images + ["train"] * (10 - test_images)
    chosen = images_to_judge(images_of(np.zeros((10, 2)), split=split))
    assert chosen.table["row"].tolist() == judged


def test_at_most_2000_images_are_judged():
    split = np.where(np.arange(5000) % 2, "test", "train")
    chosen = images_to_judge(images_of(np.zeros((5000, 2)), split=split))
    assert len(chosen) == chosen.table["row"].nunique() == 2000
    assert (chosen.table["split"] == "test").all()
