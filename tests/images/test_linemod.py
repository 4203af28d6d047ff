from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dualcontrast.errors import SourceError
from dualcontrast.images import open_images
from dualcontrast.images.linemod import TRAIN_SHARE, fixed_split

OBJECTS = ["ape", "benchvise", "cam", "cat", "duck"]


def renders(count: int = 20, side: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), rng.random((count, 4), np.float32)


def test_the_real_renders(shared_data: Path) -> None:
    path = shared_data / "linemod" / "fine_renders64.npz"
    images = open_images(path)
    assert (len(images), images.shape) == (5 * 1011, (3, 64, 64))
    assert images.table["row"].tolist() == list(range(5055))
    assert images.table["content"].tolist() == [name for name in OBJECTS for _ in range(1011)]
    assert images.table.groupby("content")["split"].value_counts().unstack().eq([240, 771]).all(axis=None)
    with np.load(path) as file:
        place = 2 * 1011 + 17
        expected = np.moveaxis(file["fine_cam"][17], -1, 0) / 255
        np.testing.assert_allclose(images.read(np.array([place]))[0], expected, rtol=1e-6)
        poses = images.table.loc[4 * 1011 :, ["quat_0", "quat_1", "quat_2", "quat_3"]]
        np.testing.assert_array_equal(poses, file["fine_duck_quat"])


def test_objects_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    (duck, duck_poses), (ape, ape_poses) = renders(20), renders(10, seed=1)
    np.savez(tmp_path / "a.npz", fine_duck=duck, fine_duck_quat=duck_poses, fine_ape=ape, fine_ape_quat=ape_poses)
    images = open_images(tmp_path / "a.npz")
    assert images.table["content"].tolist() == ["ape"] * 10 + ["duck"] * 20
    np.testing.assert_allclose(images.read(np.array([10]))[0], np.moveaxis(duck[0], -1, 0) / 255, rtol=1e-6)
    assert images.table["split"][10:].tolist() == fixed_split("duck", 20, TRAIN_SHARE).tolist()


def test_key_reads_one_object_as_plain_images(tmp_path: Path) -> None:
    pictures, poses = renders()
    np.savez(tmp_path / "a.npz", fine_ape=pictures, fine_ape_quat=poses)
    assert list(open_images(tmp_path / "a.npz", key="fine_ape").table) == ["row"]


def test_missing_poses_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", fine_ape=renders()[0])
    with pytest.raises(SourceError, match="has no array fine_ape_quat"):
        open_images(tmp_path / "a.npz")


def test_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    (ape, ape_poses), (cat, cat_poses) = renders(), renders(side=5)
    np.savez(tmp_path / "a.npz", fine_ape=ape, fine_ape_quat=ape_poses, fine_cat=cat, fine_cat_quat=cat_poses)
    with pytest.raises(SourceError, match=r"fine_cat has shape \(20, 5, 5, 3\)"):
        open_images(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", fine_ape=ape, fine_ape_quat=ape_poses[:19])
    with pytest.raises(SourceError, match=r"fine_ape .* its poses \(19, 4\)"):
        open_images(tmp_path / "b.npz")


# ---- the split


def test_the_split_has_the_share_that_trains() -> None:
    split = fixed_split("ape", 1011, TRAIN_SHARE)
    assert (split == "train").sum() == 771
    assert (split == "test").sum() == 240
    assert (fixed_split("ape", 100, TRAIN_SHARE) == "train").sum() == 76


def test_each_object_has_a_split_of_its_own() -> None:
    splits = {tuple(fixed_split(name, 1011, TRAIN_SHARE)) for name in OBJECTS}
    assert len(splits) == len(OBJECTS)


def test_the_split_never_changes() -> None:
    """Scores over the years compare only if these numbers stay."""
    first_tests = {
        "ape": [7, 8, 13, 14, 18, 26],
        "benchvise": [2, 12, 13, 21, 23, 27],
        "cam": [0, 1, 11, 12, 13, 18],
        "cat": [0, 6, 13, 22, 31, 32],
        "duck": [0, 5, 12, 14, 18, 31],
    }
    for name, places in first_tests.items():
        split = fixed_split(name, 1011, TRAIN_SHARE)
        assert np.flatnonzero(split == "test")[:6].tolist() == places
