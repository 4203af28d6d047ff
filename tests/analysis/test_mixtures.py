from __future__ import annotations

import numpy as np
import pytest

from dualcontrast.analysis.mixtures import Candidate, by_size, largest_stable_number, mixture_of, reduced


def groups(count: int, images: int = 120, distance: float = 8.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Make codes (N, 6) of so many groups, and the groups."""
    labels = np.arange(images) % count
    noise = np.random.default_rng(seed).normal(size=(images, 6))
    return (distance * np.eye(count, 6)[labels] + noise).astype(np.float32), labels


def same_groups(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_number_of_groups_is_found(count: int) -> None:
    codes, labels = groups(count)
    mixture = mixture_of(codes, "auto")
    assert mixture.count == count
    assert same_groups(mixture.labels, labels)
    assert [one.clusters for one in mixture.candidates] == list(range(1, 11))


def test_a_single_group_is_not_split() -> None:
    rng = np.random.default_rng(0)
    assert mixture_of(rng.normal(size=(200, 4)) * [6, 1, 1, 1], "auto").count == 1
    angle = rng.uniform(0, 2 * np.pi, 200)  # the criterion alone would split a ring without end
    ring = np.stack([np.cos(angle), np.sin(angle), 0.1 * rng.normal(size=200)], axis=1)
    mixture = mixture_of(ring, "auto")
    assert mixture.candidates[5].bic < mixture.candidates[0].bic
    assert mixture.count == 1


def test_a_number_that_is_given_is_kept() -> None:
    codes, labels = groups(3)
    mixture = mixture_of(codes, 3)
    assert same_groups(mixture.labels, labels)
    assert mixture.candidates == []
    assert mixture.probabilities.min() > 0.99
    assert mixture_of(codes, 5).count == 5


def test_the_seed_decides() -> None:
    codes, _ = groups(2, distance=2.5)
    one, again = mixture_of(codes, "auto", seed=3), mixture_of(codes, "auto", seed=3)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert one.candidates == again.candidates


def test_codes_that_are_equal_or_probabilities_do_no_harm() -> None:
    assert mixture_of(np.ones((30, 4), np.float32), "auto").count == 1
    assert mixture_of(np.ones((30, 4), np.float32), 3).count == 1
    assert mixture_of(np.ones((1, 4), np.float32), "auto").labels.tolist() == [0]
    labels = np.arange(60) % 3
    certain = mixture_of(np.eye(3, dtype=np.float32)[labels], "auto")
    assert same_groups(certain.labels, labels)
    assert mixture_of(np.eye(3, dtype=np.float32)[labels], 7).count == 3  # no more than there are different codes
    likely = np.random.default_rng(0).dirichlet([0.02] * 3, 150)
    found = mixture_of(likely, "auto")
    certain_ones = likely.max(axis=1) > 0.999
    assert certain_ones.mean() > 0.6
    assert same_groups(found.labels[certain_ones], likely.argmax(axis=1)[certain_ones])


def test_a_few_images_between_groups_are_no_group() -> None:
    """Probabilities of two groups, certain for all images but one."""
    likely = np.eye(2, dtype=np.float32)[np.arange(200) % 2]
    likely[7] = [0.56, 0.44]
    mixture = mixture_of(likely, "auto")
    assert mixture.count == 2
    assert mixture.candidates[2].smallest == 1


def test_directions_that_collapsed_have_no_say() -> None:
    codes, labels = groups(3)
    collapsed = 1e-3 * np.random.default_rng(1).normal(size=(120, 20))
    points = reduced(np.hstack([codes, collapsed]))
    assert points.shape[1] <= 6
    assert points[:, 0].std() == pytest.approx(1)
    assert same_groups(mixture_of(np.hstack([codes, collapsed]), "auto").labels, labels)


def test_covariances_have_codes_enough() -> None:
    assert reduced(groups(3, images=45)[0]).shape == (45, 2)
    assert reduced(groups(1, images=3)[0]).shape == (3, 1)


def test_clusters_are_numbered_by_size_then_by_their_first_image() -> None:
    assert by_size(np.array([4, 2, 2, 2, 7, 4])).tolist() == [1, 0, 0, 0, 2, 1]
    assert by_size(np.array([5, 1, 5, 1])).tolist() == [0, 1, 0, 1]


def test_the_largest_number_that_is_reproduced_is_chosen() -> None:
    def candidate(clusters: int, bic: float, ari: float, weakest: float, smallest: int = 9) -> Candidate:
        return Candidate(clusters, bic, smallest, ari, weakest)

    one = candidate(1, 100, 1, 1)
    assert largest_stable_number([one]) == 1
    assert largest_stable_number([one, candidate(2, 90, 0.9, 0.9), candidate(3, 95, 0.85, 0.7)]) == 3
    assert (
        largest_stable_number([one, candidate(2, 90, 0.9, 0.9), candidate(3, 80, 0.95, 0.5)]) == 2
    )  # one is unstable
    assert largest_stable_number([one, candidate(2, 90, 0.7, 0.7)]) == 1
    assert largest_stable_number([one, candidate(2, 101, 1, 1)]) == 1  # no better than one cluster
    assert largest_stable_number([one, candidate(2, 90, 1, 1), candidate(3, 80, 1, 1, smallest=4)]) == 2
