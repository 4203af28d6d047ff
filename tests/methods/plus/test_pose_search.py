"""Poses of volumes: found where they are known, undone and applied, and references that sharpen."""

from __future__ import annotations

import pytest
import roma
import torch
from torch import Tensor

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.errors import RecipeError
from dualcontrast.methods.plus import pose_search as poses_module
from dualcontrast.methods.plus.pose_search import AlignedVolumes, PoseSearch
from dualcontrast.poses import Poses
from dualcontrast.transforms import random_rotations, resample
from dualcontrast.transforms.fourier import filtered

BOX = 16


def template(seed: int, box: int = BOX) -> Tensor:
    """Return a smooth volume without symmetry, (1, N, N, N): a few blobs."""
    generator = torch.Generator().manual_seed(seed)
    centres = (torch.rand(6, 3, generator=generator) - 0.5) * 0.6 * box
    axis = torch.arange(box) - box // 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).float()
    width = 0.09 * box
    return sum(torch.exp(-(grid - c).square().sum(dim=-1) / (2 * width**2)) for c in centres)[None]


def turned(count: int, seed: int, noise: float = 0.0, box: int = BOX) -> tuple[Tensor, Poses]:
    """Return copies of a template in random poses, with noise of that deviation."""
    torch.manual_seed(100 + seed)
    rotations = random_rotations(count, 3, 180, torch.device("cpu"))
    shifts = box * (2 * torch.rand(count, 3) - 1) / BOX
    copies = resample(template(seed, box).expand(count, -1, -1, -1, -1), rotations, shifts)
    return copies + noise * torch.randn_like(copies), Poses(rotations, shifts)


def angles_between(one: Tensor, other: Tensor) -> Tensor:
    return torch.rad2deg(roma.rotmat_geodesic_distance(one, other))


@pytest.mark.parametrize("box", [16, 32, 15, 21, 24])
def test_known_poses_are_found(box: int) -> None:
    volumes, poses = turned(24, seed=1, noise=0.1, box=box)
    search = PoseSearch((1, box, box, box), 2)
    search.references[1] = template(1, search.box)
    found = search(volumes, torch.ones(24, dtype=torch.long))
    errors = angles_between(found.rotations, poses.rotations)
    assert errors.median() < 6
    assert errors.quantile(0.8) < 12
    assert (BOX / box * (found.shifts - poses.shifts)).norm(dim=1).median() < 0.5
    chance = angles_between(random_rotations(24, 3, 180, torch.device("cpu")), poses.rotations)
    assert chance.median() > 60


def test_each_volume_is_compared_with_the_reference_of_its_own_cluster() -> None:
    volumes, poses = turned(12, seed=1)
    search = PoseSearch((1, BOX, BOX, BOX), 2)
    search.references[0], search.references[1] = template(2), template(1)
    right = angles_between(search(volumes, torch.ones(12, dtype=torch.long)).rotations, poses.rotations)
    wrong = angles_between(search(volumes, torch.zeros(12, dtype=torch.long)).rotations, poses.rotations)
    assert right.median() < 6
    assert wrong.median() > 20


def test_the_pose_found_scores_as_the_best_of_a_slow_search() -> None:
    """Every rotation of the finer grid, one after the other, at the shift that was found."""
    from dualcontrast.transforms import rotation_grid

    volumes, _ = turned(3, seed=4, noise=0.2)
    search = PoseSearch((1, BOX, BOX, BOX), 1)
    search.references[0] = template(4)
    found = search(volumes, torch.zeros(3, dtype=torch.long))
    ball = search.ball.mask > 0

    def score(volume: Tensor, rotation: Tensor, shift: Tensor) -> float:
        reference = resample(template(4)[None], rotation[None])[0, 0][ball]
        reference = reference - reference.mean()
        moved = resample(volume[None], torch.eye(3)[None], -shift[None])[0, 0][ball]
        return float(moved @ reference / reference.norm())

    for volume, rotation, shift in zip(volumes, found.rotations, found.shifts, strict=True):
        best = max(score(volume, each, shift) for each in rotation_grid(4608)[::6])
        assert score(volume, rotation, shift) > best


def as_they_are(volumes: Tensor, measured: Tensor | None = None) -> AlignedVolumes:
    """Return volumes as if their poses were none."""
    return AlignedVolumes(Poses.identity(len(volumes)), volumes, measured)


def wedge(tilts: float, box: int = BOX) -> Tensor:
    return torch.from_numpy(wedge_volume(box, tilts)).float()


