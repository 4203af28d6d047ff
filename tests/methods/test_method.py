"""The interface of every method in the registry: a new method is tested by being registered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.particles import write_mrc, write_particles_of

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.errors import DualContrastError, MethodError
from dualcontrast.images import open_images
from dualcontrast.methods import METHODS, Batch, Codes, Losses, Method, MethodSettings
from dualcontrast.recipe import Recipe, recipe_of

GREY, COLOUR, VOLUME = (1, 16, 16), (3, 16, 16), (1, 16, 16, 16)
PRESETS = [(name, preset) for name, method in METHODS.items() for preset in method.presets]
COUNT = 6


def recipe_for(name: str, preset: str = "paper") -> Recipe:
    return recipe_of({"method": {"name": name}, "preset": preset})


def built(name: str, shape: tuple[int, ...] = GREY, preset: str = "paper") -> Method:
    torch.manual_seed(0)
    return recipe_for(name, preset).build(shape)


def batch_of(shape: tuple[int, ...], count: int = COUNT, seed: int = 0) -> Batch:
    return Batch.of(torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)))


def trained(name: str, shape: tuple[int, ...] = GREY, preset: str = "paper", seed: int = 0) -> Method:
    """Return a method that has come to its last stage, and seen some images in it."""
    torch.manual_seed(seed)
    method = recipe_for(name, preset).build(shape)
    for _ in method.stages[1:]:
        method.begin_stage(lambda: iter([batch_of(shape, count=20)]), epoch=0)
        method(batch_of(shape, count=20))
    return method


# ---- what holds for every method


@pytest.mark.parametrize("name", METHODS)
def test_settings_and_presets_are_told(name: str) -> None:
    method = METHODS[name]
    assert issubclass(method.Settings, MethodSettings)
    assert all(field.description for field in method.Settings.model_fields.values())
    assert "paper" in method.presets
    assert method.__doc__


@pytest.mark.parametrize("shape", [GREY, COLOUR, VOLUME], ids=["grey", "colour", "volume"])
@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_each_phase_states_an_objective_that_moves_its_parameters(
    name: str, preset: str, shape: tuple[int, ...]
) -> None:
    try:
        method = built(name, shape, preset)
    except DualContrastError as refusal:
        pytest.skip(f"not for such images: {refusal}")
    assert method.phases
    assert len(set(method.phases)) == len(method.phases)
    stages = [method] if len(method.stages) == 1 else [method, trained(name, shape, preset)]
    for stage in stages:
        moved = moved_by_each_phase(stage, shape, all_at_once=len(stages) == 1)
        assert moved == {id(p) for p in stage.parameters() if p.requires_grad}


def moved_by_each_phase(method: Method, shape: tuple[int, ...], all_at_once: bool) -> set[int]:
    stepped: set[int] = set()
    for phase in method.phases:
        parameters = method.parameters_of(phase)
        assert len({id(p) for p in parameters}) == len(parameters) > 0
        method.zero_grad()
        losses = method(batch_of(shape), phase)
        assert isinstance(losses, Losses)
        assert losses.parts.keys() == losses.weights.keys()
        assert all(part.shape == () for part in losses.parts.values())
        weighted = sum(losses.weights[part] * value.item() for part, value in losses.parts.items())
        assert losses.total.item() == pytest.approx(weighted, rel=1e-5)
        losses.total.backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        assert not all_at_once or len(gradients) == len(parameters)  # gradient averaging waits for each of them
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.abs().max() > 0 for gradient in gradients)
        stepped |= {id(p) for p in parameters}
    return stepped


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_an_objective_repeats_with_the_seed(name: str, preset: str) -> None:
    for phase in built(name, preset=preset).phases:
        totals = []
        for seed in (3, 3, 4):
            method = built(name, preset=preset)  # anew, since a method may remember batches
            torch.manual_seed(seed)
            totals.append(method(batch_of(GREY), phase).total.item())
        assert totals[0] == totals[1] != totals[2]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_mixed_precision_gives_a_finite_objective(name: str, preset: str) -> None:
    method = built(name, preset=preset)
    for phase in method.phases:
        with torch.autocast("cpu", torch.bfloat16):
            total = method(batch_of(GREY), phase).total
        assert total.isfinite()


@pytest.mark.parametrize("name", METHODS)
def test_steps_on_one_batch_make_the_objective_smaller(name: str) -> None:
    method = built(name)
    batch = batch_of(GREY, count=16)
    optimizers = {phase: torch.optim.Adam(method.parameters_of(phase), 1e-3) for phase in method.phases}
    totals = []
    for _ in range(40):
        for phase, optimizer in optimizers.items():
            optimizer.zero_grad()
            total = method(batch, phase).total
            total.backward()
            optimizer.step()
            if phase == method.phases[0]:
                totals.append(total.item())
    assert sum(totals[-5:]) < 0.95 * sum(totals[:5])


@pytest.mark.parametrize("name", METHODS)
def test_codes_have_the_stated_sizes_and_are_the_same_each_time(name: str) -> None:
    method, sizes = trained(name).eval(), recipe_for(name).method
    batch = batch_of(GREY)
    codes = method.encode(batch)
    assert isinstance(codes, Codes)
    assert codes.content.shape == (COUNT, sizes.content_size)
    assert codes.transformation.shape == (COUNT, sizes.transformation_size)
    assert all(code.isfinite().all() for code in codes)
    for code, again, drawn in zip(codes, method.encode(batch), method.encode_and_sample(batch)[1], strict=True):
        assert torch.equal(code, again)
        assert drawn.shape == code.shape
        assert len(code.unique(dim=0)) == COUNT  # other images, other codes


@pytest.mark.parametrize("name", METHODS)
def test_codes_are_the_same_with_a_draw_and_without(name: str) -> None:
    method, batch = trained(name).eval(), batch_of(GREY)
    for code, with_draw in zip(method.encode(batch), method.encode_and_sample(batch)[0], strict=True):
        assert torch.equal(code, with_draw)


@pytest.mark.parametrize("name", ["two_latent_vae", "dualcontrast", "simclr", "simclr_generative"])
def test_a_draw_costs_no_second_pass_of_the_encoder(name: str) -> None:
    method, passes = built(name).eval(), []
    method.encoder.register_forward_hook(lambda *_: passes.append(1))
    method.encode_and_sample(batch_of(GREY))
    assert len(passes) == 1


@pytest.mark.parametrize("name", METHODS)
def test_the_code_of_an_image_does_not_depend_on_its_batch(name: str) -> None:
    method = trained(name).eval()
    images = batch_of(GREY).images
    together = method.encode(Batch.of(images))
    for i in range(COUNT):
        alone = method.encode(Batch.of(images[i : i + 1]))
        torch.testing.assert_close(alone.content[0], together.content[i], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(alone.transformation[0], together.transformation[i], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_decoding_makes_images_in_the_range_of_the_data_or_says_who_does(name: str) -> None:
    method = trained(name).eval()
    codes = method.encode(batch_of(GREY))
    if not method.has_decoder:
        with pytest.raises(MethodError, match="has no decoder"):
            method.decode(codes)
        return
    images = method.decode(codes)
    assert images.shape == (COUNT, *GREY)
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images, method.decode(codes))
    for other in (
        Codes(codes.content.roll(1, 0), codes.transformation),
        Codes(codes.content, codes.transformation.roll(1, 0) + 1),
    ):
        assert not torch.allclose(method.decode(other), images, atol=1e-6)  # both codes are used


@pytest.mark.parametrize("shape", [COLOUR, VOLUME], ids=["colour", "volume"])
@pytest.mark.parametrize("name", METHODS)
def test_colours_and_volumes_are_encoded_and_decoded(name: str, shape: tuple[int, ...]) -> None:
    method = trained(name, shape).eval()
    codes = method.encode(batch_of(shape))
    assert codes.content.shape == (COUNT, method.settings.content_size)
    assert len(codes.transformation) == COUNT
    assert all(code.isfinite().all() for code in codes)
    if method.has_decoder:
        images = method.decode(codes)
        assert images.shape == (COUNT, *shape)
        assert images.isfinite().all()


@pytest.mark.parametrize("name", METHODS)
def test_views_and_pairs_are_images(name: str) -> None:
    method = built(name)
    batch = batch_of(GREY)
    view = method.view(batch.images)
    assert view.shape == batch.images.shape
    assert not torch.allclose(view, batch.images, atol=1e-3)
    for pair in method.pairs(batch):
        assert pair.name
        assert pair.first.shape == pair.second.shape == batch.images.shape
        assert pair.first.isfinite().all()
        assert pair.second.isfinite().all()


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_weights_give_the_same_codes_in_a_new_method(name: str, preset: str, tmp_path: Path) -> None:
    method = trained(name, preset=preset).eval()
    state = {key: value.clone() for key, value in method.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    other = trained(name, preset=preset, seed=1).eval()
    before = other.encode(batch_of(GREY))
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    expected = method.encode(batch_of(GREY))
    for code, wanted, fresh in zip(other.encode(batch_of(GREY)), expected, before, strict=True):
        assert torch.equal(code, wanted)
        assert not torch.equal(fresh, wanted)


# ---- the parts of the interface themselves


def test_a_method_without_a_decoder_names_itself_and_one_that_has_one() -> None:
    class OnlyCodes(Method):
        has_decoder = False

    with pytest.raises(MethodError, match=r"OnlyCodes has no decoder.*dualcontrast"):
        OnlyCodes().decode(Codes(torch.zeros(1, 2), torch.zeros(1, 2)))


def test_by_default_every_parameter_is_stepped_and_nothing_is_paired() -> None:
    class Constant(Method):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

        def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
            codes = Codes(batch.images.flatten(1), batch.images.flatten(1))
            return codes, codes

    method, batch = Constant(), batch_of((1, 2))
    assert method.phases == ("main",)
    assert method.parameters_of("main") == list(method.parameters())
    assert method.pairs(batch) == []
    assert torch.equal(method.encode(batch).content, batch.images.flatten(1))


def test_a_batch_knows_its_length_and_moves_whole() -> None:
    poses = torch.eye(3).expand(4, 3, 3)
    batch = Batch(torch.rand(4, 1, 2, 2), torch.tensor([5, 2, 0, 1]), pose=poses, epoch=3, step=17)
    moved = batch.to(torch.device("meta"))
    assert moved.pose is not None
    assert len(batch) == len(moved) == 4
    assert {moved.images.device.type, moved.index.device.type, moved.pose.device.type} == {"meta"}
    assert moved.ctf is None
    assert (moved.epoch, moved.step) == (3, 17)
    assert batch.images.device.type == "cpu"


def test_a_batch_of_images_alone_counts_them() -> None:
    batch = Batch.of(torch.rand(3, 1, 2, 2))
    assert batch.index.tolist() == [0, 1, 2]
    assert batch.ctf is None
    assert batch.pose is None


def test_the_total_is_the_weighted_sum_and_carries_gradients() -> None:
    first, second = torch.tensor(2.0, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    losses = Losses()
    losses.add("first", first, 3.0)
    losses.add("second", second, 0.5)
    assert losses.total.item() == 8.5
    losses.total.backward()
    assert (first.grad, second.grad) == (3.0, 0.5)
    assert losses.parts == {"first": first, "second": second}


def test_losses_do_not_share_their_parts() -> None:
    Losses().add("a", torch.tensor(1.0), 1.0)
    assert Losses().parts == {}


def test_ctfs_are_read_for_those_who_use_them(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).normal(size=(5, 16, 16, 16)).astype(np.float32)
    write_mrc(tmp_path / "ctf.mrc", wedge_volume(16, 60))
    images = open_images(write_particles_of(volumes, tmp_path, rlnCtfImage="ctf.mrc"))
    plain = built("dualcontrast", VOLUME)
    aware = recipe_of({"method": {"name": "dualcontrast_plus", "pose": "search"}}).build(VOLUME)
    assert [batch.ctf for batch in plain.batches(images, 2, "cpu")] == [None] * 3
    read = list(aware.batches(images, 2, "cpu"))
    assert [len(batch) for batch in read] == [2, 2, 1]
    for batch in read:
        assert batch.ctf is not None
        assert torch.equal(batch.images, images.read(batch.index.numpy()))
        np.testing.assert_array_equal(batch.ctf[0], wedge_volume(16, 60))
