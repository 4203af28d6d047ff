from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from tests.support.figures import ball

from dualcontrast.cryoet.mrc import read_map
from dualcontrast.figures.isosurface import surface_level, surface_of


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def volume_inside(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Sum the signed volumes of the tetrahedra between the origin and each triangle."""
    return sum(float(np.linalg.det(vertices[face])) for face in faces) / 6


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
