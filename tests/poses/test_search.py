"""The steps of the search, against a matcher whose scores are known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.poses import Poses
from dualcontrast.poses.search import (
    GridStep,
    Matcher,
    Matches,
    NearbyStep,
    ParabolaStep,
    _vertices,
    grid_on,
    lattice,
    rotations_near,
    search_poses,
)
from dualcontrast.transforms import random_rotations, rotation_grid, rotations_by

CPU = torch.device("cpu")


class AngularMatches(Matches):
    """Scores that fall with the squared angle to the true rotation; shifts that count the steps."""

    def __init__(self, matcher: AngularMatcher, rotations: Tensor, shifts: Tensor) -> None:
        self.matcher, self.rotations, self.shifts = matcher, rotations, shifts
        relative = matcher.truth.mT[:, None] @ rotations.expand(len(shifts), -1, -1, -1)
        cosines = (relative.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1) / 2
        self.scores = -cosines.clamp(-1, 1).arccos().square()

    def locate(self, best: Tensor) -> Poses:
        self.matcher.located.append(best)
        return Poses(self.at(best)[:, 0], self.shifts + 1)


class AngularMatcher:
    """Knows the true rotations (B, 3, 3)."""

    def __init__(self, truth: Tensor, candidates: int = 1) -> None:
        self.truth, self.candidates = truth, candidates
        self.located: list[Tensor] = []

    def match(self, rotations: Tensor, shifts: Tensor) -> Matches:
        return AngularMatches(self, rotations, shifts)

    def errors(self, poses: Poses) -> Tensor:
        """Return the angles to the true rotations, (B,), in degrees."""
        scores = self.match(poses.rotations[:, None], poses.shifts).scores[:, 0]
        return (-scores).sqrt().rad2deg()


def truth(count: int = 5) -> Tensor:
    torch.manual_seed(3)
    return random_rotations(count, 3, 180, CPU)


def test_the_best_rotation_of_the_grid_is_taken() -> None:
    matcher = AngularMatcher(truth())
    found = GridStep(500)(matcher, Poses.identity(5))
    grid = rotation_grid(500)
    traces = torch.einsum("bij,rij->br", matcher.truth, grid)
    assert torch.equal(found.rotations, grid[traces.argmax(dim=1)])
    assert torch.equal(found.shifts, torch.ones(5, 3))  # located once, from where the poses were
    assert matcher.located[0].shape == (5, 1)


def test_the_first_of_equal_rotations_is_taken() -> None:
    matcher = AngularMatcher(truth(1) * 0)
    GridStep(40)(matcher, Poses.identity(1))
    assert matcher.located[0].tolist() == [[0]]


@pytest.mark.parametrize(("candidates", "count", "located"), [(4, 300, 4), (4, 3, 3), (1, 3, 1)])
def test_as_many_candidates_as_the_matcher_wants_are_located(candidates: int, count: int, located: int) -> None:
    matcher = AngularMatcher(truth(), candidates)
    GridStep(count)(matcher, Poses.identity(5))
    (best,) = matcher.located
    scores = matcher.match(rotation_grid(count), torch.zeros(5, 3)).scores
    assert torch.equal(best, scores.argsort(dim=1, descending=True)[:, :located])


def test_the_best_rotation_nearby_is_taken() -> None:
    matcher = AngularMatcher(truth())
    turn = rotations_by(torch.tensor([0.0, math.radians(8), 0]))
    start = Poses(matcher.truth @ turn, torch.zeros(5, 3))
    found = NearbyStep(4)(matcher, start)  # the step of -8 degrees about y is on the lattice
    assert matcher.errors(start).min() > 7.9
    assert matcher.errors(found).max() < 0.1
    assert torch.equal(found.shifts, torch.ones(5, 3))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [3.0, -2.0])
def test_the_vertex_of_a_parabola_is_exact_where_scores_are_quadratic(axis: int, degrees: float) -> None:
    matcher = AngularMatcher(truth())
    turn = torch.zeros(3)
    turn[axis] = math.radians(degrees)
    start = Poses(matcher.truth @ rotations_by(turn), torch.zeros(5, 3))
    found = ParabolaStep(5)(matcher, start)
    assert matcher.errors(found).max() < 0.1
    assert torch.equal(found.shifts, torch.ones(5, 3))
    assert matcher.located[0].tolist() == [[1]] * 5


def test_a_parabola_goes_no_further_than_its_step() -> None:
    matcher = AngularMatcher(truth())
    start = Poses(matcher.truth @ rotations_by(torch.tensor([0.0, 0, math.radians(20)])), torch.zeros(5, 3))
    found = ParabolaStep(5)(matcher, start)
    torch.testing.assert_close(matcher.errors(found), torch.full((5,), 15.0), rtol=0, atol=0.1)


def test_a_rotation_is_kept_where_none_is_better() -> None:
    matcher = AngularMatcher(truth())
    start = Poses(matcher.truth, torch.zeros(5, 3))
    found = ParabolaStep(5)(matcher, start)
    torch.testing.assert_close(found.rotations, matcher.truth, rtol=0, atol=1e-3)


def test_a_rotation_is_kept_where_others_are_as_good() -> None:
    matcher = AngularMatcher(truth(2) * 0)
    ParabolaStep(5)(matcher, Poses.identity(2))
    assert matcher.located[0].tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("low", "middle", "high", "vertex"),
    [
        (0, 1, 0, 0),
        (0, 3, 2, 0.25),
        (2, 3, 0, -0.25),
        (0, 3, 4, 1),  # the vertex is at 1
        (0, 5, 8, 1),  # at 2
        (8, 5, 0, -1),
        (0, 1, 2, 1),  # a line
        (2, 1, 0, -1),
        (1, 0, 2, 1),  # lowest between them
        (2, 0, 1, -1),
        (0.3, 0, 0.2, -1),
        (1, 1, 1, 0),
        (1, 0, 1, 0),
    ],
)
def test_vertices_are_within_the_three_points(low: float, middle: float, high: float, vertex: float) -> None:
    found = _vertices(torch.tensor(float(low)), torch.tensor(float(middle)), torch.tensor(float(high)))
    assert float(found) == pytest.approx(vertex)


class LineMatches(Matches):
    """Scores that depend on the angle about z alone."""

    def __init__(self, rotations: Tensor, scores: Tensor) -> None:
        self.rotations, self.scores = rotations, scores

    def locate(self, best: Tensor) -> Poses:
        return Poses(self.at(best)[:, 0], torch.zeros(len(best), 3))


class LineMatcher:
    candidates = 1

    def __init__(self, power: int, sign: float) -> None:
        self.power, self.sign = power, sign

    def match(self, rotations: Tensor, shifts: Tensor) -> Matches:
        angles = torch.atan2(rotations[..., 1, 0], rotations[..., 0, 0])
        return LineMatches(rotations, self.sign * angles**self.power)


def angle_about_z(poses: Poses) -> float:
    return math.degrees(math.atan2(float(poses.rotations[0, 1, 0]), float(poses.rotations[0, 0, 0])))


@pytest.mark.parametrize(("power", "sign", "expected"), [(1, 1.0, 5.0), (1, -1.0, -5.0), (2, 1.0, 5.0)])
def test_without_a_vertex_the_higher_side_is_taken(power: int, sign: float, expected: float) -> None:
    start = Poses(rotations_by(torch.tensor([[0.0, 0, math.radians(1)]])), torch.zeros(1, 3))
    found = ParabolaStep(5)(LineMatcher(power, sign), start)
    assert angle_about_z(found) == pytest.approx(1 + expected, abs=0.01)


def test_a_worse_vertex_is_refused() -> None:
    """A narrow peak beside which scores rise: three points say little of it."""

    class PeakMatcher(LineMatcher):
        def match(self, rotations: Tensor, shifts: Tensor) -> Matches:
            angles = torch.atan2(rotations[..., 1, 0], rotations[..., 0, 0]).rad2deg()
            return LineMatches(rotations, (angles.abs() < 0.5).float() + 0.01 * (angles > 4))

    found = ParabolaStep(5)(PeakMatcher(1, 1), Poses.identity(1))
    assert angle_about_z(found) == pytest.approx(0.0, abs=0.1)


def test_a_search_takes_its_steps_in_turn() -> None:
    matcher = AngularMatcher(truth())
    start = Poses.identity(5)
    assert search_poses(matcher, start, []) is start
    found = search_poses(matcher, start, [GridStep(4608), ParabolaStep(7), ParabolaStep(5)])
    assert torch.equal(found.shifts, torch.full((5, 3), 3.0))
    assert matcher.errors(found).max() < 2
    assert matcher.errors(GridStep(1000)(matcher, start)).mean() > 5


def test_matches_give_the_rotations_at_indices() -> None:
    best = torch.tensor([[2, 0], [1, 1]])
    shared, several = rotation_grid(3), rotation_grid(6).reshape(2, 3, 3, 3)
    matcher: Matcher = AngularMatcher(truth(2))
    assert torch.equal(matcher.match(shared, torch.zeros(2, 3)).at(best), shared[best])
    own = matcher.match(several, torch.zeros(2, 3)).at(best)
    assert torch.equal(own, torch.stack([several[0, [2, 0]], several[1, [1, 1]]]))


def test_steps_are_values() -> None:
    assert len({GridStep(3), GridStep(3), NearbyStep(3), NearbyStep(3), ParabolaStep(3), ParabolaStep(3)}) == 3


def test_a_grid_is_made_once() -> None:
    assert grid_on(40, CPU) is grid_on(40, CPU)
    assert torch.equal(grid_on(40, CPU), rotation_grid(40))


def test_rotations_near_are_within_two_steps() -> None:
    near = rotations_near(4)
    turns = Rotation.from_matrix(near.numpy()).as_rotvec(degrees=True)
    expected = [v for v in lattice(2).tolist() if sum(x * x for x in v) <= 4]
    assert near.dtype == torch.float32
    assert len(near) == 33
    torch.testing.assert_close(torch.from_numpy(turns).float(), 4 * torch.tensor(expected), rtol=0, atol=1e-3)


def test_a_lattice_holds_whole_numbers_with_x_fastest() -> None:
    points = lattice(1)
    assert points.shape == (27, 3)
    assert points[:4].tolist() == [[-1, -1, -1], [0, -1, -1], [1, -1, -1], [-1, 0, -1]]
    assert points[13].tolist() == [0, 0, 0]
    assert points[-1].tolist() == [1, 1, 1]
    assert lattice(2).shape == (125, 3)


def test_everything_is_computed_where_the_poses_are() -> None:
    """A tensor on the default device would be on another than these."""
    matcher, start = AngularMatcher(truth(2)), Poses(truth(2), torch.zeros(2, 3))
    expected = [NearbyStep(4)(matcher, start), ParabolaStep(5)(matcher, start)]
    with torch.device("meta"):
        found = [NearbyStep(4)(matcher, start), ParabolaStep(5)(matcher, start)]
        near, points = rotations_near(4, CPU), lattice(1, CPU)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.rotations, other.rotations)
    assert torch.equal(near, rotations_near(4))
    assert torch.equal(points, lattice(1))
