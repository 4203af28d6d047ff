"""Matching in Fourier space: frequencies, rotated spectra, scores and shifts, against plain transforms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dualcontrast.poses import Poses
from dualcontrast.poses.fourier import FourierMatcher, Frequencies, RotatedSpectra, peak_positions
from dualcontrast.poses.search import GridStep, grid_on, search_poses
from dualcontrast.transforms import random_rotations, resample, rotation_grid
from dualcontrast.transforms.fourier import filtered

BOX = 12
CPU = torch.device("cpu")
X_TO_Y = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
NONE = torch.zeros(1, 3)


def smooth(seed: int = 0, box: int = BOX) -> Tensor:
    """Return a smooth volume without symmetry, (N, N, N), that fades towards the sides."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(box) - box // 2
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).float()
    centres = (torch.rand(6, 3, generator=generator) - 0.5) * 0.5 * box
    return sum(torch.exp(-(grid - c).square().sum(dim=-1) / (0.015 * box**2)) for c in centres)


def random_volumes(count: int, box: int = BOX) -> Tensor:
    return torch.randn(count, box, box, box, generator=torch.Generator().manual_seed(0))


def rotations_of(count: int) -> Tensor:
    torch.manual_seed(1)
    return random_rotations(count, 3, 180, CPU)


def matcher_of(
    data: Tensor, reference: Tensor, cutoff: float = 4, reach: float | None = 1, weight: Tensor | None = None
) -> FourierMatcher:
    return FourierMatcher(
        reference, data, torch.ones_like(data) if weight is None else weight, cutoff=cutoff, reach=reach
    )


# ---- frequencies


@pytest.mark.parametrize(
    ("box", "cutoff", "largest", "radius"),
    [(8, 2.5, 2, 2.5), (8, 2, 2, 2), (8, 9, 3, 9), (7, 9, 3, 9), (8, 0.3, 1, 1)],
)
def test_one_of_each_pair_of_frequencies_is_compared(box: int, cutoff: float, largest: int, radius: float) -> None:
    k = Frequencies(box, cutoff).k
    axis = range(-largest, largest + 1)
    expected = {(x, y, z) for x in axis for y in axis for z in axis if 0 < x * x + y * y + z * z <= radius**2}
    found = {tuple(map(int, row)) for row in k.tolist()}
    opposite = {(-x, -y, -z) for x, y, z in found}
    assert len(found) == len(k)
    assert not found & opposite
    assert found | opposite == expected
    assert Frequencies(box, cutoff).largest == largest


@pytest.mark.parametrize("box", [7, 8])
def test_transforms_are_about_the_central_voxel(box: int) -> None:
    volumes, frequencies = random_volumes(2, box), Frequencies(box, 3)
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    positions = torch.stack([x, y, z], dim=-1).reshape(-1, 3).float()
    waves = torch.exp(-2j * math.pi / box * (positions @ frequencies.k.T))
    expected = volumes.flatten(1).to(waves) @ waves
    torch.testing.assert_close(frequencies.transform(volumes), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("box", [11, 12])
def test_values_at_frequencies_are_selected_x_first(box: int) -> None:
    frequencies = Frequencies(box, 3)
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    found = frequencies.select(torch.stack([x, y, z]).float())
    assert torch.equal(found, frequencies.k.T)


def test_spectra_are_shifted_as_volumes_are() -> None:
    volumes, frequencies = random_volumes(2), Frequencies(BOX, 4)
    shifts = torch.tensor([[2.0, -1, 0], [0, 3, 1]])
    moved = torch.stack([volumes[0].roll((2, -1), (2, 1)), volumes[1].roll((3, 1), (1, 0))])
    found = frequencies.transform(volumes) * frequencies.shift(shifts)
    torch.testing.assert_close(found, frequencies.transform(moved), rtol=0, atol=1e-3)


# ---- rotated copies


@pytest.mark.parametrize("box", [11, 12])
@pytest.mark.parametrize("cutoff", [3, 6])
def test_spectra_are_rotated_as_volumes_are(box: int, cutoff: float) -> None:
    volume, frequencies = smooth(1, box), Frequencies(box, cutoff)
    rotations = torch.cat([torch.eye(3)[None], X_TO_Y, rotations_of(2)])
    found = RotatedSpectra(volume, frequencies)(rotations)
    copies = resample(volume.expand(4, 1, box, box, box), rotations)[:, 0]
    expected = frequencies.transform(copies)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found[0], frequencies.transform(volume[None])[0], rtol=0, atol=2e-3 * scale)
    torch.testing.assert_close(found[1], expected[1], rtol=0, atol=0.02 * scale)
    torch.testing.assert_close(found[2:], expected[2:], rtol=0, atol=0.12 * scale)


