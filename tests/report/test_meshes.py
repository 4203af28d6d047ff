from __future__ import annotations

import base64

import numpy as np
import pytest

from dualcontrast.figures.isosurface import Surface, surface_of
from dualcontrast.report import meshes
from dualcontrast.report.meshes import centred, mesh_of, picture_of_surface, scene_of, triangles_each


@pytest.fixture(scope="module")
def ball() -> Surface:
    """The surface of a ball of radius 4 voxels at the centre of a box of 16."""
    z, y, x = np.indices((16, 16, 16)) - 8
    return surface_of(5 - np.sqrt(z**2 + y**2 + x**2), 1.0)


def decoded(value: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(value["bdata"]), f"<{value['dtype']}")


def test_the_triangles_of_a_page_are_limited() -> None:
    assert triangles_each(0) == triangles_each(1) == meshes.TRIANGLES
    assert 100 * triangles_each(100) <= meshes.TRIANGLES_PER_PAGE


def test_vertices_are_relative_to_the_centre_in_angstrom(ball: Surface) -> None:
    radius = np.linalg.norm(centred(ball, (16, 16, 16), 10.0), axis=1)
    assert radius == pytest.approx(40, abs=2)
    corner = Surface(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros((0, 3), int), np.zeros(1))
    assert centred(corner, (4, 6, 8), 2.0).tolist() == [[-8, -6, -4]]


def test_a_mesh_is_simplified_and_keeps_its_shape(ball: Surface) -> None:
    vertices = centred(ball, (16, 16, 16), 10.0)
    assert len(ball.faces) > 2000
    mesh = mesh_of(ball, vertices, "var(--class-0)", 500)
    corners = np.stack([decoded(mesh[name]) for name in "ijk"], axis=1)
    places = np.stack([decoded(mesh[name]) for name in "xyz"], axis=1) / 10
    assert len(corners) <= 500
    assert corners.max() < len(places)
    assert np.linalg.norm(places, axis=1) == pytest.approx(40, abs=3)
    assert len(decoded(mesh["intensity"])) == len(places)
    assert mesh["colorscale"][1] == [1, "var(--class-0)"]


def test_a_scene_has_a_scale_bar_of_a_round_length(ball: Surface) -> None:
    mesh = mesh_of(ball, centred(ball, (16, 16, 16), 10.0), "red", 500)
    drawn, bar = scene_of(mesh, 45.0)["data"]
    assert drawn == mesh
    ends = np.array([bar[name] for name in "xyz"])
    assert bar["text"] == ["", "20 Å", ""]
    assert np.linalg.norm(ends[:, 2] - ends[:, 0]) == pytest.approx(200, abs=0.2)


def test_a_picture_of_a_surface_is_embedded(ball: Surface) -> None:
    picture = picture_of_surface(ball, centred(ball, (16, 16, 16), 10.0), "#3f90da", 45.0)
    assert picture.startswith("data:image/webp;base64,")
    assert len(picture) > 1000
