"""Poses of volumes: found where they are known, undone and applied, and references that sharpen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
import roma
import torch
from torch import Tensor

from dualcontrast.cryoet.ctf import wedge_volume
from dualcontrast.errors import RecipeError
from dualcontrast.methods.plus import pose_search as poses_module
from dualcontrast.methods.plus.pose_search import AlignedVolumes, PoseSearch, weighted_mean
from dualcontrast.poses import Poses
from dualcontrast.poses.real_space import RealSpaceMatcher, ball_of
from dualcontrast.poses.search import GridStep, ParabolaStep, Step
from dualcontrast.transforms import random_rotations, resample
from dualcontrast.transforms.fourier import filtered, resized

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


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 16, 16, 16), (1, 16, 16, 8), (1, 8, 16, 16), (1, 8, 8, 8, 8), (8, 8, 8)]
)
def test_what_has_no_pose_is_refused(shape: tuple[int, ...]) -> None:
    message = (
        f"poses are found of cubic volumes of one channel, not of images {shape}; "
        '`settings={"method": {"pose": "none"}}` leaves them in the transformation'
    )
    with pytest.raises(RecipeError) as caught:
        PoseSearch(shape, 2)
    assert str(caught.value) == message


# ---- each part, without a search

SMALL = 8


def random_volumes(count: int, box: int = SMALL, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, box, box, box, generator=torch.Generator().manual_seed(seed))


def even_weights(count: int, box: int = SMALL) -> Tensor:
    """Return weights of frequencies, the same at k and -k, (B, N, N, N)."""
    spectra = torch.fft.fftn(random_volumes(count, box, seed=1)[:, 0], dim=(1, 2, 3)).abs()
    return 0.2 + torch.fft.fftshift(spectra / spectra.amax(), dim=(1, 2, 3))


class Call(NamedTuple):
    """One call of `search_poses`."""

    matcher: RealSpaceMatcher
    poses: Poses
    steps: Sequence[Step]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Replace the search: every volume is found in the poses of `known`."""
    recorded: list[Call] = []

    def search_poses(matcher: RealSpaceMatcher, poses: Poses, steps: Sequence[Step]) -> Poses:
        recorded.append(Call(matcher, poses, steps))
        with torch.device(matcher.volumes.device):
            return known(len(poses.shifts))

    monkeypatch.setattr(poses_module, "search_poses", search_poses)
    return recorded


def known(count: int) -> Poses:
    torch.manual_seed(2)
    return Poses(random_rotations(count, 3, 180, torch.device("cpu")), torch.rand(count, 3))


def test_an_empty_search_has_a_box_of_at_most_16_voxels() -> None:
    for box, searched in ((8, 8), (15, 15), (16, 16), (40, 16)):
        search = PoseSearch((1, box, box, box), 3)
        assert search.box == searched
        assert search.references.shape == search.sums.shape == (3, 1, searched, searched, searched)
        assert search.measured.shape == (3, searched, searched, searched)
        assert search.counts.shape == (3,)
        state = search.state_dict()
        assert list(state) == ["references", "sums", "counts", "measured", "epoch"]
        assert not any(values.any() for values in state.values())
        assert state["epoch"].dtype == torch.long
        assert search.ball is ball_of(searched, torch.device("cpu"))


def test_volumes_are_searched_in_the_small_box(calls: list[Call]) -> None:
    search, k = PoseSearch((1, 24, 24, 24), 2), torch.tensor([1, 0])
    volumes, measured = random_volumes(2, 24), even_weights(2, 24)
    poses = search(volumes, k, measured)
    matcher, start, steps = calls[0]
    assert tuple(steps) == (GridStep(1152), GridStep(4608), ParabolaStep(7), ParabolaStep(5), ParabolaStep(3))
    assert torch.equal(start.rotations, torch.eye(3).repeat(2, 1, 1))
    assert not start.shifts.any()
    assert start.shifts.shape == (2, 3)
    assert matcher.k is k
    assert matcher.templates.references is search.references
    assert torch.equal(matcher.volumes, resized(volumes, 16) * search.ball.mask)
    assert torch.equal(matcher.measured, search.ball.list_frequencies(measured[:, 4:20, 4:20, 4:20]))
    assert torch.equal(poses.rotations, known(2).rotations)
    torch.testing.assert_close(poses.shifts, 1.5 * known(2).shifts)
    search(volumes, k, coarse=True)
    assert tuple(calls[1].steps) == (GridStep(1152), ParabolaStep(7), ParabolaStep(5), ParabolaStep(3))
    assert calls[1].matcher.measured is None


