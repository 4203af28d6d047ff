"""LineMod in the format of the BOP benchmark: rendered pictures, cropped to the object by its mask."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.spatial.transform import Rotation

from dualcontrast.errors import SourceError
from dualcontrast.images.cache import ImageCache
from dualcontrast.images.imageset import ImageSet
from dualcontrast.images.linemod import POSE_COLUMNS, fixed_split
from dualcontrast.images.pictures import load_picture

# The paper, appendix A.4.2.
PADDING = 8
SIDE = 64
TRAIN_SHARE = Fraction(1000, 1313)

MASKS = (
    "mask",
    "mask_visib",
)  # of the whole object, and of its visible part: the same for an object that stands alone
FIRST_INSTANCE = "_000000"  # ends the names of masks: each training picture shows one object

NAMES = {
    1: "ape",
    2: "benchvise",
    3: "bowl",
    4: "cam",
    5: "can",
    6: "cat",
    7: "cup",
    8: "driller",
    9: "duck",
    10: "eggbox",
    11: "glue",
    12: "holepuncher",
    13: "iron",
    14: "lamp",
    15: "phone",
}


class BopImages(ImageSet):
    """Objects cropped from pictures, read on demand; a small set is cached in memory."""

    def __init__(self, folder: Path, table: pd.DataFrame) -> None:
        self._folder = folder
        self.source = str(folder)
        self.shape = (3, SIDE, SIDE)
        self.pixel_size = None
        self.table = table
        self._cache = ImageCache(self._crop, len(table), self.shape, np.uint8)

    def _read(self, index: np.ndarray) -> np.ndarray:
        return self._cache(index)

    def _crop(self, index: np.ndarray) -> np.ndarray:
        stored = np.empty((len(index), *self.shape), np.uint8)
        rows = self.table.iloc[index]
        for place, (file, mask) in enumerate(zip(rows["file"], rows["mask"], strict=True)):
            stored[place] = crop_object(self._folder / file, self._folder / mask)
        return stored


def is_bop(folder: Path) -> bool:
    """Check whether a folder holds objects as BOP stores them."""
    return any((place / "rgb").is_dir() for place in _object_folders(folder))


def open_bop(folder: Path) -> ImageSet:
    """Open a folder of BOP's LineMod training pictures; the pictures are listed now and read on demand.

    Parameters
    ----------
    folder
        Holds 000001/rgb/*.png and 000001/mask/*_000000.png (or mask_visib) for each object, itself or in its
        subfolder `train`. If 000001/scene_gt.json has the poses, `quat_0` to `quat_3` in the table are the
        rotation from object to camera as a quaternion, real part first.

    Raises
    ------
    SourceError
        A picture has no mask, or a mask has no picture; or the poses are damaged.
    """
    tables = [_object_table(folder, place) for place in _object_folders(folder)]
    table: pd.DataFrame = pd.concat(tables, ignore_index=True)
    table.insert(0, "row", np.arange(len(table)))
    return BopImages(folder, table)


def crop_object(path: Path, mask_path: Path) -> np.ndarray:
    """Crop an object from a picture, as the paper does (appendix A.4.2).

    The bounding box of the mask is padded by 8 pixels on each side, with zeros outside the picture, so that the
    object stays in the middle; then it is resized to 64 x 64, whatever its aspect ratio.

    Returns
    -------
    numpy.ndarray
        uint8, (3, 64, 64).

    Raises
    ------
    SourceError
        A file cannot be read, the mask is empty, or picture and mask differ in size.
    """
    picture, mask = load_picture(path), load_picture(mask_path)
    if picture.size != mask.size:
        raise SourceError(f"{mask_path}: differs in size from {path}; download both files again")
    box = mask.convert("L").getbbox()
    if box is None:
        raise SourceError(f"{mask_path}: the mask is empty; remove it and its picture")
    left, top, right, bottom = box
    padded = (left - PADDING, top - PADDING, right + PADDING, bottom + PADDING)
    crop = picture.convert("RGB").crop(padded).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.moveaxis(np.asarray(crop), -1, 0)


def _object_folders(folder: Path) -> list[Path]:
    base = folder / "train" if (folder / "train").is_dir() else folder
    return sorted(place for place in base.iterdir() if len(place.name) == 6 and place.name.isdecimal())


def _object_table(folder: Path, place: Path) -> pd.DataFrame:
    """List the pictures of one object, and their masks."""
    pictures = place / "rgb"
    masks = next((place / name for name in MASKS if (place / name).is_dir()), place / MASKS[0])
    numbers = sorted(path.stem for path in pictures.glob("*.png"))
    masked = {path.stem.removesuffix(FIRST_INSTANCE) for path in masks.glob(f"*{FIRST_INSTANCE}.png")}
    if not numbers:
        raise SourceError(f"{pictures}: holds no pictures; download them again, or remove {place.name}")
    for number in numbers:
        if number not in masked:
            mask = masks / f"{number}{FIRST_INSTANCE}.png"
            raise SourceError(f"{mask}: missing; download it again, or remove its picture")
    for number in sorted(masked.difference(numbers)):
        raise SourceError(f"{pictures / number}.png: missing; download it again, or remove its mask")
    name = NAMES.get(int(place.name), str(int(place.name)))
    table: pd.DataFrame = pd.DataFrame(
        {
            "split": fixed_split(name, len(numbers), TRAIN_SHARE),
            "content": name,
            "file": [(pictures / f"{number}.png").relative_to(folder).as_posix() for number in numbers],
            "mask": [
                (masks / f"{number}{FIRST_INSTANCE}.png").relative_to(folder).as_posix() for number in numbers
            ],
        }
    )
    quaternions = _poses(place / "scene_gt.json", numbers)
    if np.isfinite(quaternions).any():
        table[list(POSE_COLUMNS)] = quaternions
    return table


def _poses(path: Path, numbers: list[str]) -> np.ndarray:
    """Read the pose of each picture as a quaternion, real part first, (N, 4); NaN if unknown."""
    quaternions = np.full((len(numbers), 4), np.nan)
    if not path.is_file():
        return quaternions
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        for place, number in enumerate(numbers):
            if str(int(number)) in stated:
                rotation = np.reshape(stated[str(int(number))][0]["cam_R_m2c"], (3, 3))
                quaternions[place] = Rotation.from_matrix(rotation).as_quat()[[3, 0, 1, 2]]
    except (ValueError, TypeError, KeyError, IndexError):
        raise SourceError(f"{path}: damaged poses; download it again, or remove it") from None
    return quaternions