def test_rotations_may_have_any_shape() -> None:
    spectra = RotatedSpectra(smooth(), Frequencies(BOX, 3))
    rotations = rotations_of(6)
    assert torch.equal(spectra(rotations.reshape(2, 3, 3, 3)).reshape(6, -1), spectra(rotations))


# ---- scores


def test_scores_and_shifts_are_those_of_the_definition() -> None:
    """Every rotation and shift in turn; the weights differ from frequency to frequency and volume to volume."""
    data, reference = random_volumes(2), smooth(1)
    axis = torch.arange(BOX) - BOX // 2
    radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).float().sqrt()
    weight = torch.stack([1 / (1 + radius), (radius < 3.5).float()])
    rotations = rotations_of(3)
    start = torch.tensor([[0.5, 0, -1], [0, 0, 0]])
    matcher = matcher_of(data, reference, cutoff=4, reach=1, weight=weight)
    matches = matcher.match(rotations, start)
    frequencies = Frequencies(BOX, 4)
    rotated = RotatedSpectra(reference, frequencies)(rotations)
    assert matcher.step == 1
    for b in range(2):
        for r in range(3):
            norm = (frequencies.select(weight)[b] * rotated[r].abs() ** 2).sum().sqrt()
            best = -math.inf
            for z in (-1, 0, 1):
                for y in (-1, 0, 1):
                    for x in (-1, 0, 1):
                        shift = start[b] + torch.tensor([x, y, z])
                        at = rotated[r] * frequencies.shift(shift[None])[0]
                        best = max(best, float((frequencies.transform(data)[b].conj() * at).sum().real / norm))
            assert float(matches.scores[b, r]) == pytest.approx(best, rel=1e-4)