def test_a_missing_wedge_does_not_turn_volumes_away() -> None:
    """A third of the tilts: how much of a reference would be seen differs from pose to pose."""
    volumes, poses = turned(40, seed=1, noise=0.05)
    measured = wedge(30).expand(40, -1, -1, -1)
    seen = filtered(volumes, measured[:, None])
    search = PoseSearch((1, BOX, BOX, BOX), 1)
    search.references[0] = template(1)
    k = torch.zeros(40, dtype=torch.long)
    told, untold = (search(seen, k, m).rotations for m in (measured, None))
    errors, without = (angles_between(found, poses.rotations) for found in (told, untold))
    assert errors.median() < 10
    assert errors.mean() < 0.8 * without.mean()


def test_references_are_means_of_what_was_measured() -> None:
    volumes, k = template(1)[None].repeat(4, 1, 1, 1, 1), torch.zeros(4, dtype=torch.long)
    measured = torch.stack([wedge(40), 1 - wedge(40)] * 2)  # each frequency in two of four
    measured[:, BOX // 2, :, BOX // 2] = 1
    search = PoseSearch((1, BOX, BOX, BOX), 1)
    search.accumulate(as_they_are(filtered(volumes, measured[:, None]), measured), k, 0)
    search.accumulate(as_they_are(volumes[:0]), k[:0], 1)
    torch.testing.assert_close(search.references[0, 0], template(1)[0], rtol=0, atol=1e-4)


def test_references_become_the_molecule_from_images_alone() -> None:
    """From one noisy image on, alternating between poses and means, as training does."""
    volumes, _ = turned(100, seed=5, noise=0.6)
    k = torch.zeros(100, dtype=torch.long)
    search = PoseSearch((1, BOX, BOX, BOX), 1)
    search.collect(volumes, k)
    search.initialise(0)
    for epoch in range(4):
        search.accumulate(search.align(volumes, k), k, epoch)
    search.accumulate(as_they_are(volumes[:0]), k[:0], 4)

    def likeness(reference: Tensor) -> float:
        """The correlation with the template, in the best of poses."""
        judge = PoseSearch((1, BOX, BOX, BOX), 1)
        judge.references[0] = template(5)
        pose = judge(reference, k[:1])
        return float(torch.corrcoef(torch.stack([pose.undo(reference).flatten(), template(5).flatten()]))[0, 1])

    assert likeness(search.references) > 0.85
    assert likeness(search.references) > likeness(volumes[:1]) + 0.3


def test_of_a_few_beginnings_that_is_taken_which_the_images_differ_from_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first image is of nothing but noise, and leads nowhere."""
    volumes, _ = turned(30, seed=5, noise=0.3)
    volumes[0] = 3 * torch.randn_like(volumes[0])
    k = torch.zeros(30, dtype=torch.long)
    left: list[float] = []
    for starts in (1, 4):
        monkeypatch.setattr(poses_module, "STARTS", starts)
        search = PoseSearch((1, BOX, BOX, BOX), 2)
        search.collect(volumes[:20], k[:20])
        search.collect(volumes[20:], k[20:])
        search.initialise(3)
        assert int(search.epoch) == 3
        assert not search.sums.any()
        assert not search.references[1].any()
        left.append(float(search.align(volumes, k).residual(search.references[k]).square().mean()))
    assert left[1] < left[0]


def test_a_reference_is_the_mean_of_the_epoch_before() -> None:
    volumes, _ = turned(6, seed=1)
    k = torch.tensor([0, 0, 0, 1, 1, 1])
    search = PoseSearch((1, BOX, BOX, BOX), 3)
    search.collect(volumes, k)
    search.initialise(4)
    before = search.references.clone()
    search.accumulate(as_they_are(2 * volumes), k, 4)
    assert torch.equal(search.references, before)
    search.accumulate(as_they_are(volumes[:2]), k[:2], 5)
    torch.testing.assert_close(search.references[1], 2 * volumes[3:].mean(dim=0))
    assert torch.equal(search.references[2], before[2])
    search.accumulate(as_they_are(volumes[:0]), k[:0], 6)
    torch.testing.assert_close(search.references[0], volumes[:2].mean(dim=0))
    torch.testing.assert_close(search.references[1], 2 * volumes[3:].mean(dim=0))  # not seen in epoch 5


def test_loaded_references_replace_what_was_made_of_former_ones() -> None:
    volumes, poses = turned(6, seed=1)
    k = torch.zeros(6, dtype=torch.long)
    search, other = PoseSearch((1, BOX, BOX, BOX), 1), PoseSearch((1, BOX, BOX, BOX), 1)
    search.references[0], other.references[0] = template(2), template(1)
    search(volumes, k)
    search.load_state_dict(other.state_dict())
    assert angles_between(search(volumes, k).rotations, poses.rotations).median() < 6


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 16, 16), (1, 16, 16, 8)])
def test_what_has_no_pose_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="poses are found"):
        PoseSearch(shape, 2)
