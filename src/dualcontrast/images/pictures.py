"""One picture in a file: what its header says, and its pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from dualcontrast.errors import SourceError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

# Pillow's modes of stored pixels, and the modes in which they are read here: grey of 8 bits, 16 bits or floats,
# or colour.
READ_AS = {
    **dict.fromkeys(("1", "L", "LA", "La"), "L"),
    **dict.fromkeys(("I;16", "I;16L", "I;16B"), "I;16"),
    "F": "F",
    **dict.fromkeys(("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr"), "RGB"),
}
DTYPES = {"L": np.uint8, "I;16": np.uint16, "F": np.float32, "RGB": np.uint8}

ORIENTATION = 0x0112  # EXIF
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
WIDTH, HEIGHT, BITS_PER_SAMPLE, PHOTOMETRIC, MIN_IS_WHITE = 256, 257, 258, 262, 0  # TIFF


class Form(NamedTuple):
    """How a picture is stored."""

    mode: str  # in which it is read, a key of DTYPES
    size: tuple[int, int]  # (width, height), upright
    has_alpha: bool


def picture_form(path: Path) -> Form:
    """Read how a picture is stored, from its header.

    Raises
    ------
    SourceError
        The file is missing, damaged or not a picture, holds several, or stores pixels in an unsupported way.
    """
    try:
        with Image.open(path) as picture:
            mode, size, frames = picture.mode, _stored_size(picture), getattr(picture, "n_frames", 1)
            if _orientation(picture) in SIDEWAYS:
                size = size[::-1]
            has_alpha = _has_alpha(picture)
            unsupported = _unsupported(path, picture)
        if path.suffix.lower() in (".tif", ".tiff"):
            frames = max(frames, _tiff_frames(path))
    except Exception:  # pillow's decoders raise many types of error on damaged files
        raise _unreadable(path) from None
    if frames > 1:
        raise SourceError(f"{path}: holds {frames} pictures; save each in a file of its own, or all as one .npy")
    if mode not in READ_AS or unsupported:
        raise SourceError(
            f"{path}: its pixel format ({unsupported or mode}) is not supported; save it as 8-bit RGB, or as "
            "8- or 16-bit grey"
        )
    return Form(READ_AS[mode], size, has_alpha)


def _has_alpha(picture: Image.Image) -> bool:
    return picture.getbands()[-1] in ("A", "a") or "transparency" in picture.info


def _stored_size(picture: Image.Image) -> tuple[int, int]:
    """Return (width, height) before any turn; some versions of pillow turn those of TIFF files."""
    tags = getattr(picture, "tag_v2", {})
    return (tags[WIDTH], tags[HEIGHT]) if WIDTH in tags else picture.size


def _orientation(picture: Image.Image) -> int | None:
    if picture.format == "PNG" and "exif" not in picture.info:
        return None  # pillow would decode the whole picture to look behind it
    return picture.getexif().get(ORIENTATION)


def _unsupported(path: Path, picture: Image.Image) -> str:
    """Name a pixel format that pillow opens but does not read faithfully; empty for all others."""
    tags = getattr(picture, "tag_v2", {})
    bits = max(np.ravel(tags.get(BITS_PER_SAMPLE, 8)))
    if path.suffix.lower() == ".png":
        with path.open("rb") as file:
            bits = file.read(25)[24]  # of the first chunk, IHDR
    if bits == 16 and READ_AS.get(picture.mode) == "RGB":
        return "16-bit colour"
    if bits == 16 and READ_AS.get(picture.mode) == "L":
        return "16-bit grey with alpha"
    return "16-bit grey, 0 is white" if bits == 16 and tags.get(PHOTOMETRIC) == MIN_IS_WHITE else ""


def _tiff_frames(path: Path) -> int:
    """Count the pictures in a TIFF file, also those of ImageJ that only the metadata list."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return sum(math.prod(series.shape) // math.prod(series.keyframe.shape) for series in file.series)


def load_picture(path: Path) -> Image.Image:
    """Read a picture from a file, upright as its EXIF orientation says.

    Raises
    ------
    SourceError
        The file is missing, damaged or not a picture.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return ImageOps.exif_transpose(picture)
    except Exception:  # as in picture_form
        raise _unreadable(path) from None


def pixels_of(picture: Image.Image, mode: str, background: int = 255) -> np.ndarray:
    """Return the pixels (C, H, W) of a picture.

    Parameters
    ----------
    mode
        A key of `DTYPES`.
    background
        The grey level that shows through transparent parts.
    """
    if _has_alpha(picture):
        opaque = Image.new("RGBA", picture.size, (background, background, background, 255))
        picture = Image.alpha_composite(opaque, picture.convert("RGBA")).convert("RGB")
    if mode == "RGB":
        return np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    return np.asarray(picture.convert("L") if mode == "L" else picture)[None]


def brightness(picture: Image.Image) -> float | None:
    """Measure the mean grey level (0 to 255) of the opaque part of a picture; None if nothing is transparent."""
    grey, alpha = np.moveaxis(np.asarray(picture.convert("RGBA").convert("LA"), float), -1, 0)
    return None if alpha.min() == 255 else float((grey * alpha).sum() / max(alpha.sum(), 1))


def _unreadable(path: Path) -> SourceError:
    return SourceError(f"{path}: missing, damaged or not a picture; replace or remove it")