def test_own_rotations_score_as_shared_ones() -> None:
    matcher, shared, shifts = matcher_of(random_volumes(3), smooth(1)), rotations_of(5), torch.zeros(3, 3)
    one, other = matcher.match(shared, shifts), matcher.match(shared.expand(3, -1, -1, -1), shifts)
    assert one.scores.shape == (3, 5)
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-4)
    best = torch.tensor([[4, 1], [0, 2], [3, 3]])
    for found, expected in zip(one.locate(best), other.locate(best), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_scores_do_not_depend_on_the_scale_of_the_reference() -> None:
    data, rotations = random_volumes(1), rotations_of(2)
    expected = matcher_of(data, smooth()).match(rotations, NONE).scores
    found = matcher_of(data, 1e-4 * smooth()).match(rotations, NONE).scores
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_references_without_anything_do_no_harm() -> None:
    matches = matcher_of(random_volumes(1), torch.zeros(BOX, BOX, BOX)).match(rotations_of(2), NONE)
    assert not matches.scores.any()


def test_of_the_candidates_the_best_at_its_finest_shift_is_returned() -> None:
    """Half a voxel off the lattice, the right rotation may score lower than others on it."""
    reference, rotations = smooth(1), rotations_of(3)
    particle = Poses(rotations[1:2], torch.tensor([[0.5, -0.5, 0.5]])).apply(reference[None, None])[:, 0]
    poses = matcher_of(particle, reference).match(rotations, NONE).locate(torch.tensor([[0, 2, 1]]))
    assert torch.equal(poses.rotations[0], rotations[1])
    torch.testing.assert_close(poses.shifts, torch.tensor([[0.5, -0.5, 0.5]]), rtol=0, atol=0.15)
    one = matcher_of(particle, reference).match(rotations, NONE).locate(torch.tensor([[2]]))
    assert torch.equal(one.rotations[0], rotations[2])


def test_candidates_are_compared_by_their_constrained_correlations() -> None:
    """A reference that is bright along one axis, and weights that see little of it in one of the rotations."""
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    reference = torch.exp(-(x**2) / 2 - (y**2 + z**2) / 18.0)
    weight = torch.where((x.abs() >= y.abs()) & (x != 0), 0.01, 1.0)[None]
    rotations = torch.cat([torch.eye(3)[None], X_TO_Y])
    particle = filtered(reference[None], weight)  # its own rotation explains all of what little was measured
    matcher = matcher_of(particle, reference, weight=weight)
    matches = matcher.match(rotations, NONE)
    assert FourierMatcher.candidates == 8
    assert matches.scores[0, 0] > matches.scores[0, 1]
    assert torch.equal(matches.locate(torch.tensor([[0, 1]])).rotations[0], torch.eye(3))
    assert torch.equal(matches.locate(torch.tensor([[1, 0]])).rotations[0], torch.eye(3))


def test_candidates_are_compared_relative_to_how_much_of_them_was_measured() -> None:
    """Of a long reference much is measured in one direction, and little in others."""
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    reference = torch.exp(-(x**2) / 20 - y**2 / 2 - (z - 1) ** 2 / 2)
    weight = torch.where(x.abs() > 1, 1.0, 0.01)[None]
    rotations, data = torch.cat([torch.eye(3)[None], rotations_of(7)]), random_volumes(1)
    matcher = matcher_of(data, reference, reach=0, weight=weight)
    start, scores = torch.zeros(1, 3), []
    for offset in matcher.nearby:
        scores.append(matcher.match(rotations, start + offset).scores[0])
    heights = torch.stack(scores).amax(dim=0)
    matches = matcher.match(rotations, start)
    for first in range(7):  # of all, and of the later ones
        found = matches.locate(torch.arange(first, 8)[None])
        assert torch.equal(found.rotations[0], rotations[first + int(heights[first:].argmax())])
        assert not found.shifts.any()


def test_shifts_are_found_between_voxels_and_from_a_start() -> None:
    reference, frequencies = smooth(1), Frequencies(BOX, 5)
    shift = torch.tensor([[2.3, -0.6, 1.1]])
    spectrum = frequencies.transform(reference[None]) * frequencies.shift(shift)
    matcher = matcher_of(reference[None], reference, cutoff=5, reach=1)
    matcher.spectra = spectrum  # an exact shift, without interpolation
    start = torch.tensor([[2.0, 0, 1]])
    found = matcher.match(torch.eye(3)[None], start).locate(torch.tensor([[0]]))
    torch.testing.assert_close(found.shifts, shift, rtol=0, atol=0.1)


@pytest.mark.parametrize(("reach", "largest"), [(0.7, 0.7), (1.5, 1.5), (None, 1.0)])
def test_shifts_end_at_the_reach(reach: float | None, largest: float) -> None:
    reference = smooth(1)
    moved = reference.roll((3, -3), (2, 0))[None]  # by 3 along x and -3 along z
    start = torch.tensor([[0.2, 0, 0.1]])
    found = matcher_of(moved, reference, cutoff=4, reach=reach).match(torch.eye(3)[None], start)
    shifts = found.locate(torch.tensor([[0]])).shifts - start
    torch.testing.assert_close(shifts[0, [0, 2]], torch.tensor([largest, -largest]), rtol=0, atol=1e-5)


def test_the_lattice_of_shifts_covers_the_reach() -> None:
    matcher = matcher_of(random_volumes(1), smooth(), cutoff=2, reach=5)
    assert matcher.step == 2
    assert matcher.offsets.abs().max() == 6
    assert matcher.offsets.shape == (7**3, 3)
    assert matcher.nearby.abs().max() == 2
    assert matcher.nearby.shape == (5**3, 3)


def test_a_pose_behind_a_wedge_is_found() -> None:
    reference, poses = smooth(2), Poses(rotations_of(3), torch.tensor([[1.0, -1, 0], [0, 0, 0.5], [-0.5, 0, 1]]))
    particles = poses.apply(reference.expand(3, 1, BOX, BOX, BOX))[:, 0]
    axis = torch.arange(BOX) - BOX // 2
    wedge = (axis[:, None, None].abs() <= 1.7 * axis.abs()).float().expand(3, BOX, BOX, BOX)
    wedge = wedge * wedge.flip((1, 2, 3)).roll((1, 1, 1), (1, 2, 3))
    matcher = matcher_of(filtered(particles, wedge), reference, cutoff=5, reach=2, weight=wedge)
    found = search_poses(matcher, Poses.identity(3), [GridStep(2000)])
    angles = ((found.rotations.mT @ poses.rotations).diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    assert angles.clamp(-1, 1).arccos().rad2deg().max() < 25
    assert (found.shifts - poses.shifts).abs().max() < 0.5


def test_everything_is_computed_where_the_volumes_are() -> None:
    """A tensor on the default device would be on another than these."""
    reference, data = smooth(), random_volumes(2)
    grid_on(20, CPU)
    with torch.device("meta"):
        matcher = matcher_of(data, reference)
        own = matcher.match(rotation_grid_of(data), torch.zeros(2, 3, device=CPU))
        own.locate(torch.zeros(2, 2, dtype=torch.long, device=CPU))
        found = search_poses(matcher, Poses.identity(2), [GridStep(20)])
    assert found.shifts.device == matcher.offsets.device == matcher.nearby.device == CPU
    torch.testing.assert_close(found, search_poses(matcher, Poses.identity(2), [GridStep(20)]))


def rotation_grid_of(data: Tensor) -> Tensor:
    return grid_on(20, data.device).expand(len(data), -1, -1, -1)


# ---- peaks


def test_peaks_lie_between_voxels() -> None:
    axis = torch.arange(5.0)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    cubes = torch.stack(
        [-((x - 1.8) ** 2) - 2 * (y - 2.3) ** 2 - (z - 3.1) ** 2, -((x - 3) ** 2) - (y - 1) ** 2 - (z - 2.25) ** 2]
    )
    found = peak_positions(cubes, cubes.flatten(1).argmax(dim=1))
    torch.testing.assert_close(found, torch.tensor([[1.8, 2.3, 3.1], [3, 1, 2.25]]))
    peaks = cubes.flatten(1).argmax(dim=1)
    with torch.device("meta"):  # nothing is on the default device
        again = peak_positions(cubes, peaks)
    assert torch.equal(again, found)


@pytest.mark.parametrize("edge", [0, 4])
def test_peaks_at_an_edge_stay_there(edge: int) -> None:
    axis = torch.arange(5.0)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    cube = -((x - edge) ** 2) - (y - 2.2) ** 2 - (z - edge) ** 2
    found = peak_positions(cube[None], cube.flatten().argmax()[None])
    torch.testing.assert_close(found, torch.tensor([[edge, 2.2, edge]]))


def test_flat_peaks_and_far_vertices_stay_in_their_voxel() -> None:
    cubes = torch.zeros(2, 3, 3, 3)
    cubes[1, 1, 1] = torch.tensor([1.0, 1.0, 0.0])  # as if the second were the peak
    found = peak_positions(cubes, torch.tensor([13, 13]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1, 1], [0.5, 1, 1]]))
    cubes[1, 1, 1] = torch.tensor([9.0, 1.0, -8.0])
    assert peak_positions(cubes, torch.tensor([13, 13]))[1].tolist() == [0.5, 1, 1]
    assert peak_positions(cubes.flip(3), torch.tensor([13, 13]))[1].tolist() == [1.5, 1, 1]


