"""The swap score of methods whose answer is known by construction.

An image shows one of three shapes (content) at one of 25 places (transformation).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from dualcontrast.analysis import swap
from dualcontrast.analysis.swap import can_swap, describe_swap, swap_score
from dualcontrast.errors import MethodError, SourceError
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import Batch, Codes, Method

SHAPES = torch.zeros(3, 5, 5)
SHAPES[0, 2] = SHAPES[1, :, 2] = 1
SHAPES[2] = torch.eye(5)
PLACES = 5


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three plain shapes are learnt in a quarter of the steps that digits take."""
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 150)


def drawn(shape: Tensor, place: Tensor) -> Tensor:
    """Draw shapes (B,) at places (B,) of a 5 x 5 lattice, (B, 1, 16, 16)."""
    images = torch.zeros(len(shape), 1, 16, 16)
    for image, kind, where in zip(images, shape.long(), place.long(), strict=True):
        y, x = divmod(int(where), PLACES)
        image[0, 2 * y : 2 * y + 5, 2 * x : 2 * x + 5] = SHAPES[kind]
    return images


@cache
def toy(count: int = 400) -> ArrayImages:
    rng = np.random.default_rng(0)
    shape, place = rng.integers(3, size=count), rng.integers(PLACES**2, size=count)
    images = drawn(torch.from_numpy(shape), torch.from_numpy(place)).numpy()
    split = np.where(np.arange(count) < count // 2, "train", "test")
    return ArrayImages(images, "toy", pd.DataFrame({"row": np.arange(count), "split": split, "content": shape}))


class Known(Method):
    """Reads shape and place off the image exactly; subclasses decode as they like."""

    def encode(self, batch: Batch) -> Codes:
        everything = [(kind, place) for kind in range(3) for place in range(PLACES**2)]
        kinds, places = (torch.tensor(numbers) for numbers in zip(*everything, strict=True))
        distances = torch.cdist(batch.images.flatten(1), drawn(kinds, places).flatten(1))
        best = distances.argmin(dim=1)
        return Codes(kinds[best][:, None].float(), places[best][:, None].float())

    def decode(self, codes: Codes) -> Tensor:
        return drawn(codes.content[:, 0], codes.transformation[:, 0])


class IgnoresTransformation(Known):
    def decode(self, codes: Codes) -> Tensor:
        return drawn(codes.content[:, 0], torch.full((len(codes.content),), 12))


class IgnoresContent(Known):
    """Its z holds everything."""

    def encode(self, batch: Batch) -> Codes:
        content, place = super().encode(batch)
        return Codes(content, torch.cat([content * 100, place], dim=1))

    def decode(self, codes: Codes) -> Tensor:
        return drawn(codes.transformation[:, 0] / 100, codes.transformation[:, 1])


def test_codes_that_are_apart_keep_both() -> None:
    score = swap_score(Known(), toy())
    assert score["classifier_real"] > 0.97
    assert score["content_kept"] > 0.97
    assert score["content_of_z_source"] < 0.03
    # some of the 100 candidates stand at the same place, and share the credit
    assert score["transformation_kept"] > 10 * score["transformation_kept_chance"]
    assert 0.2 < score["transformation_effect"] < 1.2
    assert (score["hybrids"], score["classes"], score["split"]) == (200, 3, "test")


def test_a_decoder_that_ignores_z_is_found_out() -> None:
    score = swap_score(IgnoresTransformation(), toy())
    assert score["content_kept"] > 0.95
    assert score["transformation_effect"] == 0
    assert score["transformation_kept"] < 0.1


def test_a_decoder_that_ignores_c_shows_the_other_content() -> None:
    score = swap_score(IgnoresContent(), toy())
    assert score["content_of_z_source"] > 0.97
    assert score["content_kept"] < 0.03
    assert score["transformation_effect"] == pytest.approx(1)


def test_the_score_is_seeded_and_leaves_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    first = swap_score(Known(), toy(), hybrids=50)
    assert torch.equal(torch.get_rng_state(), state)
    assert swap_score(Known(), toy(), hybrids=50) == first


def test_what_cannot_be_scored_is_refused() -> None:
    class Silent(Known):
        has_decoder = False
        decode = Method.decode

    with pytest.raises(MethodError, match="Silent has no decoder"):
        swap_score(Silent(), toy())
    one_class = toy().select(np.flatnonzero(toy().table["content"] == 1))
    assert not can_swap(one_class)
    with pytest.raises(SourceError, match="at least two classes"):
        swap_score(Known(), one_class)


def test_the_score_is_told_in_sentences() -> None:
    told = " ".join(describe_swap(swap_score(Known(), toy(), hybrids=50)))
    assert "50 hybrids" in told
    assert "chance 2.0 %" in told
