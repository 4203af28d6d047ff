from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from dualcontrast.figures.sampling import balanced_sample


def table_of(**labels: list) -> pd.DataFrame:
    count = len(next(iter(labels.values())))
    return pd.DataFrame({"row": np.arange(count), **labels})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 11, 18, 40, 90])
def test_images_are_spread_over_contents_and_then_over_transformations(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    # Many more of one content than of the other two, and six transformations of each.
    content = rng.choice(["fas", "spike", "nucleosome"], 600, p=[0.7, 0.15, 0.15])
    transformation = rng.integers(0, 6, 600)
    table = table_of(content=content.tolist(), transformation=transformation.tolist())
    chosen = balanced_sample(table, count, seed)
    assert len(set(chosen)) == len(chosen) == count
    contents = Counter(content[chosen].tolist())
    assert len(contents) == min(count, 3)
    assert max(contents.values()) - min(contents.values()) <= 1
    for name, of_content in contents.items():
        states = Counter(transformation[chosen][content[chosen] == name].tolist())
        assert len(states) == min(of_content, 6)
        assert max(states.values()) - min(states.values()) <= 1
    keys = list(zip(content[chosen].tolist(), transformation[chosen].tolist(), chosen.tolist(), strict=True))
    assert keys == sorted(keys)
    np.testing.assert_array_equal(balanced_sample(table, count, seed), chosen)


def test_rare_states_give_what_they_have() -> None:
    table = table_of(content=["a"] * 50 + ["b"], transformation=[0] * 49 + [1, 0])
    chosen = balanced_sample(table, 10, 0)
    assert {49, 50} <= set(chosen.tolist())
    assert len(chosen) == 10
    assert balanced_sample(table, 100, 0).tolist() == [*range(51)]


@pytest.mark.parametrize("labels", [{}, {"split": ["train"] * 30}])
def test_without_labels_the_choice_is_random_and_in_order(labels: dict[str, list]) -> None:
    table = pd.DataFrame({"row": np.arange(30), **labels})
    chosen = balanced_sample(table, 6, 0).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 6
    assert chosen != balanced_sample(table, 6, 1).tolist()
    assert {place for seed in range(60) for place in balanced_sample(table, 6, seed)} == set(range(30))


def test_transformations_alone_and_unknown_labels_count_as_labels() -> None:
    alone = table_of(transformation=[0] * 20 + [1, 2])
    assert {20, 21} <= set(balanced_sample(alone, 3, 0).tolist())
    unknown = table_of(content=["a"] * 20 + [None, None])
    assert balanced_sample(unknown, 4, 0).tolist()[-2:] == [20, 21]
