from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage
from tests.support.figures import assert_inside, ball

from dualcontrast.errors import SourceError
from dualcontrast.figures import isosurface
from dualcontrast.figures.isosurface import surface_level, surface_of
from dualcontrast.figures.surfaces import LIGHT, VIEW, draw_surfaces, round_length


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refine maps less, which is fast."""
    monkeypatch.setattr(isosurface, "FINE", 40)


def painted(path: Path) -> np.ndarray:
    """Tell which pixels of a PNG have a colour, (H, W)."""
    with Image.open(path) as picture:
        return rgb_to_hsv(np.asarray(picture.convert("RGB")) / 255)[:, :, 1] > 0.15


def extent(mask: np.ndarray) -> tuple[int, int]:
    """Return the height and the width of what is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


@pytest.mark.parametrize(
    ("density", "level", "sentence"),
    [
        (np.full((8, 8, 8), 3.0), None, "6vxx: is 3 everywhere"),
        (np.full((8, 8, 8), 3.0), 3.0, "6vxx: is 3 everywhere"),
        (np.full((8, 8, 8), np.nan), None, "6vxx: contains NaN or infinite values"),
        (-ball((16, 16, 16), (8, 8, 8), 4.0), None, "6vxx: no density stands out from the background"),
        (
            ball((16, 16, 16), (8, 8, 8), 4.0),
            1.5,
            "6vxx: has no surface at 1.5; choose a level between .* and 0.999665",
        ),
    ],
)
def test_a_map_without_a_surface_is_one_sentence(
    tmp_path: Path, density: np.ndarray, level: float | None, sentence: str
) -> None:
    good = 10 * ball((12, 12, 12), (6, 6, 6), 3.0)
    with pytest.raises(SourceError, match=sentence):
        draw_surfaces([good, density], ["good", "6vxx"], tmp_path / "s.png", "", level)
    assert not list(tmp_path.iterdir())


