from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tests.support.figures import assert_inside

from dualcontrast.figures.drawing import INCHES
from dualcontrast.figures.slices import draw_slices


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_row_shows_slices_spread_evenly_in_one_contrast(
    tmp_path: Path, figures: list[Figure], rng: np.random.Generator
) -> None:
    stacks = torch.from_numpy(rng.normal(size=(2, 1, 16, 5, 7)).astype(np.float32))
    draw_slices(stacks, ["$one", "two\nrow 2"], tmp_path / "s.png", "$title", slices=4)
    first, second = figures[0].axes
    for axes, stack in zip((first, second), stacks.numpy(), strict=True):
        shown = axes.images[0].get_array().filled(np.nan)
        assert shown.shape == (5, 4 * 7 + 3)
        values = []
        for place, z in enumerate([2, 6, 10, 14]):
            np.testing.assert_array_equal(shown[:, 8 * place : 8 * place + 7], stack[0, z])
            values += stack[0, z].ravel().tolist()
        assert np.isnan(shown[:, 7::8]).all()
        values.sort()
        low, high = axes.images[0].get_clim()
        assert values[0] <= low <= values[1]
        assert values[-2] <= high <= values[-1]
    assert [text.get_text() for text in first.get_xticklabels()] == ["z = 2", "6", "10", "14"]
    np.testing.assert_allclose(first.get_xticks(), [3, 11, 19, 27])
    assert not second.get_xticklabels()
    assert [axes.get_ylabel() for axes in (first, second)] == ["$one", "two\nrow 2"]
    assert figures[0].get_suptitle() == "$title"


def test_white_is_bright_and_up_is_the_first_line(tmp_path: Path) -> None:
    stack = torch.full((1, 1, 1, 8, 8), 0.6)
    stack[..., 4:, :] = 0
    stack[..., 7, 6:] = 1
    draw_slices(stack, [""], tmp_path / "s.png", "", slices=1)
    with Image.open(tmp_path / "s.png") as picture:
        grey = np.asarray(picture.convert("L"))
    light, black = (np.argwhere(grey == value).mean(axis=0) for value in (153, 0))
    assert (grey == 153).sum() > 0.9 * 4 * 8 * (INCHES * 150 / 8) ** 2
    assert light[0] < black[0]
    assert light[1] == pytest.approx(black[1], abs=15)


def test_volumes_of_several_sizes_have_numbers_of_their_own(tmp_path: Path, figures: list[Figure]) -> None:
    sides = [(1, 8, 4, 4), (1, 8, 6, 6), (1, 3, 4, 6), (1, 8, 4, 4)]
    draw_slices([torch.rand(side) for side in sides], list("abcd"), tmp_path / "s.png", "sizes")
    labels = [[text.get_text() for text in axes.get_xticklabels()] for axes in figures[0].axes]
    eight = ["z = 0", *"1234567"]
    assert labels == [eight, [], ["z = 0", "1", "2"], eight]


def test_something_tiny_is_seen_on_its_ground(tmp_path: Path, figures: list[Figure]) -> None:
    stack = torch.zeros(1, 1, 2, 64, 64)
    stack[0, 0, 0, 3, 4] = 2
    draw_slices(stack, ["tiny"], tmp_path / "s.png", "tiny", slices=2)
    assert figures[0].axes[0].images[0].get_clim() == (0, 2)


def test_an_outlier_does_not_rule_the_contrast(tmp_path: Path, figures: list[Figure]) -> None:
    stack = torch.rand(1, 1, 8, 32, 32)
    stack[0, 0, 0, 0, 0] = 1000
    draw_slices(stack, ["hot"], tmp_path / "s.png", "hot")
    low, high = figures[0].axes[0].images[0].get_clim()
    assert 0 <= low < 0.01
    assert 0.99 < high <= 1


@pytest.mark.parametrize("rows", [1, 18])
def test_names_are_inside_the_figure_and_leave_room(tmp_path: Path, figures: list[Figure], rows: int) -> None:
    names = [f"{'a long name of a thing ' * 3}\nrow {row}" for row in range(rows)]
    draw_slices(torch.rand(rows, 1, 16, 16, 16), names, tmp_path / "s.png", "many words " * 20)
    labels = [axes.yaxis.label for axes in figures[0].axes]
    assert labels[-1].get_text() == f"a long name of a thing a long...\nrow {rows - 1}"
    assert_inside(figures[0], [*labels, *figures[0].axes[0].get_xticklabels(), *figures[0].texts])
    boxes = [axes.get_window_extent() for axes in figures[0].axes]
    assert all(not upper.overlaps(lower) for upper, lower in pairwise(boxes))
    assert min(box.height for box in boxes) > 0.9 * INCHES * figures[0].dpi