def test_templates_are_kept_while_the_references_are_the_same(calls: list[Call]) -> None:
    search, k = PoseSearch((1, SMALL, SMALL, SMALL), 1), torch.tensor([0])
    search(random_volumes(1), k)
    others = random_volumes(1, seed=1)
    with torch.device("meta"):  # a tensor on the default device would be on another than these
        search(others, k)
    assert calls[1].poses.shifts.device == others.device
    assert calls[0].matcher.templates is calls[1].matcher.templates
    search.load_state_dict(search.state_dict())
    search(random_volumes(1), k)
    assert calls[2].matcher.templates is not calls[1].matcher.templates
    search.double()  # in new memory, as on another device
    search(random_volumes(1), k)
    assert calls[3].matcher.templates.references is search.references


def test_aligned_volumes_are_turned_back(calls: list[Call]) -> None:
    search, k = PoseSearch((1, 24, 24, 24), 2), torch.tensor([1, 0])
    volumes, measured = random_volumes(2, 24), even_weights(2, 24)
    aligned = search.align(volumes, k, measured, coarse=True)
    poses = Poses(known(2).rotations, 1.5 * known(2).shifts)
    torch.testing.assert_close(aligned.poses, poses)
    torch.testing.assert_close(aligned.volumes, resized(poses.undo(volumes), 16), rtol=0, atol=1e-5)
    expected = poses.undo_spectra(measured[:, 4:20, 4:20, 4:20])
    torch.testing.assert_close(aligned.measured, expected, rtol=0, atol=1e-5)
    assert calls[0].matcher.k is k
    assert calls[0].matcher.measured is not None
    assert len(calls[0].steps) == 4
    without = search.align(volumes, k)
    assert without.measured is None
    assert calls[1].matcher.measured is None
    assert len(calls[1].steps) == 5


@pytest.mark.parametrize(("box", "start"), [(16, 0), (17, 0), (18, 1), (21, 2)])
def test_spectra_are_cropped_about_the_zero_frequency(box: int, start: int) -> None:
    search = PoseSearch((1, box, box, box), 1)
    spectra = random_volumes(2, box)[:, 0]
    kept = slice(start, start + 16)
    assert torch.equal(search.crop(spectra), spectra[:, kept, kept, kept])
    whole = random_volumes(1, 16)
    assert search.bin(whole) is whole


def test_residuals_and_weights_are_of_what_was_measured() -> None:
    volumes, references, weights = random_volumes(2), random_volumes(2, seed=3), even_weights(2)
    everything, part = as_they_are(volumes), as_they_are(volumes, weights)
    assert torch.equal(everything.residual(references), volumes - references)
    assert everything.weighted()[0] is volumes
    assert torch.equal(everything.weighted()[1], torch.ones(2, SMALL, SMALL, SMALL))
    for volume, reference, weight, residual, weighted in zip(
        volumes, references, weights, part.residual(references), part.weighted()[0], strict=True
    ):
        factor = torch.fft.ifftshift(weight)
        expected = torch.fft.ifftn(torch.fft.fftn((volume - reference)[0]) * factor).real
        torch.testing.assert_close(residual[0], expected, rtol=0, atol=1e-5)
        expected = torch.fft.ifftn(torch.fft.fftn(volume[0]) * factor).real
        torch.testing.assert_close(weighted[0], expected, rtol=0, atol=1e-5)
    assert part.weighted()[1] is weights


