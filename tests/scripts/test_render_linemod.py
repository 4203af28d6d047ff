"""The script that renders LineMod, on the real meshes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from dualcontrast.images import open_images

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "render_linemod.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("render_linemod", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    return shared_data / "linemod" / "bop" / "lm" / "models"


def coloured_box(size: float) -> trimesh.Trimesh:
    box = trimesh.creation.box((size, size, size))
    box.visual.vertex_colors = np.tile(np.array([[200, 100, 50, 255]], np.uint8), (len(box.vertices), 1))
    return box


def test_viewpoints_are_those_of_the_benchmark(script: ModuleType) -> None:
    points = script.viewpoints()
    assert points.shape == (1313, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    assert points[:, 2].min() == pytest.approx(0, abs=1e-9)
    apart = np.sort(points @ points.T, axis=1)[:, -2]  # cosine to the nearest other
    assert np.degrees(np.arccos(apart)).max() < 6


def test_a_pose_looks_at_the_object_with_its_top_up(script: ModuleType) -> None:
    for viewpoint in script.viewpoints()[::50]:
        rotation = script.pose_towards(viewpoint)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
        np.testing.assert_allclose(rotation @ viewpoint, [0, 0, -1], atol=1e-12)
        top = rotation @ [0, 0, 1]
        assert top[0] == pytest.approx(0, abs=1e-12)
        assert top[1] < 1e-12  # up in the picture, whose rows go down


def test_a_face_seen_square_on_has_the_size_and_the_colour_that_optics_says(script: ModuleType) -> None:
    picture, mask = script.render(coloured_box(100.0), script.pose_towards(np.array([1.0, 0, 0])))
    assert (picture.shape, mask.shape) == ((480, 640, 3), (480, 640))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # The near face is 350 mm away: its side has 100 f / 350 pixels, about the camera's centre.
    assert len(columns) == pytest.approx(572.4114 * 100 / 350, abs=1.5)
    assert len(rows) == pytest.approx(573.57043 * 100 / 350, abs=1.5)
    assert columns.mean() == pytest.approx(325.2611, abs=1)
    assert rows.mean() == pytest.approx(242.04899, abs=1)
    red, green, blue = picture[242, 325].astype(float)
    assert red / green == pytest.approx(2, abs=0.05)
    assert red / blue == pytest.approx(4, abs=0.2)
    assert (picture[mask == 0] == 0).mean() > 0.99


def test_shading_falls_with_the_angle(script: ModuleType) -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=60)
    ball.visual.vertex_colors = np.full((len(ball.vertices), 4), 255, np.uint8)
    picture, mask = script.render(ball, script.pose_towards(np.array([0.3, 0.2, 0.5])))
    assert picture[242, 325, 0] > 253
    inside = np.flatnonzero(mask[242])
    quarter = int(325 + (inside[-1] - 325) * np.sqrt(3) / 2)  # nearly 60 degrees between normal and view
    assert picture[242, quarter, 0] == pytest.approx(255 * (0.4 + 0.6 * 0.5), abs=25)


def test_silhouettes_are_those_of_the_published_renders(
    script: ModuleType, models: Path, shared_data: Path
) -> None:
    """By their own poses; which shows as well in which order a quaternion's numbers are."""
    mesh = trimesh.load(models / "obj_000009.ply", force="mesh", process=False)
    with np.load(shared_data / "linemod" / "fine_renders64.npz") as file:
        renders, quaternions = file["fine_duck"], file["fine_duck_quat"]
    overlaps = []
    for place in (0, 150, 300, 450, 600, 900):
        rotation = Rotation.from_quat(quaternions[place][[1, 2, 3, 0]]).as_matrix()
        ours, theirs = (shape_of(mask) for mask in (script.render(mesh, rotation)[1], renders[place].max(axis=-1)))
        overlaps.append((ours & theirs).sum() / (ours | theirs).sum())
    assert min(overlaps) > 0.85


def shape_of(mask: np.ndarray) -> np.ndarray:
    """Cut a mask to what it shows, on 40 x 40 pixels."""
    picture = Image.fromarray(np.uint8(255 * (mask > 0)))
    return np.asarray(picture.crop(picture.getbbox()).resize((40, 40))) > 127


def test_a_few_views_are_read_as_bop_with_their_poses(script: ModuleType, models: Path, tmp_path: Path) -> None:
    script.render_object(models / "obj_000001.ply", tmp_path / "lm", views=4)
    images = open_images(tmp_path / "lm")
    assert (len(images), images.shape) == (4, (3, 64, 64))
    assert set(images.table["content"]) == {"ape"}
    quaternions = images.table[["quat_1", "quat_2", "quat_3", "quat_0"]].to_numpy()
    chosen = script.viewpoints()[np.linspace(0, 1312, 4).astype(int)]
    expected = [script.pose_towards(viewpoint) for viewpoint in chosen]
    np.testing.assert_allclose(Rotation.from_quat(quaternions).as_matrix(), expected, atol=1e-9)
    pictures = images.read(np.arange(4)).numpy()
    assert 0.15 < pictures[:, 0].mean() < 0.6  # a red ape fills much of the picture
    assert pictures[:, 0].mean() > 1.5 * pictures[:, 2].mean()


def test_what_is_rendered_is_not_rendered_again(script: ModuleType, models: Path, tmp_path: Path) -> None:
    script.render_object(models / "obj_000001.ply", tmp_path, views=2)
    (tmp_path / "train/000001/rgb/000000.png").unlink()
    script.render_object(models / "obj_000001.ply", tmp_path, views=2)
    assert not (tmp_path / "train/000001/rgb/000000.png").exists()
    (tmp_path / "train/000001/scene_gt.json").unlink()
    script.render_object(models / "obj_000001.ply", tmp_path, views=2)
    assert (tmp_path / "train/000001/rgb/000000.png").exists()


def test_numbers_below_one_are_told(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, tmp_path, tmp_path / "lm", "--views", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("argument --views: 0 is less than 1\n")


def test_a_folder_without_models_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, tmp_path / "lm"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "has no obj_*.ply" in done.stderr
    assert not (tmp_path / "lm").exists()
