"""DualContrast plus: each part of the objective against its equation, and what is a constant in which part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dualcontrast.errors import MethodError, RecipeError
from dualcontrast.methods import Batch
from dualcontrast.methods.losses import info_nce, mutual_information
from dualcontrast.methods.plus.dualcontrast_plus import DualContrastPlus
from dualcontrast.methods.plus.pose_search import AlignedVolumes
from dualcontrast.poses import Poses
from dualcontrast.recipe import recipe_of
from dualcontrast.transforms import resample

GREY = (1, 12, 12)


def plus_of(shape: tuple[int, ...] = GREY, **settings: Any) -> DualContrastPlus:
    """Return a method that has found its clusters."""
    method = untrained(shape, **settings)
    method.begin_stage(lambda: iter([batch_of(shape)]), epoch=0)
    return method


def untrained(shape: tuple[int, ...] = GREY, **settings: Any) -> DualContrastPlus:
    torch.manual_seed(0)
    stated = {
        "method": {
            "name": "dualcontrast_plus",
            **{"content_size": 5, "clusters": 5, "embedding_size": 6, "transformation_size": 4, **settings},
        },
        "network": {
            "encoder": {"channels": [6, 8], "kernel": 3, "hidden": [10]},
            "decoder": {"code_width": 8, "hidden": [16]},
        },
    }
    method = recipe_of(stated).build(shape)
    assert isinstance(method, DualContrastPlus)
    return method


def batch_of(shape: tuple[int, ...] = GREY, count: int = 40) -> Batch:
    return Batch.of(torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)))


def probabilities(count: int, clusters: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(3 * torch.randn(count, clusters, generator=generator, dtype=torch.float64), dim=1)


# ---- parts of the objective


def test_the_first_stage_compares_two_views() -> None:
    method, batch = untrained(), batch_of()
    torch.manual_seed(3)
    losses = method(batch)
    torch.manual_seed(3)
    x = batch.images
    first, second = method.content(torch.cat([method.view(x), method.view(x)])).chunk(2)
    assert set(losses.parts) == {"contrast", "clustering"}
    torch.testing.assert_close(losses.parts["contrast"], info_nce(first, second, 0.2))
    assigned = []
    for codes in (first, second):
        cosines = [[float(F.cosine_similarity(c, w, dim=0).detach()) for w in method.assignment] for c in codes]
        assigned.append(torch.tensor(cosines).div(0.1).softmax(dim=1))
    torch.testing.assert_close(losses.parts["clustering"], -mutual_information(*assigned))
    assert set(untrained(contrast=0.0)(batch).parts) == {"clustering"}
    assert set(untrained(clustering=0.0)(batch).parts) == {"contrast"}


# ---- what is a constant in which part


def gradient_of(method: DualContrastPlus, part: str, module: str) -> float:
    """Return the largest gradient of a part in the parameters of a module of the method or of its variation."""
    method.zero_grad()
    torch.manual_seed(4)
    losses = method(batch_of())
    if losses.parts[part].requires_grad:
        losses.parts[part].backward()
    names = (module, f"variation.{module}")
    parameters = [
        p for name, p in method.named_parameters() if name.startswith(tuple(f"{n}." for n in names) + names[:1])
    ]
    assert parameters
    return max(0.0 if p.grad is None else float(p.grad.abs().max()) for p in parameters)


@pytest.mark.parametrize("part", ["reconstruction", "kl"])
def test_the_second_stage_leaves_the_content_as_it_is(part: str) -> None:
    method = plus_of()
    before = {name: value.clone() for name, value in method.content.state_dict().items()}
    assert gradient_of(method, part, "content") == gradient_of(method, part, "assignment") == 0
    assert all(torch.equal(value, before[name]) for name, value in method.content.state_dict().items())


@pytest.mark.parametrize("part", ["hybrid_content", "hybrid_transformation"])
def test_hybrids_teach_the_decoder_and_not_the_content(part: str) -> None:
    method = plus_of()
    assert gradient_of(method, part, "content") == gradient_of(method, part, "assignment") == 0
    assert gradient_of(method, part, "decoder") > 0
    assert gradient_of(method, part, "encoder") > 0


def test_hybrids_leave_the_statistics_of_batch_normalisation_alone() -> None:
    with_hybrids, without = plus_of(), plus_of(hybrid_content=0.0, hybrid_transformation=0.0)
    for method in (with_hybrids, without):
        torch.manual_seed(5)
        method(batch_of())
    for name, value in with_hybrids.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, without.state_dict()[name])


# ---- codes


def test_codes_are_those_of_the_image_alone() -> None:
    """Not of the batch it comes in, nor of the random state."""
    method, batch = plus_of(), batch_of()
    for _ in range(3):
        method(batch)
    method.eval()
    codes = method.encode(batch)
    assert codes.content.shape == (40, 5)
    torch.testing.assert_close(codes.content.sum(dim=1), torch.ones(40))
    assert codes.transformation.shape == (40, 4)
    alone = method.encode(Batch.of(batch.images[7:8]))
    torch.testing.assert_close(alone.content, codes.content[7:8], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.transformation, codes.transformation[7:8], rtol=1e-4, atol=1e-4)
    sampled = method.encode_and_sample(batch)[1]
    torch.testing.assert_close(sampled.content, codes.content)
    assert not torch.allclose(sampled.transformation, codes.transformation)


def finished(shape: tuple[int, ...] = GREY, **settings: Any) -> DualContrastPlus:
    method = plus_of(shape, **settings)
    method.finish(lambda: iter([batch_of(shape)]))
    return method.eval()


def test_codes_have_the_same_moments_in_every_cluster() -> None:
    codes = finished(clusters=2, transformation_size=2).encode(batch_of())
    k = codes.content.argmax(dim=1)
    assert k.unique().tolist() == [0, 1]
    z = codes.transformation.detach().double()
    for own in (z[k == 0], z[k == 1]):
        torch.testing.assert_close(own.mean(dim=0), torch.zeros(2).double(), rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.cov(own.T, correction=0), torch.cov(z.T, correction=0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("centred", [True, False])
def test_decoding_undoes_the_whitening(centred: bool) -> None:
    method, batch = finished(centred=centred), batch_of()
    with torch.no_grad():
        codes = method.encode(batch)
        inner = method.variation.posterior(batch, codes.content.argmax(dim=1))[0].mean
        if centred:
            inner = inner - method.within.means[codes.content.argmax(dim=1)]
        assert not torch.allclose(inner, codes.transformation, rtol=1e-3, atol=0)
        expected = method.variation.decoder(4 * codes.content, inner)
        torch.testing.assert_close(method.decode(codes), expected, rtol=1e-3, atol=1e-4)


def test_clusters_of_the_training_images_are_the_same_after_a_checkpoint() -> None:
    method, again = plus_of(), untrained()
    again.load_state_dict(method.state_dict())
    for each in (method, again):
        each.finish(lambda: iter([batch_of()]))
    torch.testing.assert_close(method.within.maps, again.within.maps)


def test_codes_before_there_are_clusters_are_refused() -> None:
    with pytest.raises(MethodError, match=r"before any clusters were found; continue it with .*resume=True"):
        untrained().encode(batch_of())


def test_pairs_show_views_and_then_hybrids() -> None:
    assert [pair.first.shape for pair in untrained().pairs(batch_of())] == [(40, *GREY)]
    views, hybrids = plus_of().eval().pairs(batch_of())
    assert not torch.equal(views.first, views.second)
    assert hybrids.second.shape == (40, *GREY)


# ---- volumes


def test_the_pose_of_a_volume_is_a_part_of_its_transformation() -> None:
    volumes = (1, 8, 8, 8)
    method, batch = finished(volumes, pose="search"), batch_of(volumes)
    assert method.transformation_parts == {"conformation": 4, "pose": 12}
    codes = method.encode(batch)
    assert codes.transformation.shape == (40, 16)
    rotations = codes.transformation[:, 4:13].reshape(-1, 3, 3)
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(40, 3, 3), rtol=0, atol=1e-4)
    k = codes.content.argmax(dim=1)
    residual = method.within.inverse(k, codes.transformation[:, :4])
    canonical = method.variation.volumes[k].clone()
    for i, own in enumerate(k):
        canonical[i] += (residual[i, :, None, None, None] * method.variation.components[own]).sum(dim=0)
    turned = resample(canonical[:, None], rotations, 8 * codes.transformation[:, 13:])
    torch.testing.assert_close(method.decode(codes), turned, rtol=1e-3, atol=1e-3)
    assert plus_of().transformation_parts == {}


def test_the_second_stage_of_volumes_has_no_gradient_and_learns_references() -> None:
    volumes = (1, 8, 8, 8)
    method = plus_of(volumes, pose="search").train()
    before = method.variation.search.references.clone()
    assert not method(batch_of(volumes)).total.requires_grad
    nothing = AlignedVolumes(Poses.identity(0), torch.zeros(0, *volumes), None)
    method.variation.search.accumulate(nothing, torch.zeros(0, dtype=torch.long), epoch=1)
    assert not torch.equal(method.variation.search.references, before)


def test_poses_of_what_has_none_are_refused_before_training() -> None:
    with pytest.raises(RecipeError, match=r'cubic volumes of one channel.*"pose": "none"'):
        untrained(GREY, pose="search")
