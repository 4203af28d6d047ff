"""Render LineMod's meshes as the BOP benchmark renders its training pictures.

    pip install 'dualcontrast[render]'
    python scripts/render_linemod.py FOLDER_OF_MODELS lm [--views N] [--jobs N]
    dualcontrast train lm --out RUN --recipe linemod

FOLDER_OF_MODELS holds obj_000001.ply and so on, in millimetres and with vertex colours, as in BOP's archive of
models. Each object is seen from 1,313 viewpoints on the upper half of a sphere of radius 400 mm: the vertices
of an icosahedron subdivided four times, as in Hinterstoisser et al. (ACCV 2012). Rays are cast for every pixel
of an image twice as large, shaded by Lambert's law with a light at the camera, and averaged down to 640 x 480
pixels.

Objects that have been rendered are skipped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from functools import partial
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from dualcontrast.devices import processors
from dualcontrast.files import atomic_write, write_json

WIDTH, HEIGHT = 640, 480
FOCAL_X, FOCAL_Y, CENTRE_X, CENTRE_Y = 572.4114, 573.57043, 325.2611, 242.04899  # BOP's camera of LineMod
DISTANCE = 400.0  # mm
OVERSAMPLING = 2  # rays per pixel, along each axis
AMBIENT = 0.4  # share of ambient light; the rest comes from the camera


def viewpoints() -> np.ndarray:
    """Compute the directions from the object to the camera, (1313, 3), from the top down."""
    points = np.asarray(trimesh.creation.icosphere(subdivisions=4).vertices)
    upper = points[points[:, 2] > -1e-6]
    return upper[np.lexsort((np.arctan2(upper[:, 1], upper[:, 0]).round(6), -upper[:, 2].round(6)))]


def pose_towards(viewpoint: np.ndarray) -> np.ndarray:
    """Compute the rotation from object to camera, (3, 3), of a camera at `viewpoint` that looks at the origin.

    The camera's axes are right, down and forward; the z axis of the object points up in the image.
    """
    forward = -viewpoint / np.linalg.norm(viewpoint)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-9:
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def render(mesh: trimesh.Trimesh, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Render an object at a distance of 400 mm.

    Parameters
    ----------
    mesh
        The object in millimetres, with vertex colours.
    rotation
        Rotation from object to camera, (3, 3).

    Returns
    -------
    tuple of numpy.ndarray
        The image (480, 640, 3) and the mask (480, 640), uint8; the mask is 255 on the object.
    """
    columns, rows = _seen_pixels(mesh, rotation)
    x, y = (
        (np.arange(OVERSAMPLING * (bounds[1] - bounds[0])) + 0.5) / OVERSAMPLING + bounds[0] - 0.5
        for bounds in (columns, rows)
    )
    grid_x, grid_y = np.meshgrid((x - CENTRE_X) / FOCAL_X, (y - CENTRE_Y) / FOCAL_Y)
    directions = np.stack([grid_x, grid_y, np.ones_like(grid_x)], axis=-1).reshape(-1, 3) @ rotation
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origin = -DISTANCE * rotation[2]
    hit = mesh.ray.intersects_first(np.broadcast_to(origin, directions.shape), directions)
    seen = hit >= 0
    colours = np.zeros((len(directions), 3))
    colours[seen] = _shaded(mesh, hit[seen], origin, directions[seen])
    small_colours = _shrunk(colours.reshape(*grid_x.shape, 3))
    small_seen = _shrunk(seen.reshape(*grid_x.shape, 1).astype(float))[..., 0]
    picture, mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    picture[slice(*rows), slice(*columns)] = small_colours.round()
    mask[slice(*rows), slice(*columns)] = 255 * (small_seen >= 0.5)
    return picture, mask