@pytest.mark.parametrize(("often", "divisor"), [(10.0, 10), (3.0, 3), (1.0, 1), (0.5, 1), (0.0, 1)])
def test_frequencies_that_were_seldom_measured_are_damped(often: float, divisor: float) -> None:
    """Of 20 volumes, one in twenty is one."""
    summed, measured = torch.full((1, 4, 4, 4), 6.0), torch.full((4, 4, 4), often)
    for count in (20, torch.tensor(20.0)):
        torch.testing.assert_close(weighted_mean(summed, measured, count), summed / divisor)


class Start(NamedTuple):
    """One call of `PoseSearch._best_start`."""

    cluster: int
    volumes: Tensor
    measured: Tensor | None
    mean: Tensor


def starts_of(search: PoseSearch, monkeypatch: pytest.MonkeyPatch) -> dict[int, Start]:
    """Replace the choice of a first reference by that of all ones."""
    recorded: dict[int, Start] = {}

    def best_start(cluster: int, volumes: Tensor, measured: Tensor | None, mean: Tensor) -> Tensor:
        recorded[cluster] = Start(cluster, volumes, measured, mean)
        return torch.ones_like(mean)

    monkeypatch.setattr(search, "_best_start", best_start)
    return recorded


def test_the_first_volumes_of_each_cluster_are_tried_and_all_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poses_module, "START_VOLUMES", 3)
    search = PoseSearch((1, 18, 18, 18), 4)
    volumes, weights = random_volumes(10, 18), even_weights(10, 18)
    k = torch.tensor([0, 2, 0, 3, 0, 0, 2, 3, 0, 0])
    search.collect(volumes[:3], k[:3], weights[:3])
    search.collect(volumes[3:8], k[3:8], weights[3:8])
    search.collect(volumes[8:], k[8:], weights[8:])
    assert search.counts.tolist() == [6, 0, 2, 2]
    starts = starts_of(search, monkeypatch)
    search.initialise(7)
    assert sorted(starts) == [0, 2, 3]
    for cluster, first in ((0, [0, 2, 4]), (2, [1, 6]), (3, [3, 7])):
        start = starts[cluster]
        torch.testing.assert_close(start.volumes, resized(volumes[first], 16), rtol=0, atol=1e-5)
        assert torch.equal(start.measured, weights[first, 1:17, 1:17, 1:17])
        torch.testing.assert_close(start.mean, resized(volumes[k == cluster], 16).mean(dim=0), rtol=0, atol=1e-5)
        assert bool((search.references[cluster] == 1).all())
    assert not search.references[1].any()
    assert int(search.epoch) == 7
    assert not search.counts.any()
    assert not search.sums.any()
    starts.clear()
    search.initialise(8)  # nothing was collected since
    assert not starts


def test_first_volumes_without_spectra_count_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    search, volumes = PoseSearch((1, SMALL, SMALL, SMALL), 2), random_volumes(4)
    search.collect(volumes[:2], torch.tensor([0, 1]), even_weights(2))
    search.collect(volumes[2:], torch.tensor([0, 0]))
    starts = starts_of(search, monkeypatch)
    search.initialise(0)
    assert starts[0].measured is None
    assert torch.equal(starts[0].volumes, volumes[[0, 2, 3]])
    assert torch.equal(starts[1].measured, even_weights(2)[1:])


def test_150_first_volumes_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    search = PoseSearch((1, 2, 2, 2), 1)
    search.collect(random_volumes(149, 2), torch.zeros(149, dtype=torch.long))
    search.collect(random_volumes(5, 2), torch.zeros(5, dtype=torch.long))
    starts = starts_of(search, monkeypatch)
    search.initialise(0)
    assert len(starts[0].volumes) == 150


def start_from(
    volumes: Tensor, measured: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, list[Tensor]]:
    """Return the best start where no volume is turned, and the references that were compared with."""
    search, mean = PoseSearch((1, SMALL, SMALL, SMALL), 3), torch.full((1, SMALL, SMALL, SMALL), 0.5)
    compared: list[Tensor] = []

    def align(x: Tensor, k: Tensor, m: Tensor | None, coarse: bool) -> AlignedVolumes:
        assert search._templates is None
        assert x is volumes
        assert m is measured
        assert k.tolist() == [1] * len(volumes)
        assert coarse
        search._templates = object()  # of references that change
        compared.append(search.references[1].clone())
        return as_they_are(volumes * len(compared), measured)

    monkeypatch.setattr(search, "align", align)
    with torch.device("meta"):  # a tensor on the default device would be on another than these
        best = search._best_start(1, volumes, measured, mean)
    assert not search.references[[0, 2]].any()
    return best, compared


