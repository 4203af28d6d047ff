"""DualContrast: equation 3 and the authors' two steps, against separate passes image by image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from dualcontrast.errors import RecipeError
from dualcontrast.methods import Batch, Codes
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.methods.losses import cross_correlation_loss, info_nce
from dualcontrast.networks import Gaussian
from dualcontrast.recipe import recipe_of

SHAPES = [(1, 12, 12), (3, 12, 14), (1, 16, 16, 16)]
GREY = SHAPES[0]
COUNT, SIZE = 5, 4
PARTS = ["content_positive", "content_negative", "transformation_positive", "transformation_negative"]


def dualcontrast_of(shape: tuple[int, ...] = GREY, preset: str = "paper", **settings: Any) -> DualContrast:
    torch.manual_seed(0)
    method = recipe_of(
        {
            "preset": preset,
            "method": {"content_size": SIZE, "transformation_size": SIZE, **settings},
            "network": {"decoder": {"code_width": 8, "hidden": [16]}},
        }
    ).build(shape)
    assert isinstance(method, DualContrast)
    return method


def batch_of(shape: tuple[int, ...] = GREY) -> Batch:
    return Batch.of(torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """Keep what torch draws, in order, by the name of the source."""
    kept: dict[str, list[Tensor]] = {"randn_like": [], "randn": [], "randperm": []}

    def keeper(name: str) -> Callable[..., Tensor]:
        draw = getattr(torch, name)

        def keep(*args: Any, **kwargs: Any) -> Tensor:
            kept[name].append(draw(*args, **kwargs))
            return kept[name][-1]

        return keep

    for name in kept:
        monkeypatch.setattr(torch, name, keeper(name))
    return kept


def fixed_view(method: DualContrast, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Draw T(x) once, and make it the view that the method sees."""
    view = method.view(images)
    monkeypatch.setattr(method, "view", lambda _: view)
    return view


