from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import rgb_to_hsv
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from dualcontrast.cryoet.mrc import read_map
from dualcontrast.errors import SourceError
from dualcontrast.figures import volumes
from dualcontrast.figures.volumes import LIGHT, VIEW, draw_slices, draw_surfaces, surface_level, surface_of


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refine maps less, which is fast."""
    monkeypatch.setattr(volumes, "FINE", 40)


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Make a smooth ball, 0.5 at its surface; shape and centre are (z, y, x)."""
    z, y, x = np.indices(shape)
    distance = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    return (1 / (1 + np.exp(np.clip(2 * (distance - radius), -50, 50)))).astype(np.float32)


def volume_inside(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Sum the signed volumes of the tetrahedra between the origin and each triangle."""
    return sum(float(np.linalg.det(vertices[face])) for face in faces) / 6


def painted(path: Path) -> np.ndarray:
    """Tell which pixels of a PNG have a colour, (H, W)."""
    with Image.open(path) as picture:
        return rgb_to_hsv(np.asarray(picture.convert("RGB")) / 255)[:, :, 1] > 0.15


def extent(mask: np.ndarray) -> tuple[int, int]:
    """Return the height and the width of what is set."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


def assert_inside(figure: Figure, texts: list) -> None:
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text


# ---- slices


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
    assert (grey == 153).sum() > 0.9 * 4 * 8 * (volumes.INCHES * 150 / 8) ** 2
    assert light[0] < black[0]
    assert light[1] == pytest.approx(black[1], abs=15)


def test_volumes_of_several_sizes_have_numbers_of_their_own(tmp_path: Path, figures: list[Figure]) -> None:
    sides = [(1, 8, 4, 4), (1, 8, 6, 6), (1, 3, 4, 6), (1, 8, 4, 4)]
    draw_slices([torch.rand(side) for side in sides], list("abcd"), tmp_path / "s.png", "sizes")
    told = [[text.get_text() for text in axes.get_xticklabels()] for axes in figures[0].axes]
    eight = ["z = 0", *"1234567"]
    assert told == [eight, [], ["z = 0", "1", "2"], eight]


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
    assert min(box.height for box in boxes) > 0.9 * volumes.INCHES * figures[0].dpi


# ---- surfaces


@pytest.mark.parametrize(
    ("shape", "centre", "radius"),
    [
        ((16, 16, 16), (7.0, 8.5, 8.0), 4.0),
        ((32, 32, 32), (12.3, 18.0, 16.0), 9.0),
        ((64, 64, 64), (30.0, 31.5, 36.2), 20.0),
        ((20, 24, 33), (9.0, 11.5, 20.0), 6.0),
    ],
)
def test_a_ball_has_a_surface_of_its_radius(
    shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float
) -> None:
    surface = surface_of(ball(shape, centre, radius), 0.5)
    away = surface.vertices - np.array(centre)[::-1]
    distances = np.linalg.norm(away, axis=1)
    assert np.abs(distances - radius).max() < 0.25
    assert (np.einsum("ij,ij->i", away / distances[:, None], surface.normals) > 0.98).all()
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1, rtol=1e-5)
    assert volume_inside(surface.vertices, surface.faces) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)


def test_the_density_at_a_surface_is_its_level(shared_data: Path) -> None:
    density, _ = read_map(shared_data / "maps" / "2uv8.mrc.gz")
    surface = surface_of(density, 6.0)
    found = ndimage.map_coordinates(density, surface.vertices[:, ::-1].T, order=3)
    assert np.median(np.abs(found - 6.0)) < 0.1
    assert np.quantile(np.abs(found - 6.0), 0.99) < 0.6


def test_a_surface_is_closed_where_the_box_cuts_it() -> None:
    surface = surface_of(ball((16, 16, 16), (0, 8, 15), 6.0), 0.5)
    edges: dict[tuple[int, int], int] = {}
    for face in surface.faces.tolist():
        for one, other in zip(face, face[1:] + face[:1], strict=True):
            edges[one, other] = edges.get((one, other), 0) + 1
    assert set(edges.values()) == {1}
    assert all((other, one) in edges for one, other in edges)


def test_dust_is_left_out_and_a_second_piece_is_not() -> None:
    large, second, dust = ((10, 12, 10), 7.0), ((24, 22, 24), 3.0), ((6, 24, 4), 1.0)
    density = np.max([ball((32, 32, 32), *where) for where in (large, second, dust)], axis=0)
    vertices = surface_of(density, 0.5).vertices[:, ::-1]
    near = [
        (np.linalg.norm(vertices - centre, axis=1) < radius + 1).any() for centre, radius in (large, second, dust)
    ]
    assert near == [True, True, False]


def test_a_cleft_is_less_open_than_what_stands_out() -> None:
    apart = [ball((32, 32, 32), (16, 16, x), 7.0) for x in (8.0, 23.0)]
    surface = surface_of(np.max(apart, axis=0), 0.5)
    from_cleft = np.linalg.norm(surface.vertices - [15.5, 16, 16], axis=1)
    assert from_cleft[surface.openness.argmin()] < 3
    assert 0 <= surface.openness.min() < 0.7
    assert 0.9 < surface.openness[from_cleft.argmax()] <= 1


def test_the_level_does_not_depend_on_empty_space_or_units(shared_data: Path) -> None:
    density, _ = read_map(shared_data / "maps" / "4v4r.mrc.gz")
    level = surface_level(density)
    assert 0.2 * density.max() < level < 0.4 * density.max()
    assert surface_level(np.pad(density, 15)) == pytest.approx(level, rel=0.01)
    assert surface_level(100 * density + 7) == pytest.approx(100 * level + 7, rel=1e-4)


def test_the_level_keeps_clear_of_noise(rng: np.random.Generator) -> None:
    density = ball((32, 32, 32), (16, 16, 16), 8.0)
    assert 0.2 < surface_level(density) < 0.6
    noisy = density + rng.normal(0, 0.5, density.shape)
    assert surface_level(noisy) == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize(
    ("density", "level", "sentence"),
    [
        (np.full((8, 8, 8), 3.0), None, "6vxx: is 3 everywhere"),
        (np.full((8, 8, 8), 3.0), 3.0, "6vxx: is 3 everywhere"),
        (np.full((8, 8, 8), np.nan), None, "6vxx: holds NaN or infinite values"),
        (-ball((16, 16, 16), (8, 8, 8), 4.0), None, "6vxx: no density stands out of its background"),
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
