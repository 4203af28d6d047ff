"""Matching in real space: templates, scores and shifts, on small boxes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.poses import real_space
from dualcontrast.poses.real_space import Ball, RealSpaceMatcher, Templates, ball_of, measured_norms
from dualcontrast.poses.search import grid_on
from dualcontrast.transforms import random_rotations, resample, rotation_grid

BOX = 8
CPU = torch.device("cpu")
X_TO_Y = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])


def smooth(seed: int, box: int = BOX) -> Tensor:
    """Return a smooth volume without symmetry, (1, 1, N, N, N)."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(box) - box // 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).float()
    centres = (torch.rand(5, 3, generator=generator) - 0.5) * 0.5 * box
    return sum(torch.exp(-(grid - c).square().sum(dim=-1) / (0.02 * box**2)) for c in centres)[None, None]


def random_volumes(count: int, box: int = BOX) -> Tensor:
    return torch.randn(count, 1, box, box, box, generator=torch.Generator().manual_seed(0))


def rotations_of(count: int) -> Tensor:
    torch.manual_seed(1)
    return random_rotations(count, 3, 180, CPU)


def matcher_of(volumes: Tensor, *references: Tensor, measured: Tensor | None = None, k: Tensor | None = None):
    clusters = torch.zeros(len(volumes), dtype=torch.long) if k is None else k
    return RealSpaceMatcher(Templates(torch.cat(references)), volumes, clusters, measured)


# ---- the ball


