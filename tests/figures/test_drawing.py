import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image
from tests.support.figures import assert_inside

from dualcontrast.errors import MethodError
from dualcontrast.figures.drawing import (
    PALETTE,
    UNKNOWN,
    draw_embedding,
    draw_pairs,
    draw_transfer_grid,
    picture_of,
)
from dualcontrast.methods import Pair

COLOURS = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0)]


def plain(colours: list[tuple[float, float, float]], sides: tuple[int, ...] = (12, 12)) -> torch.Tensor:
    """Make images of one colour each, (N, 3, ...)."""
    return torch.tensor(colours).reshape(-1, 3, *[1] * len(sides)).expand(-1, 3, *sides)


def where(path: Path, colour: tuple[float, float, float]) -> tuple[float, float]:
    """Return the middle (y, x) of the pixels of a colour in a PNG."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    found = np.argwhere((np.abs(pixels - 255 * np.array(colour)) < 3).all(axis=2))
    assert len(found) > 100, f"{colour} is not drawn"
    return tuple(found.mean(axis=0))


def test_a_grey_picture_keeps_its_values_and_is_clipped():
    image = torch.tensor([[[-0.5, 0.25], [0.75, 2.0]]])
    np.testing.assert_array_equal(picture_of(image), [[0, 0.25], [0.75, 1]])


def test_a_colour_picture_has_its_channels_last():
    image = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    picture = picture_of(image)
    assert picture.shape == (4, 5, 3)
    np.testing.assert_allclose(picture[1, 2], image[:, 1, 2])


def test_a_volume_shows_its_central_slice_from_lowest_to_highest():
    volume = torch.full((1, 5, 2, 2), 100.0)
    volume[0, 2] = torch.tensor([[-3.0, -1.0], [1.0, 5.0]])
    np.testing.assert_allclose(picture_of(volume), [[0, 0.25], [0.5, 1]])
    assert (picture_of(torch.full((1, 4, 3, 3), -7.0)) == 0).all()


def test_drawing_leaves_a_decoders_output_as_it_was():
    volume = torch.randn(1, 4, 4, 4, requires_grad=True)
    before = volume.detach().clone()
    picture_of(volume)
    assert torch.equal(volume.detach(), before)


def test_second_images_stand_below_the_first_and_only_so_many(tmp_path, figures):
    red, green, blue, yellow, pink, cyan = COLOURS
    pairs = [
        Pair("$x and T(x)", plain([red, green, blue]), plain([yellow, pink, blue])),
        Pair("a name that is far too long for one line, " * 4, plain([cyan] * 3), plain([blue] * 3)),
    ]
    path = tmp_path / "figures" / "pairs.png"
    draw_pairs(pairs, path, count=2)
    (first_y, first_x), (second_y, second_x) = where(path, red), where(path, yellow)
    assert first_y < second_y
    assert first_x == pytest.approx(second_x, abs=2)
    assert where(path, green)[1] > first_x
    assert where(path, cyan)[0] > second_y
    assert where(path, blue)[0] > where(path, cyan)[0]  # the third pair of the first kind, blue too, is left out
    titles = [axes.title for axes in figures[0].axes]
    assert titles[0].get_text() == "$x and T(x)"
    assert_inside(figures[0], titles)


def test_no_pairs_are_one_sentence(tmp_path):
    with pytest.raises(MethodError, match="makes no contrastive pairs"):
        draw_pairs([], tmp_path / "pairs.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sides", [(12, 12), (10, 14)])
def test_the_grid_has_content_by_row_and_transformation_by_column(tmp_path, sides):
    path = tmp_path / "transfer.png"
    tops, lefts = [0.2, 0.3, 0.4], [0.6, 0.8]
    cells = [[(left, top, 0.0) for top in tops] for left in lefts]
    grid = torch.stack([plain(row, sides) for row in cells])
    content_colours, transformation_colours = [(v, v, 1.0) for v in lefts], [(1.0, v, v) for v in tops]
    draw_transfer_grid(grid, plain(content_colours, sides), plain(transformation_colours, sides), path, "")
    column = [where(path, colour) for colour in content_colours]
    row = [where(path, colour) for colour in transformation_colours]
    for i, source_of_content in enumerate(column):
        for j, source_of_transformation in enumerate(row):
            y, x = where(path, cells[i][j])
            assert y == pytest.approx(source_of_content[0], abs=2)
            assert x == pytest.approx(source_of_transformation[1], abs=2)
    assert column[0][0] < column[1][0]
    assert row[0][1] < row[1][1] < row[2][1]
    assert column[0][1] < row[0][1]  # the column is left of the grid
    assert row[0][0] < column[0][0]  # the row is above it
    within = where(path, cells[0][1])[1] - where(path, cells[0][0])[1]
    assert row[0][1] - column[0][1] > within * 1.05  # a wider gap after the sources


def test_a_grid_of_volumes_shows_slices(tmp_path, figures):
    volumes = torch.zeros(2, 1, 4, 6, 6)
    volumes[:, :, 2, :3] = 7.0
    draw_transfer_grid(volumes[None], volumes[:1], volumes, tmp_path / "grid.png", "volumes")
    mosaic = figures[0].axes[0].images[0].get_array()
    assert mosaic.shape == (2 * 6 + 3, 3 * 6 + 1 + 3, 3)
    slice_of_first = mosaic[9:15, 9:15, 0]  # after a source of six pixels and the gap of three
    np.testing.assert_array_equal(slice_of_first, np.repeat([[1.0], [0.0]], 3, axis=0) * np.ones(6))


@pytest.mark.parametrize("n", [1, 4])
def test_the_grid_says_which_side_gives_what(tmp_path, figures, n):
    grid, sources = torch.zeros(n, n, 1, 8, 8), torch.zeros(n, 1, 8, 8)
    draw_transfer_grid(grid, sources, sources, tmp_path / "grid.png", "Transfer at $5")
    (axes,) = figures[0].axes
    assert axes.get_xlabel() == "transformation from the top row"
    assert axes.get_ylabel() == "content from the left-hand column"
    assert axes.title.get_text() == "Transfer at $5"
    assert_inside(figures[0], [axes.title, axes.xaxis.label, axes.yaxis.label])
    assert not overlap(axes.title, axes.xaxis.label)


def test_classes_of_an_embedding_have_colours_of_their_own_and_a_legend(tmp_path, figures):
    points = np.random.default_rng(0).normal(size=(200, 2))
    labels = [f"_{i % 10} $kind$" for i in range(200)]
    path = tmp_path / "embedding.png"
    draw_embedding(points, labels, path, "codes")
    (axes,) = figures[0].axes
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"_{i} $kind$" for i in range(10)]
    assert len({handle.get_color() for handle in legend.legend_handles}) == 10
    colour_of = dict(zip(sorted(set(labels)), PALETTE, strict=True))
    drawn = {
        tuple(point): colour
        for point, colour in zip(
            axes.collections[0].get_offsets().data, axes.collections[0].get_facecolors()[:, :3], strict=True
        )
    }
    for point, label in zip(points, labels, strict=True):
        np.testing.assert_allclose(drawn[tuple(point)], to_rgb(colour_of[label]))
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert_inside(figures[0], [*legend.get_texts(), axes.title])
    assert where(path, to_rgb(colour_of[labels[0]]))


def test_classes_stand_in_the_order_of_numbers(tmp_path, figures):
    labels = np.array([10, 9, 2, 1, 100])
    draw_embedding(np.random.default_rng(0).random((5, 2)), labels, tmp_path / "e.png", "codes")
    texts = figures[0].axes[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["1", "2", "9", "10", "100"]


def test_unknown_labels_are_grey(tmp_path, figures):
    labels = pd.Series(["a", None, "b", None], dtype=object)
    draw_embedding(np.eye(4)[:, :2], labels, tmp_path / "e.png", "codes")
    texts = figures[0].axes[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["a", "b", "unknown"]
    colours = figures[0].axes[0].collections[0].get_facecolors()[:, :3]
    assert (colours == to_rgb(UNKNOWN)).all(axis=1).sum() == 2


@pytest.mark.parametrize(("classes", "names"), [(11, 11), (20, 20), (21, 0)])
def test_many_classes_have_a_legend_up_to_twenty(tmp_path, figures, classes, names):
    points = np.random.default_rng(0).normal(size=(100, 2))
    draw_embedding(points, np.arange(100) % classes, tmp_path / "e.png", "codes")
    (axes,) = figures[0].axes
    legend = axes.get_legend()
    assert (len(legend.get_texts()) if legend else 0) == names
    assert len(np.unique(axes.collections[0].get_facecolors(), axis=0)) == classes
    assert axes.get_xlabel() == ("" if names else "21 classes, one colour each")
    if legend:
        assert_inside(figures[0], legend.get_texts())


def test_without_labels_there_is_one_colour_and_no_legend(tmp_path, figures):
    draw_embedding(np.random.default_rng(0).normal(size=(9, 2)), None, tmp_path / "e.png", "codes")
    (axes,) = figures[0].axes
    assert axes.get_legend() is None
    assert len(np.unique(axes.collections[0].get_facecolors(), axis=0)) == 1
    assert len(axes.collections[0].get_offsets()) == 9


def overlap(first, second) -> bool:
    return bool(first.get_window_extent().overlaps(second.get_window_extent()))


def test_a_name_in_letters_that_no_font_has_is_drawn_without_a_word(tmp_path: Path) -> None:
    labels = pd.Series(["\u6f22\u5b57", "digit"] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_embedding(np.arange(12.0).reshape(6, 2), labels, tmp_path / "points.png", "codes")
    assert (tmp_path / "points.png").is_file()
