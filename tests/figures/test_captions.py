from __future__ import annotations

import pytest

from dualcontrast.figures.captions import plural, size_of


@pytest.mark.parametrize(
    ("count", "phrase"), [(0, "0 pictures"), (1, "1 picture"), (2, "2 pictures"), (2000, "2,000 pictures")]
)
def test_a_noun_agrees_with_its_number(count: int, phrase: str) -> None:
    assert plural(count, "picture") == phrase


def test_sizes_are_written_x_first_with_their_unit() -> None:
    assert size_of((28, 30), None) == "30 x 28 pixels"
    assert size_of((4, 5, 6), 13.48) == "6 x 5 x 4 voxels of 13.48 Å"