def test_the_view_is_a_rotation_and_the_light_has_length_one() -> None:
    np.testing.assert_allclose(VIEW @ VIEW.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(VIEW) == pytest.approx(1)
    assert np.linalg.norm(LIGHT) == pytest.approx(1, abs=0.01)
    assert VIEW[1, 2] > 0.8  # z is upwards
    assert VIEW[2, 2] > 0.3  # and seen from above


@pytest.mark.usefixtures("coarse")
def test_the_bar_says_how_large_a_ball_is(tmp_path: Path, figures: list[Figure]) -> None:
    path = tmp_path / "s.png"
    draw_surfaces([ball((32, 32, 32), (16, 16, 16), 8.0)], ["$ball"], path, "$title", voxel_size=10)
    (axes,) = figures[0].axes
    (bar,) = axes.lines
    assert axes.get_title() == "$ball"
    assert [text.get_text() for text in axes.texts] == ["20 Å"]
    assert np.ptp(bar.get_xdata()) == 20
    with Image.open(path) as picture:
        dark = np.asarray(picture.convert("RGB")).max(axis=2) == 0
    dark[: len(dark) // 2] = False  # the texts above
    pixels = max(
        np.diff(np.flatnonzero(np.diff(row.astype(int), prepend=0, append=0)))[0] for row in dark if row.any()
    )
    for side in extent(painted(path)):
        assert side == pytest.approx(160 / 20 * pixels, rel=0.05)


@pytest.mark.usefixtures("coarse")
def test_maps_are_drawn_at_one_scale_in_their_colours(tmp_path: Path, figures: list[Figure]) -> None:
    density = ball((32, 32, 32), (16, 16, 16), 8.0)
    path = tmp_path / "s.png"
    draw_surfaces([density, density], ["fine", "coarse"], path, "Two", voxel_size=[5, 10])
    first, second = figures[0].axes
    assert first.get_xlim() == second.get_xlim()
    assert [len(axes.lines) for axes in (first, second)] == [1, 0]
    mask = painted(path)
    half = mask.shape[1] // 2
    (small, _), (large, _) = extent(mask[:, :half]), extent(mask[:, half:])
    assert large == pytest.approx(2 * small, rel=0.05)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(float)
    hues = [np.median(rgb_to_hsv(part[kept] / 255)[:, 0]) for part, kept in (
        (pixels[:, :half], mask[:, :half]), (pixels[:, half:], mask[:, half:])
    )]  # fmt: skip
    assert hues == pytest.approx([0.58, 0.11], abs=0.03)  # blue and yellow, the first two of the palette


@pytest.mark.usefixtures("coarse")
def test_a_rod_along_z_stands_upright_and_one_along_x_does_not(tmp_path: Path) -> None:
    upright, level = np.zeros((32, 32, 32)), np.zeros((32, 32, 32))
    upright[4:28, 14:18, 14:18] = level[14:18, 14:18, 4:28] = 1
    for density, is_tall in ((upright, True), (level, False)):
        draw_surfaces([ndimage.gaussian_filter(density, 1)], [""], tmp_path / "s.png", "")
        height, width = extent(painted(tmp_path / "s.png"))
        assert (height > 2 * width) == is_tall
        assert (width > 1.4 * height) != is_tall


@pytest.mark.usefixtures("coarse")
def test_only_what_faces_the_viewer_is_drawn_the_far_first(tmp_path: Path, figures: list[Figure]) -> None:
    density = np.max([ball((32, 32, 32), (10, 16, 16), 6.0), ball((32, 32, 32), (22, 14, 18), 6.0)], axis=0)
    draw_surfaces([density], ["two"], tmp_path / "s.png", "")
    surface = surface_of(density, surface_level(density))
    places = surface.vertices @ VIEW.T
    triangles = figures[0].axes[0].collections[0]._triangulation.triangles
    assert 0.4 * len(surface.faces) < len(triangles) < 0.6 * len(surface.faces)
    depths = [places[triangle, 2].mean() for triangle in triangles]
    assert (np.diff(depths) >= 0).all()
    assert all(
        np.cross(places[b] - places[a], places[c] - places[a])[2] > 0
        for a, b, c in triangles[:: len(triangles) // 200]
    )


@pytest.mark.usefixtures("coarse")
def test_light_comes_from_above_on_the_left(tmp_path: Path) -> None:
    path = tmp_path / "s.png"
    draw_surfaces([ball((32, 32, 32), (16, 16, 16), 8.0)], [""], path, "")
    mask = painted(path)
    with Image.open(path) as picture:
        value = np.asarray(picture.convert("L")).astype(float)
    y, x = np.nonzero(mask)
    above_left, below_right = (y < y.mean()) & (x < x.mean()), (y > y.mean()) & (x > x.mean())
    assert value[y, x][above_left].mean() > 1.5 * value[y, x][below_right].mean()


@pytest.mark.usefixtures("coarse")
def test_many_maps_share_rows_of_six_with_their_names_inside(tmp_path: Path, figures: list[Figure]) -> None:
    maps = [ball((12, 12, 12), (6, 6, 6), 3.0)] * 8
    names = [f"a name that takes several lines\nrow {i}" for i in range(8)]
    draw_surfaces(maps, names, tmp_path / "s.png", "Eight maps, " * 20)
    assert len(figures[0].axes) == 12
    titles = [axes.title for axes in figures[0].axes[:8]]
    assert [title.get_text().splitlines()[-1] for title in titles] == [f"row {i}" for i in range(8)]
    assert_inside(figures[0], [*titles, *figures[0].texts])
    heading = figures[0].texts[0].get_window_extent()
    assert not any(heading.overlaps(title.get_window_extent()) for title in titles)
    assert not titles[0].get_window_extent().overlaps(titles[1].get_window_extent())
    assert min(axes.get_window_extent().height for axes in figures[0].axes) > 0.9 * 1.9 * figures[0].dpi
    assert [axes.texts[0].get_text() for axes in figures[0].axes if axes.texts] == ["1 voxel"]


@pytest.mark.parametrize(("longest", "length"), [(1.0, 1), (4.9, 2), (5.0, 5), (99, 50), (0.3, 0.2)])
def test_a_scale_bar_has_a_round_length(longest: float, length: float) -> None:
    assert round_length(longest) == pytest.approx(length)
