"""LineMod as rendered by Wohlhart and Lepetit: objects from 1,011 viewpoints, in one .npz."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from dualcontrast.errors import SourceError
from dualcontrast.images.arrays import images_in_memory, npz_names, read_npz
from dualcontrast.images.imageset import ImageSet

PREFIX, POSE = "fine_", "_quat"
POSE_COLUMNS = tuple(f"quat_{component}" for component in range(4))  # in the tables of all readers with poses
TRAIN_SHARE = Fraction(771, 1011)
SPLIT_SEED = 26  # of every split of LineMod, never changed, so that scores stay comparable


def is_linemod(path: Path) -> bool:
    """Check whether a file is an .npz of such renders."""
    return path.suffix.lower() == ".npz" and bool(_objects(npz_names(path)))


def open_linemod(path: Path) -> ImageSet:
    """Read the renders into memory, sorted by the name of the object.

    Parameters
    ----------
    path
        An .npz with `fine_NAME`, (viewpoints, H, W, 3) uint8, and `fine_NAME_quat`, (viewpoints, 4), for each
        object. The content of its images is NAME; `quat_0` to `quat_3` in the table are the pose: the rotation
        from object to camera as a quaternion, real part first.

    Raises
    ------
    SourceError
        The file is damaged, an object has no poses, or shapes do not match.
    """
    names = npz_names(path)
    objects = _objects(names)
    for name in objects:
        if f"{PREFIX}{name}{POSE}" not in names:
            raise SourceError(
                f"{path}: has no array {PREFIX}{name}{POSE}, the poses of {name}; download the file again"
            )
    renders = list(read_npz(path, [f"{PREFIX}{name}" for name in objects]).values())
    poses = list(read_npz(path, [f"{PREFIX}{name}{POSE}" for name in objects]).values())
    for name, render, pose in zip(objects, renders, poses, strict=True):
        if render.shape[1:] != renders[0].shape[1:] or pose.shape != (len(render), 4):
            raise SourceError(
                f"{path}: {PREFIX}{name} has shape {render.shape} and its poses {pose.shape}; all renders must "
                "have one size, with four numbers each"
            )
    counts = [len(render) for render in renders]
    splits = [fixed_split(name, count, TRAIN_SHARE) for name, count in zip(objects, counts, strict=True)]
    labels = {"split": np.concatenate(splits), "content": np.repeat(objects, counts)}
    images = images_in_memory(np.concatenate(renders), path, labels)
    for name, column in zip(POSE_COLUMNS, np.concatenate(poses).T, strict=True):
        images.table[name] = column
    return images


def _objects(names: list[str]) -> list[str]:
    return sorted(
        name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX) and not name.endswith(POSE)
    )


def fixed_split(name: str, count: int, train_share: Fraction) -> np.ndarray:
    """Draw the split of an object's images; it depends only on the arguments.

    Parameters
    ----------
    name
        The object: each has a split of its own, whichever others are present.
    count
        The number of its images.
    train_share
        The share of training images.

    Returns
    -------
    numpy.ndarray
        "train" or "test", (count,).
    """
    order = np.random.default_rng([SPLIT_SEED, *name.encode()]).permutation(count)
    split = np.full(count, "train")
    split[order[round(train_share * count) :]] = "test"
    return split