def cosine(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum() / (first.square().sum().sqrt() * second.square().sum().sqrt())


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum() / len(values)


def passed(method: DualContrast, images: Tensor) -> list[tuple[Gaussian, Gaussian]]:
    """Encode each image in a pass of its own."""
    return [method.encoder(image[None]) for image in images]


def decoded(method: DualContrast, content: Tensor, transformation: Tensor) -> Tensor:
    """Decode one pair of codes (d,), in a pass of its own."""
    return method.decode(Codes(content[None], transformation[None]))[0]


def slow_vae(
    method: DualContrast, images: Tensor, noises: tuple[Tensor, Tensor], authors: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute L_rec and both KL terms of equation 2 of some images, from their rows of the noise."""
    errors: list[Tensor] = []
    kl: tuple[list[Tensor], list[Tensor]] = ([], [])
    for place, (image, posteriors) in enumerate(zip(images, passed(method, images), strict=True)):
        latents = []
        for q, noise, divergences in zip(posteriors, noises, kl, strict=True):
            mu, lv = q.mean[0], q.log_variance[0]
            latents.append(mu + torch.exp(0.5 * lv) * noise[place])
            if authors:
                divergence = (-0.5 - lv + 0.5 * (mu**2 + torch.exp(lv) ** 2)).sum() / image.numel()
            else:
                divergence = 0.5 * (mu**2 + torch.exp(lv) - 1 - lv).sum()
            divergences.append(divergence)
        squares = (decoded(method, *latents) - image) ** 2
        errors.append(squares.sum() / (image.numel() if authors else 2))
    return mean(errors), mean(kl[0]), mean(kl[1])


def slow_objective(
    method: DualContrast, x: Tensor, view: Tensor, drawn: dict[str, list[Tensor]], authors: bool
) -> dict[str, Tensor]:
    """Compute equation 3, or the first of the authors' two steps, in terms that are already weighted."""
    noise_c, noise_z = drawn["randn_like"]
    of_x = slow_vae(method, x, (noise_c[:COUNT], noise_z[:COUNT]), authors)
    of_view = slow_vae(method, view, (noise_c[COUNT:], noise_z[COUNT:]), authors)
    rec, kl_c, kl_z = (a + b for a, b in zip(of_x, of_view, strict=True))

    c, z = zip(*[(q[0].mean[0], q[1].mean[0]) for q in passed(method, x)], strict=True)
    c_pos, z_neg = zip(*[(q[0].mean[0], q[1].mean[0]) for q in passed(method, view)], strict=True)
    negatives = drawn["randperm"][0]
    per = SIZE if authors else 1
    parts = {
        "reconstruction": rec,
        "kl_content": 0.01 * kl_c,
        "kl_transformation": 0.01 * kl_z,
        "content_positive": mean([distance(c[i], c_pos[i], authors) for i in range(COUNT)]) / per,
        "content_negative": mean([cosine(c[i], c[negatives[i]]).abs() for i in range(COUNT)]) / per,
        "transformation_negative": mean([cosine(z[i], z_neg[i]).abs() for i in range(COUNT)]) / per,
    }
    if not authors:
        _, *contents = drawn["randperm"]
        (latents,) = drawn["randn"]
        parts["transformation_positive"] = mean(
            slow_positive_pairs(method, c, contents, (latents[:COUNT], latents[COUNT:]), authors)
        )
    return parts


def slow_positive_pairs(
    method: DualContrast,
    c: tuple[Tensor, ...],
    contents: Sequence[Tensor],
    latents: Sequence[Tensor],
    authors: bool,
) -> list[Tensor]:
    """Compute L_dist of the codes z of dec(c1, z1) and dec(c2, z2), pair by pair."""
    distances = []
    for i in range(COUNT):
        images = [decoded(method, c[which[i]], latent[i]) for which, latent in zip(contents, latents, strict=True)]
        if authors:
            images = [image.detach() for image in images]
        first, second = (method.encoder(image[None])[1].mean[0] for image in images)
        distances.append(distance(first, second, authors))
    return distances


def distance(first: Tensor, second: Tensor, authors: bool) -> Tensor:
    return 1 - cosine(first, second).abs() if authors else (1 - cosine(first, second)).abs()


def gradients(method: DualContrast, total: Tensor) -> dict[str, Tensor | None]:
    method.zero_grad()
    total.backward()
    return {name: p.grad for name, p in method.named_parameters()}


def assert_same_gradients(method: DualContrast, total: Tensor, expected: Tensor) -> None:
    ours, slow = gradients(method, total), gradients(method, expected)
    for name, gradient in slow.items():
        assert (ours[name] is None) == (gradient is None), name
        if gradient is not None:
            torch.testing.assert_close(ours[name], gradient, atol=1e-4, rtol=1e-3, msg=name)


# ---- the objective


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_the_main_objective_and_its_gradients_are_those_of_separate_passes(
    preset: str,
    shape: tuple[int, ...],
    drawn: dict[str, list[Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method, batch = dualcontrast_of(shape, preset), batch_of(shape)
    view = fixed_view(method, batch.images, monkeypatch)
    for kept in drawn.values():
        kept.clear()
    losses = method(batch)
    slow = slow_objective(method, batch.images, view, drawn, authors=preset == "authors-code")
    assert losses.parts.keys() == slow.keys()
    for name, part in slow.items():
        weighted = losses.weights[name] * losses.parts[name].item()
        assert weighted == pytest.approx(part.item(), rel=1e-4, abs=1e-6), name
    expected = torch.stack(list(slow.values())).sum()
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_same_gradients(method, losses.total, expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_authors_second_step_is_that_of_separate_passes_and_teaches_the_encoder_alone(
    shape: tuple[int, ...], drawn: dict[str, list[Tensor]]
) -> None:
    method, batch = dualcontrast_of(shape, "authors-code"), batch_of(shape)
    for kept in drawn.values():
        kept.clear()
    losses = method(batch, "positive")
    (latents,) = drawn["randn"]
    assert latents.shape == (COUNT, SIZE)  # one draw, shared by both decodings
    c = tuple(q[0].mean[0].detach() for q in passed(method, batch.images))
    pairs = slow_positive_pairs(method, c, drawn["randperm"], (latents, latents), authors=True)
    expected = mean(pairs) / SIZE
    assert list(losses.parts) == ["transformation_positive"]
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-4)
    assert_same_gradients(method, losses.total, expected)
    assert all(p.grad is not None for p in method.encoder.parameters())
    assert all(p.grad is None for p in method.decoder.parameters())


def test_each_phase_has_an_optimizer_of_its_own() -> None:
    paper, authors = dualcontrast_of(), dualcontrast_of(preset="authors-code")
    assert paper.phases == ("main",)
    assert authors.phases == ("main", "positive")
    assert authors.parameters_of("main") == list(authors.parameters())
    assert authors.parameters_of("positive") == list(authors.encoder.parameters())
    without = dualcontrast_of(preset="authors-code", transformation_positive=0)
    assert without.phases == ("main",)


@pytest.mark.parametrize("name", PARTS)
def test_a_parts_weight_is_its_factor_in_the_total(name: str) -> None:
    totals, parts = [], []
    for weight in (1.0, 3.0):
        method = dualcontrast_of(**{name: weight})
        torch.manual_seed(2)
        losses = method(batch_of())
        totals.append(losses.total.item())
        parts.append(losses.parts[name].item())
    assert parts[0] == pytest.approx(parts[1])
    assert totals[1] - totals[0] == pytest.approx(2 * parts[0], abs=2e-5)


@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_without_all_contrast_it_is_the_two_latent_vae(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = dualcontrast_of(preset=preset, **dict.fromkeys(PARTS, 0.0))
    network = {"decoder": {"code_width": 8, "hidden": [16]}}
    sizes = {"content_size": SIZE, "transformation_size": SIZE}
    vae = recipe_of({"preset": preset, "method": {"name": "two_latent_vae", **sizes}, "network": network}).build(
        GREY
    )
    vae.load_state_dict(method.state_dict())
    batch = batch_of()
    view = fixed_view(method, batch.images, monkeypatch)
    monkeypatch.setattr(vae, "view", lambda _: view)
    totals = []
    for each in (method, vae):
        torch.manual_seed(2)
        totals.append(each(batch).total.item())
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


# ---- its settings, one by one


def parts_under(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, float]:
    method, batch = dualcontrast_of(**settings), batch_of()
    torch.manual_seed(3)
    fixed_view(method, batch.images, monkeypatch)
    return {name: part.item() for name, part in method(batch).parts.items()}


def test_contrast_per_element_divides_by_the_codes_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, element = (parts_under(monkeypatch, contrast_per=per) for per in ("pair", "element"))
    for name in PARTS:
        assert element[name] == pytest.approx(pair[name] / SIZE)
    assert element["reconstruction"] == pair["reconstruction"]


def test_the_distance_of_lines_takes_an_opposite_code_as_equal() -> None:
    codes = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    other = torch.tensor([[-2.0, 0, 0, 0], [0, 0.5, 0, 0]])
    assert dualcontrast_of(distance="cosine")._distance(codes, other).item() == 1.0  # of 2 and 0
    assert dualcontrast_of(distance="line")._distance(codes, other).item() == 0.0


@pytest.mark.parametrize("positive_latents", ["independent", "shared"])
def test_latents_of_positive_pairs_are_shared_or_not(positive_latents: str) -> None:
    method = dualcontrast_of(positive_latents=positive_latents)
    given: list[tuple[Tensor, Tensor]] = []
    method.decoder.register_forward_pre_hook(lambda _, codes: given.append(codes))
    batch = batch_of()
    method(batch)
    contents, latents = given[1]
    first, second = latents.chunk(2)
    assert torch.equal(first, second) == (positive_latents == "shared")
    of_the_batch = method.encode(batch).content.sort(dim=0).values
    for half in contents.chunk(2):  # every content of the batch, in an order of its own
        torch.testing.assert_close(half.sort(dim=0).values, of_the_batch)
    assert not torch.equal(*contents.chunk(2))


def test_without_views_in_the_vae_only_x_is_reconstructed(
    drawn: dict[str, list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, batch = dualcontrast_of(vae_on_views=False), batch_of()
    fixed_view(method, batch.images, monkeypatch)
    for kept in drawn.values():
        kept.clear()
    losses = method(batch)
    noise_c, noise_z = drawn["randn_like"]
    expected = slow_vae(method, batch.images, (noise_c, noise_z), authors=False)
    for name, part in zip(("reconstruction", "kl_content", "kl_transformation"), expected, strict=True):
        assert losses.parts[name].item() == pytest.approx(part.item(), rel=1e-5)
    assert losses.weights["reconstruction"] == 1
    assert losses.parts["content_positive"].item() > 0  # T(x) still makes pairs


# ---- no pass twice


def passes_of(method: DualContrast, phase: str = "main") -> dict[str, list[int]]:
    """Return how many images each pass of either network had in a forward."""
    passes: dict[str, list[int]] = {"encoder": [], "decoder": []}
    hooks = [
        getattr(method, name).register_forward_pre_hook(lambda _, args, counts=counts: counts.append(len(args[0])))
        for name, counts in passes.items()
    ]
    method(batch_of(), phase)
    for hook in hooks:
        hook.remove()
    return passes


def test_either_network_is_passed_twice_and_no_more() -> None:
    assert passes_of(dualcontrast_of()) == {"encoder": [2 * COUNT] * 2, "decoder": [2 * COUNT] * 2}


@pytest.mark.parametrize("name", PARTS)
def test_only_the_positive_pairs_for_z_need_a_second_pass(name: str) -> None:
    passes = 1 if name == "transformation_positive" else 2
    method = dualcontrast_of(**{name: 0.0})
    assert passes_of(method) == {"encoder": [2 * COUNT] * passes, "decoder": [2 * COUNT] * passes}


def test_a_weight_of_zero_leaves_the_part_out() -> None:
    assert "transformation_positive" not in dualcontrast_of(transformation_positive=0)(batch_of()).parts


def test_the_authors_steps_pass_what_each_needs() -> None:
    method = dualcontrast_of(preset="authors-code")
    assert passes_of(method) == {"encoder": [2 * COUNT], "decoder": [2 * COUNT]}
    assert passes_of(method, "positive") == {"encoder": [COUNT, 2 * COUNT], "decoder": [2 * COUNT]}


def test_views_are_not_encoded_where_nothing_needs_them() -> None:
    method = dualcontrast_of(vae_on_views=False, content_positive=0, transformation_negative=0)
    assert passes_of(method)["encoder"][0] == COUNT


# ---- pairs for the figures, and presets


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pairs_are_those_of_the_objective(
    shape: tuple[int, ...], drawn: dict[str, list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    method, batch = dualcontrast_of(shape), batch_of(shape)
    view = fixed_view(method, batch.images, monkeypatch)
    for kept in drawn.values():
        kept.clear()
    content, negative, transformation = method.pairs(batch)
    assert torch.equal(content.first, batch.images)
    assert torch.equal(content.second, view)
    first, second, others = drawn["randperm"]
    assert torch.equal(negative.first, batch.images)
    assert torch.equal(negative.second, batch.images[others])
    codes = method.encode(batch).content
    latents = drawn["randn"][0].chunk(2)
    for made, order, latent in zip(transformation[1:], (first, second), latents, strict=True):
        torch.testing.assert_close(made, method.decode(Codes(codes[order], latent)))


def test_the_authors_preset_is_what_is_known_of_their_script() -> None:
    recipe = recipe_of({"preset": "authors-code"})
    assert recipe.method.model_dump() == {
        "name": "dualcontrast",
        "content_size": 10,
        "transformation_size": 10,
        "gamma_c": 0.01,
        "gamma_z": 0.01,
        "reconstruction_per": "pixel",
        "reconstruction_weight": 1.0,
        "kl_as_log_std": True,
        "vae_on_views": True,
        "content_positive": 1.0,
        "content_negative": 1.0,
        "transformation_positive": 1.0,
        "transformation_negative": 1.0,
        "contrast_per": "element",
        "distance": "line",
        "positive_latents": "shared",
        "separate_positive_step": True,
        "content_infonce": 0.0,
        "temperature": 0.2,
        "cross_correlation": 0.0,
    }
    (rotation,) = recipe.views
    assert rotation.model_dump() == {
        "name": "rotation",
        "per": "batch",
        "degrees": 90,
        "interpolation": "nearest",
    }
    assert recipe.network.decoder.share_code_layer


def test_the_authors_shared_layer_refuses_codes_of_two_sizes_in_a_sentence() -> None:
    recipe = recipe_of({"preset": "authors-code", "method": {"content_size": 6, "transformation_size": 4}})
    with pytest.raises(RecipeError):
        recipe.build(GREY)(batch_of())


def test_codes_in_the_contrastive_terms_are_means_never_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other noise in the latents changes the reconstruction and no contrastive term on x and T(x)."""
    method, batch = dualcontrast_of(), batch_of()
    fixed_view(method, batch.images, monkeypatch)
    monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n).roll(1))
    first, second = method(batch).parts, method(batch).parts
    assert not math.isclose(first["reconstruction"].item(), second["reconstruction"].item())
    for name in ("content_positive", "content_negative", "transformation_negative"):
        assert first[name].item() == second[name].item()


# ---- the preset infonce


def test_the_preset_infonce_adds_its_terms_and_drops_the_pairs_they_replace() -> None:
    method, batch = dualcontrast_of(preset="infonce"), batch_of(GREY)
    torch.manual_seed(1)
    losses = method(batch)
    assert losses.weights["content_positive"] == losses.weights["content_negative"] == 0
    assert "transformation_positive" not in losses.parts
    torch.manual_seed(1)
    both = torch.cat([batch.images, method.view(batch.images)])
    content, transformation = method.encoder(both)
    c, c_pos = content.mean.chunk(2)
    expected = info_nce(c, c_pos, method.settings.temperature)
    torch.testing.assert_close(losses.parts["content_infonce"], expected)
    penalty = cross_correlation_loss(content.mean, transformation.mean)
    torch.testing.assert_close(losses.parts["cross_correlation"], penalty)
    total = sum(losses.weights[name] * part for name, part in losses.parts.items())
    torch.testing.assert_close(losses.total, total)


def test_the_paper_has_no_infonce() -> None:
    assert {"content_infonce", "cross_correlation"}.isdisjoint(dualcontrast_of()(batch_of(GREY)).parts)