@pytest.mark.parametrize("box", [7, 8])
def test_the_ball_holds_voxels_closer_than_half_the_box(box: int) -> None:
    ball = Ball(box)
    expected = [
        (x, y, z)
        for z in range(-(box // 2), box - box // 2)
        for y in range(-(box // 2), box - box // 2)
        for x in range(-(box // 2), box - box // 2)
        if (x * x + y * y + z * z) ** 0.5 < box / 2
    ]
    assert [tuple(map(int, p)) for p in ball.positions.tolist()] == expected
    assert int(ball.mask.sum()) == len(expected) == len(ball.inside)
    flat = torch.zeros(box**3)
    flat[ball.inside] = 1
    assert torch.equal(flat.reshape(box, box, box), ball.mask)
    assert ball_of(box, CPU) is ball_of(box, CPU)


@pytest.mark.parametrize("box", [7, 8])
def test_frequencies_below_nyquist_are_listed_once(box: int) -> None:
    ball = Ball(box)
    axis = torch.arange(box) - box // 2
    z, y, x = (part.float() for part in torch.meshgrid(axis, axis, axis, indexing="ij"))
    radius = (x**2 + y**2 + z**2).sqrt()
    listed = ball.list_frequencies(torch.stack([x, radius]))
    assert listed[0].min() == 0
    assert listed[1].max() < box / 2
    assert listed.shape[1] == int(((radius < box / 2) & (x >= 0)).sum())
    half = torch.fft.fftshift(torch.fft.rfftn(random_volumes(1, box)[:, 0], dim=(1, 2, 3)), dim=(1, 2))
    whole = torch.fft.fftshift(torch.fft.fftn(random_volumes(1, box)[:, 0], dim=(1, 2, 3)), dim=(1, 2, 3))
    found, expected = ball.list_frequencies(half, half=True), ball.list_frequencies(whole)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


# ---- templates


def test_a_template_is_the_rotated_reference_in_unit_length() -> None:
    templates, rotations = Templates(torch.cat([smooth(1), smooth(2)])), rotations_of(3)
    k = torch.tensor([1, 0, 1])
    found = templates.rotate(k, rotations)
    inside = templates.ball.mask > 0
    rotated = resample(templates.references[k], rotations)[:, 0][:, inside]
    expected = rotated - rotated.mean(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True), rtol=0, atol=1e-5)
    one = templates.rotate(torch.tensor(1), rotations)
    torch.testing.assert_close(one[[0, 2]], found[[0, 2]])
    faint = Templates(1e-4 * templates.references).rotate(k, rotations)
    torch.testing.assert_close(faint, found, rtol=0, atol=1e-4)
    flat = Templates(torch.ones(1, 1, BOX, BOX, BOX)).rotate(torch.tensor(0), torch.eye(3)[None])
    assert torch.isfinite(flat).all()


def test_powers_are_shares_of_the_whole() -> None:
    """Against whole spectra, in which every frequency stands for itself."""
    templates = Templates(smooth(1))
    units = templates.rotate(torch.tensor(0), rotations_of(2))
    cubes = torch.zeros(2, BOX**3)
    cubes[:, templates.ball.inside] = units
    spectra = torch.fft.fftn(cubes.reshape(2, BOX, BOX, BOX), dim=(1, 2, 3))
    power = torch.fft.fftshift(spectra.abs().square(), dim=(1, 2, 3))
    listed = templates.ball.list_frequencies(power)
    axis = torch.arange(BOX) - BOX // 2
    x = templates.ball.list_frequencies(axis.expand(1, BOX, BOX, BOX))[0]
    listed = torch.where(x > 0, 2, 1) * listed
    found = templates.power(units)
    torch.testing.assert_close(found, listed / listed.sum(dim=1, keepdim=True), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(templates.power(0.01 * units), found)
    assert not templates.power(torch.zeros_like(units)).any()


def test_templates_of_shared_rotations_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_space, "AT_ONCE", 3)
    templates, grid = Templates(torch.cat([smooth(1), smooth(2)])), grid_on(7, CPU)
    first = templates.of(1, grid)
    torch.testing.assert_close(first, templates.rotate(torch.tensor(1), grid))
    torch.testing.assert_close(templates.power_of(1, grid), templates.power(first))
    assert templates.of(1, grid) is first
    assert templates.power_of(1, grid) is templates.power_of(1, grid)
    assert not torch.allclose(templates.of(0, grid), first)
    assert not torch.allclose(templates.power_of(0, grid), templates.power_of(1, grid))
    other = rotations_of(7)  # as many, and not the same
    torch.testing.assert_close(templates.of(1, other), templates.rotate(torch.tensor(1), other))
    torch.testing.assert_close(templates.power_of(1, other), templates.power(templates.of(1, other)))


def test_norms_are_those_of_what_was_measured() -> None:
    power = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    measured = torch.tensor([[1.0, 1], [1, 0], [0, 1]])
    expected = torch.tensor([[1.0, 1], [0.25, 1], [0.75, 0.05]]).sqrt()
    torch.testing.assert_close(measured_norms(measured, power), expected)


# ---- scores


@pytest.mark.parametrize("box", [16, 15])
def test_the_score_is_the_correlation_constrained_to_what_was_measured(box: int) -> None:
    """Against whole spectra of the rotated reference; what lies beyond Nyquist's frequency counts as measured."""
    x = random_volumes(5, box)
    measured = torch.from_numpy(wedge_volume(box, 35)).float().expand(5, -1, -1, -1)
    rotations, inside = rotations_of(5), Ball(box).mask > 0
    found = matcher_of(x, smooth(4, box), measured=measured).match(rotations[:, None], torch.zeros(5, 3))
    axis = (torch.arange(box) - box // 2).abs()
    below = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt() < box / 2
    for volume, rotation, score in zip(x[:, 0], rotations, found.scores[:, 0], strict=True):
        reference = resample(smooth(4, box), rotation[None])[0, 0]
        reference = torch.where(inside, reference - reference[inside].mean(), 0)
        reference = reference / reference.norm()
        power = torch.fft.fftshift(torch.fft.fftn(reference)).abs() ** 2
        share = (power * measured[0] * below).sum() / (power * below).sum()
        torch.testing.assert_close(score, (volume * reference).sum() / share.sqrt(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tilts", [None, 40])
def test_shared_rotations_score_as_own_ones(tilts: float | None) -> None:
    """Each volume against the reference of its own cluster."""
    x, k = random_volumes(4), torch.tensor([1, 0, 1, 0])
    measured = None if tilts is None else torch.from_numpy(wedge_volume(BOX, tilts)).float().repeat(4, 1, 1, 1)
    if measured is not None:
        measured[2:] = measured[2:].transpose(1, 2).clone()
    matcher = matcher_of(x, smooth(1), smooth(2), measured=measured, k=k)
    shared, shifts = rotation_grid(6), torch.tensor([[0.5, 0, 0]]).repeat(4, 1)
    of_all = matcher.match(shared, shifts).scores
    own = matcher.match(shared.expand(4, -1, -1, -1), shifts).scores
    assert of_all.shape == own.shape == (4, 6)
    torch.testing.assert_close(of_all, own, rtol=1e-4, atol=1e-5)
    if tilts is None:
        templates = torch.stack([matcher.templates.of(int(c), shared) for c in k])
        moved = resample(x * matcher.templates.ball.mask, torch.eye(3).repeat(4, 1, 1), -shifts)
        voxels = moved.flatten(1)[:, matcher.templates.ball.inside]
        torch.testing.assert_close(of_all, torch.einsum("bv,brv->br", voxels, templates), rtol=1e-4, atol=1e-5)


def test_volumes_are_moved_back_before_they_are_scored() -> None:
    reference = smooth(3, 16)
    moved = reference.roll((1, -2), dims=(-1, -3))  # by 1 along x and -2 along z
    right, wrong = torch.tensor([[1.0, 0, -2]]), torch.tensor([[-1.0, 0, 2]])
    matcher, identity = matcher_of(moved, reference), torch.eye(3)[None]
    assert matcher.match(identity, right).scores > matcher.match(identity, torch.zeros(1, 3)).scores
    assert matcher.match(identity, wrong).scores < matcher.match(identity, torch.zeros(1, 3)).scores


# ---- shifts


def test_the_shift_is_that_of_the_highest_correlation() -> None:
    reference = smooth(3, 16)
    shifts = torch.tensor([[1.0, 0, -2], [0, 0, 0], [0.75, -1.25, 0.5]])
    rotations = torch.cat([torch.eye(3)[None], X_TO_Y, X_TO_Y])
    volumes = resample(reference.repeat(3, 1, 1, 1, 1), rotations, shifts)
    matches = matcher_of(volumes, reference).match(rotations[:, None], torch.zeros(3, 3))
    poses = matches.locate(torch.zeros(3, 1).long())
    assert torch.equal(poses.rotations, rotations)
    torch.testing.assert_close(poses.shifts, shifts, rtol=0, atol=0.25)
    assert not poses.shifts[1].any()


def test_shifts_end_at_two_voxels() -> None:
    reference = smooth(3, 16)
    moved = reference.roll(4, dims=-2)
    found = matcher_of(moved, reference).shifts(torch.eye(3)[None])
    assert found[0].tolist() == pytest.approx([0, 2, 0], abs=0.5)
    assert found[0, 1] == 2


def test_the_chosen_rotation_is_located() -> None:
    grid = rotation_grid(5)
    matches = matcher_of(random_volumes(2), smooth(1)).match(grid, torch.zeros(2, 3))
    poses = matches.locate(torch.tensor([[4], [2]]))
    assert torch.equal(poses.rotations, grid[[4, 2]])
    assert torch.equal(poses.shifts, matches.matcher.shifts(grid[[4, 2]]))
    assert RealSpaceMatcher.candidates == 1


def test_each_volume_is_located_against_its_own_reference() -> None:
    reference = smooth(3, 16)
    references = (reference, reference.roll(1, dims=-1))
    found = matcher_of(reference.repeat(2, 1, 1, 1, 1), *references, k=torch.tensor([0, 1])).shifts(
        torch.eye(3).repeat(2, 1, 1)
    )
    assert found.tolist() == [[0, 0, 0], [-1, 0, 0]]


def test_everything_is_computed_where_the_volumes_are() -> None:
    """A tensor on the default device would be on another than these."""
    box = 6
    volumes, reference, grid = random_volumes(2, box), smooth(1, box), grid_on(20, CPU)
    measured, k = torch.ones(2, box, box, box), torch.zeros(2, dtype=torch.long)
    shifts, best = torch.zeros(2, 3), torch.tensor([[3], [5]])
    ball_of.cache_clear()
    with torch.device("meta"):
        matcher = RealSpaceMatcher(Templates(reference), volumes, k, measured)
        matches = [matcher.match(grid, shifts), matcher.match(grid.expand(2, -1, -1, -1), shifts)]
        found = [each.locate(best) for each in matches]
    torch.testing.assert_close(matches[0].scores, matches[1].scores, rtol=1e-4, atol=1e-5)
    again = RealSpaceMatcher(Templates(reference), volumes, k, measured).match(grid, shifts)
    assert matches[0].scores.device == CPU
    torch.testing.assert_close(matches[0].scores, again.scores)
    for poses in found:
        assert torch.equal(poses.shifts, again.locate(best).shifts)
