from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from dualcontrast.evaluation.results import ViewpointScores
from dualcontrast.evaluation.viewpoint import describe_viewpoint, viewing_directions, viewpoint_score
from dualcontrast.images import open_images
from dualcontrast.images.linemod import POSE_COLUMNS
from dualcontrast.runs import SavedCodes


def poses(count: int = 600, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Give two objects at random rotations, a third of the images for testing, and the rotation matrices."""
    rotations = Rotation.random(count, rng=np.random.default_rng(seed))
    place = np.arange(count)
    table = pd.DataFrame(
        {
            "row": place,
            "split": np.where(place // 2 % 3 == 2, "test", "train"),
            "content": np.array(["ape", "cat"])[place % 2],
        }
    )
    table[list(POSE_COLUMNS)] = rotations.as_quat()[:, [3, 0, 1, 2]]  # scipy has the real part last
    return table, rotations.as_matrix()


def noise(count: int, seed: int, size: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, size))


def saved(content: np.ndarray, transformation: np.ndarray, table: pd.DataFrame) -> SavedCodes:
    return SavedCodes(content, transformation, content, transformation, table)


def test_the_direction_is_the_third_row_of_the_rotation_whatever_the_quaternions_length() -> None:
    table, matrices = poses(50)
    np.testing.assert_allclose(viewing_directions(table), matrices[:, 2], atol=1e-12)
    table[list(POSE_COLUMNS)] *= -2.5
    np.testing.assert_allclose(viewing_directions(table), matrices[:, 2], atol=1e-12)


# ---- codes whose answer is known by construction


def test_perfect_codes() -> None:
    table, matrices = poses()
    score = viewpoint_score(saved(noise(600, 1), matrices[:, 2] @ noise(3, 2) + 5, table))
    assert score is not None
    assert score.from_transformation == pytest.approx(1, abs=1e-3)
    assert abs(score.from_content) < 0.1
    assert score.chance == 0


def test_swapped_codes() -> None:
    table, matrices = poses()
    perfect = viewpoint_score(saved(noise(600, 1), matrices[:, 2], table))
    swapped = viewpoint_score(saved(matrices[:, 2], noise(600, 1), table))
    assert perfect is not None and swapped is not None
    assert swapped.from_content == perfect.from_transformation > 0.99
    assert swapped.from_transformation == perfect.from_content < 0.1


def test_entangled_codes() -> None:
    table, matrices = poses()
    both = np.hstack([matrices[:, 2], 3.0 * (table["content"] == "cat").to_numpy()[:, None]])
    score = viewpoint_score(saved(both, both, table))
    assert score is not None
    assert score.from_transformation == score.from_content > 0.99


def test_random_codes() -> None:
    table, _ = poses()
    score = viewpoint_score(saved(noise(600, 1), noise(600, 2), table))
    assert score is not None
    assert abs(score.from_transformation) < 0.1
    assert abs(score.from_content) < 0.1


def test_a_code_that_is_constant_is_at_chance() -> None:
    table, _ = poses()
    score = viewpoint_score(saved(np.ones((600, 2)), np.ones((600, 2)), table))
    assert score is not None
    assert score.from_content == score.from_transformation == 0


# ---- details


def test_one_image_that_differs_does_not_outweigh_all_others() -> None:
    """A code that is all but constant in training, as a probability is, and different in a test image."""
    table, matrices = poses()
    code = np.full((600, 1), 1.0) + 1e-6 * matrices[:, 2, :1]
    code[np.flatnonzero(table["split"] == "test")[:2]] = 0.0
    score = viewpoint_score(saved(noise(600, 1), code, table))
    assert score is not None
    assert score.from_transformation > 0.2  # one of three numbers is told, but for two of 200 images


def test_objects_have_frames_of_their_own_and_count_alike() -> None:
    table, matrices = poses()
    code = matrices[:, 2].copy()
    cat = (table["content"] == "cat").to_numpy()
    code[cat] = -code[cat][:, [1, 2, 0]]  # over both objects no linear map fits
    score = viewpoint_score(saved(np.where(cat[:, None], code, 0.0), code, table))
    assert score is not None
    assert score.from_transformation > 0.99
    assert score.per_object["ape"].from_content == pytest.approx(0, abs=1e-6)
    assert score.from_content == pytest.approx(score.per_object["cat"].from_content / 2, abs=1e-4)
    assert [of.test_images for of in score.per_object.values()] == [100, 100]


def test_half_of_the_variance_is_half() -> None:
    """A code of the direction in noise of the same variance, beside least squares written out."""
    table, matrices = poses(3000)
    directions = matrices[:, 2]
    code = directions + noise(3000, 3, 3) * directions.std(axis=0)
    ape, test = (table["content"] == "ape").to_numpy(), (table["split"] == "test").to_numpy()
    train, tested = ape & ~test, ape & test
    inputs = np.hstack([code, np.ones((3000, 1))])
    weights = np.linalg.solve(inputs[train].T @ inputs[train], inputs[train].T @ directions[train])
    told = inputs[tested] @ weights
    told = np.array([direction / max(np.linalg.norm(direction), 1) for direction in told])
    error = np.square(told - directions[tested]).sum()
    expected = 1 - error / np.square(directions[tested] - directions[train].mean(axis=0)).sum()
    score = viewpoint_score(saved(noise(3000, 4), code, table))
    assert score is not None
    assert score.per_object["ape"].from_transformation == pytest.approx(expected, abs=5e-3)
    assert expected == pytest.approx(0.5, abs=0.05)


def test_without_poses_there_is_no_score() -> None:
    table, _ = poses(30)
    codes = noise(30, 0)
    assert viewpoint_score(saved(codes, codes, table.drop(columns="quat_2"))) is None
    assert viewpoint_score(saved(codes, codes, table.drop(columns="content"))) is None
    assert viewpoint_score(saved(codes, codes, table.assign(quat_0=np.nan))) is None
    assert viewpoint_score(saved(codes, codes, table.assign(split="train"))) is None


def test_the_renders_have_their_viewpoints(shared_data: Path) -> None:
    """Each is shown thrice, turned in the picture's plane: a wrong order of the numbers has no such triples."""
    images = open_images(shared_data / "linemod" / "fine_renders64.npz")
    ape = images.table[images.table["content"] == "ape"]
    directions, counts = np.unique(viewing_directions(ape).round(3), axis=0, return_counts=True)
    assert counts.tolist() == [3] * 337
    assert directions[:, 2].max() < 1e-3  # the camera looks down


def test_in_words() -> None:
    (line,) = describe_viewpoint(ViewpointScores(from_transformation=0.634, from_content=0.051, per_object={}))
    assert "explains 63 % of the variance" in line
    assert "content code 5 % (chance 0 %)" in line
