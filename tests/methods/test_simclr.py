"""SimCLR, without a decoder and with one: its objectives, and that codes of content leave views alone."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.errors import MethodError
from dualcontrast.evaluation.swap import require_decoder
from dualcontrast.methods import Batch, Codes, Method
from dualcontrast.methods.simclr import SimCLR, SimCLRGenerative
from dualcontrast.networks import Encoder
from dualcontrast.recipe import recipe_of

SHAPES = [(1, 12, 12), (3, 12, 14), (1, 16, 16, 16)]
GREY = SHAPES[0]
COUNT = 5
NAMES = ["simclr", "simclr_generative"]


def method_of(name: str, shape: tuple[int, ...] = GREY, **settings: Any) -> Method:
    torch.manual_seed(0)
    sizes = {"content_size": 4, "transformation_size": 3}
    network = {"decoder": {"code_width": 8, "hidden": [16]}}
    return recipe_of({"method": {"name": name, **sizes, **settings}, "network": network}).build(shape)


def batch_of(shape: tuple[int, ...] = GREY) -> Batch:
    return Batch.of(torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(1)))


def fixed_view(method: Method, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Draw T(x) once, and make it the view that the method sees."""
    view = method.view(images)
    monkeypatch.setattr(method, "view", lambda _: view)
    return view


def cosine(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True)) / math.hypot(*first) / math.hypot(*second)


def slow_info_nce(first: list[list[float]], second: list[list[float]], temperature: float) -> float:
    """Equation 1 of SimCLR for each of the 2B codes, pair by pair."""
    codes = first + second
    total = 0.0
    for i, code in enumerate(codes):
        partner = codes[(i + len(first)) % len(codes)]
        others = [math.exp(cosine(code, other) / temperature) for k, other in enumerate(codes) if k != i]
        total -= math.log(math.exp(cosine(code, partner) / temperature) / sum(others))
    return total / len(codes)


def slow_contrast(method: Method, images: Tensor, view: Tensor, temperature: float) -> tuple[float, float]:
    """Return InfoNCE(c, c_pos) and L_sim(z, z_neg), with each image encoded alone."""
    of_x, of_view = ([method.encode(Batch.of(one[None])) for one in some] for some in (images, view))
    c, c_pos = ([codes.content[0].tolist() for codes in some] for some in (of_x, of_view))
    z, z_neg = ([codes.transformation[0].tolist() for codes in some] for some in (of_x, of_view))
    similarities = [abs(cosine(a, b)) for a, b in zip(z, z_neg, strict=True)]
    return slow_info_nce(c, c_pos, temperature), sum(similarities) / len(similarities)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("temperature", [0.5, 0.1])
@pytest.mark.parametrize("name", NAMES)
def test_the_contrast_is_infonce_on_content_and_similarity_on_transformation(
    name: str, temperature: float, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, batch = method_of(name, shape, temperature=temperature, transformation_negative=3.0), batch_of(shape)
    view = fixed_view(method, batch.images, monkeypatch)
    infonce, similarity = slow_contrast(method, batch.images, view, temperature)
    losses = method(batch)
    assert losses.parts["content_infonce"].item() == pytest.approx(infonce, rel=1e-4)
    assert losses.parts["transformation_negative"].item() == pytest.approx(similarity, rel=1e-4)
    assert (losses.weights["content_infonce"], losses.weights["transformation_negative"]) == (1, 3)


def test_without_a_decoder_the_contrast_is_the_whole_objective() -> None:
    assert method_of("simclr")(batch_of()).parts.keys() == {"content_infonce", "transformation_negative"}


@pytest.mark.parametrize("vae_on_views", [True, False])
def test_with_a_decoder_the_rest_is_the_two_latent_vae(
    vae_on_views: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"gamma_c": 0.02, "gamma_z": 0.3, "vae_on_views": vae_on_views}
    method, vae = (method_of(name, **weights) for name in ("simclr_generative", "two_latent_vae"))
    vae.load_state_dict(method.state_dict())
    batch = batch_of()
    view = fixed_view(method, batch.images, monkeypatch)
    monkeypatch.setattr(vae, "view", lambda _: view)
    totals = []
    for each in (method, vae):
        torch.manual_seed(2)
        totals.append(each(batch).total.item())
    contrast = sum(slow_contrast(method, batch.images, view, 0.5))
    assert totals[0] == pytest.approx(totals[1] + contrast, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_is_that_of_the_other_methods_and_passed_once(name: str) -> None:
    method = method_of(name)
    assert isinstance(method, SimCLR | SimCLRGenerative)
    assert isinstance(method.encoder, Encoder)
    passes: list[int] = []
    method.encoder.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    method(batch_of())
    assert passes == [2 * COUNT]


def test_no_decoder_is_built_and_what_needs_one_is_refused() -> None:
    method = method_of("simclr")
    assert not method.has_decoder
    assert all(name.startswith("encoder.") for name in method.state_dict())
    refusal = "SimCLR has no decoder, so it cannot generate images; choose a method"
    with pytest.raises(MethodError, match=refusal):
        method.decode(Codes(torch.zeros(1, 4), torch.zeros(1, 3)))
    with pytest.raises(MethodError, match=refusal):
        require_decoder(method)
    require_decoder(method_of("simclr_generative"))


@pytest.mark.parametrize("name", NAMES)
def test_pairs_are_those_of_the_objective(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = method_of(name), batch_of()
    view = fixed_view(method, batch.images, monkeypatch)
    positive, negative = method.pairs(batch)
    assert torch.equal(positive.first, batch.images)
    assert torch.equal(positive.second, view)
    assert torch.equal(negative.first, batch.images)
    for one, other in zip(negative.first, negative.second, strict=True):
        assert not torch.equal(one, other)
        assert any(torch.equal(other, image) for image in batch.images)


# ---- it learns what it claims


def digits(shared_data: Path, count: int) -> Tensor:
    with gzip.open(shared_data / "mnist/train-images-idx3-ubyte.gz") as stream:
        pixels = np.frombuffer(stream.read(16 + count * 784), np.uint8, offset=16)
    return torch.from_numpy(pixels.astype(np.float32)).reshape(count, 1, 28, 28) / 255


def found_again(method: Method, images: Tensor, views: Tensor) -> float:
    """Return how often a view's content code is nearest to that of its own image, among all images."""
    with torch.no_grad():
        codes, of_views = (F.normalize(method.encode(Batch.of(some)).content, dim=1) for some in (images, views))
    nearest = (of_views @ codes.T).argmax(dim=1)
    return float((nearest == torch.arange(len(images))).float().mean())


@pytest.mark.parametrize("name", NAMES)
def test_codes_of_content_become_invariant_to_views(name: str, shared_data: Path) -> None:
    torch.manual_seed(0)
    network = {"encoder": {"channels": [16, 32]}, "decoder": {"code_width": 64, "hidden": [128]}}
    method = recipe_of({"method": {"name": name}, "network": network}).build((1, 28, 28))
    images = digits(shared_data, 1200)
    training, unseen = images[:1000], images[1000:]
    views = method.view(unseen)
    before = found_again(method, unseen, views)
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    infonce: list[float] = []
    for _ in range(250):
        losses = method(Batch.of(training[torch.randint(len(training), (100,))]))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        infonce.append(losses.parts["content_infonce"].item())

    assert infonce[0] > 5  # log(2B - 1) = 5.29 where codes say nothing
    assert np.mean(infonce[-20:]) < 4.5
    after = found_again(method, unseen, views)
    assert before < 0.2
    assert after > (0.7 if name == "simclr" else 0.25)  # the image pulls at the codes of the generative one