def _seen_pixels(mesh: trimesh.Trimesh, rotation: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the half-open ranges of columns and rows that the object can cover."""
    x, y, z = (np.asarray(mesh.vertices) @ rotation.T + [0, 0, DISTANCE]).T
    bounds = []
    for at, size in ((FOCAL_X * x / z + CENTRE_X, WIDTH), (FOCAL_Y * y / z + CENTRE_Y, HEIGHT)):
        bounds.append((max(int(at.min()) - 1, 0), min(int(at.max()) + 3, size)))
    return bounds[0], bounds[1]


def _shaded(mesh: trimesh.Trimesh, hit: np.ndarray, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Compute the colours (R, 3), from 0 to 255, at the triangles (R,) that rays from `origin` hit."""
    corners, faces = np.asarray(mesh.triangles)[hit], np.asarray(mesh.faces)[hit]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    depths = ((corners[:, 0] - origin) * normals).sum(axis=1) / (directions * normals).sum(axis=1)
    places = origin + depths[:, None] * directions
    shares = trimesh.triangles.points_to_barycentric(corners, places).clip(0, 1)[:, :, None]
    smooth = (np.asarray(mesh.vertex_normals)[faces] * shares).sum(axis=1)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True).clip(1e-12)
    colours = (np.asarray(mesh.visual.vertex_colors)[faces, :3] * shares).sum(axis=1)
    lambert = np.abs((smooth * directions).sum(axis=1, keepdims=True))
    return np.asarray(colours * (AMBIENT + (1 - AMBIENT) * lambert))


def _shrunk(picture: np.ndarray) -> np.ndarray:
    """Average an oversampled image (H, W, C) down to its final size."""
    height, width, channels = picture.shape
    squares = picture.reshape(height // OVERSAMPLING, OVERSAMPLING, width // OVERSAMPLING, OVERSAMPLING, channels)
    return np.asarray(squares.mean(axis=(1, 3)))


def render_object(model: Path, out: Path, views: int | None = None) -> None:
    """Render one object into OUT/train/NUMBER; its poses are written last and so mark a complete object.

    Parameters
    ----------
    model
        The file obj_NUMBER.ply.
    out
        The folder `lm` in BOP's layout.
    views
        The number of viewpoints, spread evenly over all; None for all 1,313.
    """
    folder = out / "train" / model.stem.removeprefix("obj_")
    if (folder / "scene_gt.json").is_file():
        return
    mesh = trimesh.load(model, force="mesh", process=False)
    points = viewpoints()
    chosen = points if views is None else points[np.linspace(0, len(points) - 1, views).astype(int)]
    poses, cameras = {}, {}
    for place, viewpoint in enumerate(chosen):
        rotation = pose_towards(viewpoint)
        picture, mask = render(mesh, rotation)
        for path, pixels in (
            (folder / "rgb" / f"{place:06}.png", picture),
            (folder / "mask" / f"{place:06}_000000.png", mask),
        ):
            with atomic_write(path) as temporary:
                Image.fromarray(pixels).save(temporary)
        known = {"cam_R_m2c": rotation.ravel().tolist(), "cam_t_m2c": [0.0, 0.0, DISTANCE]}
        poses[str(place)] = [{**known, "obj_id": int(folder.name)}]
        matrix = [FOCAL_X, 0.0, CENTRE_X, 0.0, FOCAL_Y, CENTRE_Y, 0.0, 0.0, 1.0]
        cameras[str(place)] = {"cam_K": matrix, "depth_scale": 1.0}
    write_json(folder / "scene_camera.json", cameras)
    write_json(folder / "scene_gt.json", poses)


def _positive(text: str) -> int:
    """Parse an integer of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> None:
    """Render all objects of a folder, several at the same time."""
    parser = argparse.ArgumentParser(description="Render LineMod's meshes as BOP renders its training images.")
    parser.add_argument("models", type=Path, help="folder of obj_000001.ply and so on")
    parser.add_argument("out", type=Path, help="the folder lm to create")
    parser.add_argument("--views", type=_positive, help="number of viewpoints, instead of 1,313")
    parser.add_argument("--jobs", type=_positive, default=processors(), help="objects to render at the same time")
    options = parser.parse_args()
    models = sorted(options.models.glob("obj_*.ply"))
    if not models:
        sys.exit(f"{options.models}: has no obj_*.ply; give the folder of BOP's models")
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        work = partial(render_object, out=options.out, views=options.views)
        for done, _ in enumerate(pool.imap_unordered(work, models), 1):
            print(f"{done} of {len(models)} objects", file=sys.stderr)


if __name__ == "__main__":
    main()
