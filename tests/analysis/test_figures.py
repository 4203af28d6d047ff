from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dualcontrast.analysis.figures import draw_embedding, draw_pairs, draw_transfer_grid, picture_of
from dualcontrast.errors import MethodError
from dualcontrast.methods import Pair


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(float) / 255


def test_pictures_are_shown_as_they_are_and_volumes_by_their_middle() -> None:
    grey, colour = torch.rand(1, 4, 5), torch.rand(3, 4, 5)
    np.testing.assert_allclose(picture_of(grey), grey[0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(picture_of(colour), colour.numpy().transpose(1, 2, 0), rtol=1e-6)
    volume = torch.zeros(1, 4, 5, 6)
    volume[0, 2] = torch.linspace(-3, 5, 30).reshape(5, 6)
    np.testing.assert_allclose(picture_of(volume), (volume[0, 2].numpy() + 3) / 8, rtol=1e-5)
    assert picture_of(torch.zeros(1, 4, 5, 6)).max() == 0


def test_a_grid_shows_every_source_and_cell_in_its_colour(tmp_path: Path) -> None:
    """Each image is one plain colour of its own; the colours must be found in the reading order."""
    colours = torch.rand(2 + 3 + 6, 3, generator=torch.Generator().manual_seed(0)) * 0.8
    plain = colours[:, :, None, None].expand(-1, -1, 8, 8)
    left, top, grid = plain[:2], plain[2:5], plain[5:].reshape(2, 3, 3, 8, 8)
    draw_transfer_grid(grid, left, top, tmp_path / "grid.png", "Colours")
    pixels = pixels_of(tmp_path / "grid.png")
    centres = {}
    for name, colour in enumerate(colours.numpy()):
        close = np.argwhere(np.abs(pixels - colour).max(axis=2) < 0.02)
        assert len(close) > 100, f"colour {name} is not in the figure"
        centres[name] = close.mean(axis=0)
    for row in range(2):
        for column in range(3):
            cell = centres[5 + 3 * row + column]
            assert abs(cell[0] - centres[row][0]) < 3  # in a line with the image that gives its content
            assert abs(cell[1] - centres[2 + column][1]) < 3  # and its transformation
    assert all(centres[row][1] < centres[2][1] - 10 for row in (0, 1))
    assert all(centres[2 + column][0] < centres[0][0] - 10 for column in range(3))


def test_pairs_are_drawn_and_none_are_refused(tmp_path: Path) -> None:
    pairs = [Pair(f"kind {n}", torch.rand(5, 1, 8, 8), torch.rand(5, 1, 8, 8)) for n in range(3)]
    draw_pairs(pairs, tmp_path / "pairs.png", count=4)
    assert pixels_of(tmp_path / "pairs.png").std() > 0.1
    with pytest.raises(MethodError, match="makes no contrastive pairs"):
        draw_pairs([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("classes", [1, 10, 15, 25])
def test_embeddings_of_any_number_of_classes_are_drawn(tmp_path: Path, classes: int) -> None:
    points = np.random.default_rng(0).normal(size=(200, 2))
    draw_embedding(points, np.arange(200) % classes, tmp_path / "points.png", "Points")
    colours = np.unique((pixels_of(tmp_path / "points.png") * 255).reshape(-1, 3).astype(int), axis=0)
    assert len(colours) > classes


def test_missing_labels_and_none_are_drawn(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(6, 2))
    draw_embedding(points, pd.Series(["$a$", None, "_b", "c", None, "c"]), tmp_path / "a.png", "Some $ known")
    draw_embedding(points, None, tmp_path / "b.png", "None known")
    assert (tmp_path / "a.png").is_file()
    assert (tmp_path / "b.png").is_file()
