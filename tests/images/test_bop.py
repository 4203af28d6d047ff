from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualcontrast.errors import SourceError
from dualcontrast.images import open_images
from dualcontrast.images.bop import NAMES, TRAIN_SHARE, crop_object
from dualcontrast.images.linemod import fixed_split

Save = Callable[[str, np.ndarray], Path]
HEIGHT, WIDTH = 90, 120


def masked(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


@pytest.fixture
def lm(tmp_path: Path, save_picture: Save, rng: np.random.Generator) -> Path:
    """Two objects, cat and ape, of four pictures each."""
    for number in ("000006", "000001"):
        for place in range(4):
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            save_picture(f"lm/train/{number}/rgb/{place:06d}.png", pixels)
            save_picture(f"lm/train/{number}/mask/{place:06d}_000000.png", masked(20, 50, 30, 70))
        (tmp_path / f"lm/train/{number}/scene_gt.json").write_text("{}")
    (tmp_path / "lm/camera.json").write_text("{}")
    return tmp_path / "lm"


def antialiased_bilinear(picture: np.ndarray, side: int) -> np.ndarray:
    """Shrink (H, W) by a triangle as wide as the step between the new pixels, written out."""

    def weights(size: int) -> np.ndarray:
        step = max(size / side, 1)
        centres = (np.arange(side) + 0.5) * size / side
        distance = np.abs(np.arange(size)[None] + 0.5 - centres[:, None]) / step
        triangle = np.clip(1 - distance, 0, None)
        return triangle / triangle.sum(axis=1, keepdims=True)

    return weights(picture.shape[0]) @ picture @ weights(picture.shape[1]).T


# ---- listing


def test_objects_are_listed_with_their_names(lm: Path) -> None:
    images = open_images(lm)
    assert (len(images), images.shape, images.source) == (8, (3, 64, 64), str(lm))
    table = images.table
    assert table["row"].tolist() == list(range(8))
    assert table["content"].tolist() == ["ape"] * 4 + ["cat"] * 4
    assert table["file"][5] == "train/000006/rgb/000001.png"
    assert table["split"].tolist() == [
        *fixed_split("ape", 4, TRAIN_SHARE),
        *fixed_split("cat", 4, TRAIN_SHARE),
    ]
    assert images.read(np.array([7, 0])).shape == (2, 3, 64, 64)


def test_the_folder_train_may_itself_be_the_source(lm: Path) -> None:
    images = open_images(lm / "train")
    assert images.table["file"][0] == "000001/rgb/000000.png"
    np.testing.assert_array_equal(images.read(np.arange(8)), open_images(lm).read(np.arange(8)))


def test_visible_masks_serve_where_there_are_no_others(lm: Path) -> None:
    (lm / "train/000001/mask").rename(lm / "train/000001/mask_visib")
    assert open_images(lm).table["mask"][0] == "train/000001/mask_visib/000000_000000.png"


def test_an_object_of_another_number_is_called_by_it(lm: Path) -> None:
    (lm / "train/000006").rename(lm / "train/000021")
    assert open_images(lm).table["content"].tolist() == ["ape"] * 4 + ["21"] * 4


def test_the_names_are_the_papers_fifteen() -> None:
    assert len(set(NAMES.values())) == 15
    assert (NAMES[1], NAMES[9], NAMES[12], NAMES[15]) == ("ape", "duck", "holepuncher", "phone")


def test_a_thousand_of_1313_train() -> None:
    split = fixed_split("ape", 1313, TRAIN_SHARE)
    assert ((split == "train").sum(), (split == "test").sum()) == (1000, 313)


# ---- cutting out


def test_the_object_is_cut_out_with_8_pixels_around_it(save_picture: Save, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    # 48 x 48 and 16 more are 64: nothing is resized
    cut = crop_object(save_picture("a.png", pixels), save_picture("m.png", masked(20, 68, 30, 78)))
    np.testing.assert_array_equal(cut, np.moveaxis(pixels[12:76, 22:86], -1, 0))


def test_zeros_are_around_an_object_at_the_border(save_picture: Save) -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    cut = crop_object(save_picture("a.png", pixels), save_picture("m.png", masked(0, 48, WIDTH - 48, WIDTH)))
    expected = np.zeros((3, 64, 64), np.uint8)
    expected[:, 8:, :56] = 200
    np.testing.assert_array_equal(cut, expected)


def test_the_cut_is_shrunk_without_aliasing_and_not_kept_square(
    save_picture: Save, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cut = crop_object(save_picture("a.png", pixels), save_picture("m.png", masked(8, 82, 10, 100)))
    for channel in range(3):
        expected = antialiased_bilinear(pixels[0:90, 2:108, channel].astype(float), 64)
        np.testing.assert_allclose(cut[channel], expected, atol=1.01)


# ---- what is refused


def test_a_missing_mask_is_named(lm: Path) -> None:
    (lm / "train/000006/mask/000002_000000.png").unlink()
    with pytest.raises(SourceError, match=r"train/000006/mask/000002_000000\.png: missing"):
        open_images(lm)


def test_a_missing_picture_is_named(lm: Path) -> None:
    (lm / "train/000006/rgb/000002.png").unlink()
    with pytest.raises(SourceError, match=r"train/000006/rgb/000002\.png: missing"):
        open_images(lm)


def test_an_object_without_pictures_is_named(lm: Path) -> None:
    (lm / "train/000006/rgb").rename(lm / "train/000006/depth")
    with pytest.raises(SourceError, match="train/000006/rgb: holds no pictures"):
        open_images(lm)


def test_an_empty_mask_is_named_when_it_is_read(lm: Path) -> None:
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(lm / "train/000006/mask/000002_000000.png")
    images = open_images(lm)
    assert len(images.read(np.arange(6))) == 6
    with pytest.raises(SourceError, match=r"train/000006/mask/000002_000000\.png: the mask is empty"):
        images.read(np.array([0, 6]))


def test_a_mask_of_another_size_is_named(lm: Path) -> None:
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(lm / "train/000001/mask/000000_000000.png")
    with pytest.raises(SourceError, match=r"000000_000000\.png: differs in size from"):
        open_images(lm).read(np.array([0]))


def test_a_damaged_picture_is_named(lm: Path) -> None:
    path = lm / "train/000001/rgb/000001.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SourceError, match=r"000001/rgb/000001\.png: missing, damaged"):
        open_images(lm).read(np.array([1]))


# ---- poses


def write_poses(lm: Path, number: str, rotations: dict[int, np.ndarray]) -> Path:
    path = lm / "train" / number / "scene_gt.json"
    path.write_text(
        json.dumps({str(k): [{"cam_R_m2c": r.ravel().tolist(), "obj_id": 1}] for k, r in rotations.items()})
    )
    return path


def test_poses_are_quaternions_with_the_real_part_first(lm: Path) -> None:
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter about z
    write_poses(lm, "000001", {0: np.eye(3), 3: turn})
    poses = open_images(lm).table[["quat_0", "quat_1", "quat_2", "quat_3"]].to_numpy()
    half = np.sqrt(0.5)
    np.testing.assert_allclose(poses[[0, 3]], [[1, 0, 0, 0], [half, 0, 0, half]], atol=1e-12)
    assert np.isnan(poses[[1, 2, 4, 5, 6, 7]]).all()  # not in the file; the other object's file is empty


def test_without_poses_there_are_no_such_columns(lm: Path) -> None:
    assert "quat_0" not in open_images(lm).table


@pytest.mark.parametrize("text", ["{", '{"0": []}', '{"0": [{"cam_R_m2c": [1, 2]}]}', '{"0": [{}]}'])
def test_damaged_poses_are_named(lm: Path, text: str) -> None:
    path = lm / "train/000006/scene_gt.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"000006/scene_gt\.json: damaged poses; download it again"):
        open_images(lm)