@pytest.mark.parametrize("weights", [None, even_weights(6)])
def test_each_start_alternates_three_times(weights: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes that grow from call to call differ most in the last: the first start is the best."""
    volumes = random_volumes(6)
    best, compared = start_from(volumes, weights, monkeypatch)
    seen = volumes if weights is None else filtered(volumes, weights[:, None])
    total = 6 * torch.ones(SMALL, SMALL, SMALL) if weights is None else weights.sum(dim=0)
    mean = weighted_mean(seen.sum(dim=0), total, 6)
    assert len(compared) == 12
    for call, reference in enumerate(compared):
        expected = volumes[call // 3] + 0.5 if call % 3 == 0 else call * mean
        torch.testing.assert_close(reference, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(best, 3 * mean, rtol=0, atol=1e-4)


def test_the_start_with_the_smallest_residual_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one round, residuals are those of the starts: the third is the mean of all, less what is added."""
    monkeypatch.setattr(poses_module, "START_ROUNDS", 1)
    volumes = random_volumes(5)
    search, mean = PoseSearch((1, SMALL, SMALL, SMALL), 1), torch.zeros(1, SMALL, SMALL, SMALL)
    volumes[2] = volumes[[0, 1, 3, 4]].mean(dim=0)
    results = iter(float(number) for number in range(10))

    def align(x: Tensor, k: Tensor, m: Tensor | None, coarse: bool) -> AlignedVolumes:
        return as_they_are(x, m)

    def numbered(summed: Tensor, weight: Tensor, count: int) -> Tensor:
        return torch.full_like(summed, next(results))

    monkeypatch.setattr(search, "align", align)
    monkeypatch.setattr(poses_module, "weighted_mean", numbered)
    assert bool((search._best_start(0, volumes, None, mean) == 2).all())
    same = torch.stack([volumes[0]] * 3)  # of equals the first
    assert bool((search._best_start(0, same, None, mean) == 4).all())


def test_without_a_residual_the_first_start_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    search, mean = PoseSearch((1, SMALL, SMALL, SMALL), 1), torch.ones(1, SMALL, SMALL, SMALL)
    volumes = random_volumes(2)
    monkeypatch.setattr(search, "align", lambda x, *_, coarse: as_they_are(x * torch.nan))
    assert torch.equal(search._best_start(0, volumes, None, mean), volumes[0] + 1)


def test_sums_are_of_each_cluster_and_divided_by_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    search, volumes, weights = PoseSearch((1, SMALL, SMALL, SMALL), 3), random_volumes(3), even_weights(3)
    k = torch.tensor([2, 0, 2])
    search._templates = object()
    search.accumulate(as_they_are(volumes, weights), k, 0)
    assert search._templates is not None  # the references are the same
    seen = filtered(volumes, weights[:, None])
    assert search.counts.tolist() == [1, 0, 2]
    torch.testing.assert_close(search.sums[2], seen[0] + seen[2])
    torch.testing.assert_close(search.measured[2], weights[0] + weights[2])
    torch.testing.assert_close(search.measured[0], weights[1])
    assert not search.sums[1].any()
    search.accumulate(as_they_are(volumes[:1]), k[1:2], 5)
    assert search._templates is None
    assert int(search.epoch) == 5
    torch.testing.assert_close(search.references[0], volumes[1], rtol=0, atol=1e-4)
    expected = weighted_mean(seen[0] + seen[2], weights[0] + weights[2], 2)
    torch.testing.assert_close(search.references[2], expected, rtol=0, atol=1e-4)
    assert search.counts.tolist() == [1, 0, 0]
    assert torch.equal(search.sums[0], volumes[0])
    assert torch.equal(search.measured[0], torch.ones(SMALL, SMALL, SMALL))
    assert not search.measured[2].any()