def test_the_best_of_some_rotations_is_that_of_a_slow_search() -> None:
    """Every rotation and whole shift is tried in turn, with numpy."""
    reference, rotations = smooth(3, 8), rotation_grid(15)
    particle = Poses(rotations_of(1), torch.tensor([[0.6, -0.9, 0.2]])).apply(reference[None, None])[:, 0]
    spectrum = np.fft.fftn(particle[0].numpy())
    k = np.fft.fftfreq(8) * 8
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2)
    inside = (radius > 0) & (radius <= 2.7)
    copies = resample(reference.expand(15, 1, 8, 8, 8), rotations)[:, 0].numpy()
    best, expected = -np.inf, (0, (0, 0, 0))
    for place, candidate in enumerate(copies):
        transform = np.fft.fftn(candidate) * inside
        score = np.fft.ifftn(spectrum * transform.conj()).real / np.sqrt((np.abs(transform) ** 2).sum())
        for z in (-1, 0, 1):
            for y in (-1, 0, 1):
                for x in (-1, 0, 1):
                    if score[z, y, x] > best:
                        best, expected = score[z, y, x], (place, (x, y, z))
    matcher = matcher_of(particle, reference, cutoff=2.7, reach=1)
    found = search_poses(matcher, Poses.identity(1), [GridStep(15)])
    assert torch.equal(found.rotations[0], rotations[expected[0]])
    assert found.shifts[0].round().tolist() == list(expected[1])
