"""Pictures within the page: as data, in WebP, many small ones in one sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dualcontrast.figures.drawing import picture_of
from dualcontrast.images import ImageSet
from dualcontrast.progress import Progress, silent

LONGEST = 48  # pixels of a small picture's longer side, at most
AT_ONCE = 200
QUALITY = 80


@dataclass(frozen=True)
class Sheet:
    """Many small pictures side by side in one.

    Attributes
    ----------
    uri : str
        The sheet as data.
    columns, rows : int
        How many pictures it has along each side, from the left and from the top.
    width, height : int
        Of each, in pixels.
    """

    uri: str
    columns: int
    rows: int
    width: int
    height: int

    def position(self, place: int) -> str:
        """Return where a picture is, as CSS takes it of a background as large as the sheet."""
        row, column = divmod(place, self.columns)
        across, down = column / max(self.columns - 1, 1), row / max(self.rows - 1, 1)
        return f"{100 * across:.4f}% {100 * down:.4f}%"


def sheet_of(images: ImageSet, places: np.ndarray, progress: Progress = silent) -> Sheet:
    """Draw images of a set small, in one sheet: pictures, and the central slices of volumes.

    Raises
    ------
    SourceError
        An image cannot be read.
    """
    columns = int(np.ceil(np.sqrt(len(places))))
    rows = -(-len(places) // columns)
    small: list[np.ndarray] = []
    for start in range(0, len(places), AT_ONCE):
        small += [_small(coloured(image)) for image in images.read(places[start : start + AT_ONCE])]
        progress("drawing small pictures", len(small), len(places))
    height, width = small[0].shape[:2]
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, picture in enumerate(small):
        row, column = divmod(place, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return Sheet(as_data(sheet), columns, rows, width, height)


def mosaic(rows: Sequence[Sequence[Tensor | None]]) -> str:
    """Draw images side by side, nothing where there is None, with wider gaps after the first row and column."""
    pictures = [[None if image is None else coloured(image) for image in row] for row in rows]
    height, width = next(picture.shape[:2] for row in pictures for picture in row if picture is not None)
    gap = max(1, max(height, width) // 16)
    across = [column * (width + gap) + (2 * gap if column else 0) for column in range(len(rows[0]))]
    down = [row * (height + gap) + (2 * gap if row else 0) for row in range(len(rows))]
    canvas = np.zeros((down[-1] + height, across[-1] + width, 4), np.uint8)
    for top, row in zip(down, pictures, strict=True):
        for left, picture in zip(across, row, strict=True):
            if picture is not None:
                canvas[top : top + height, left : left + width, :3] = picture
                canvas[top : top + height, left : left + width, 3] = 255
    return as_data(canvas, quality=90)


def coloured(image: Tensor) -> np.ndarray:
    """Return an image as `picture_of` does, in three colours of 8 bits, (H, W, 3)."""
    picture = picture_of(image)
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    return np.asarray(np.round(255 * picture), np.uint8)


def as_data(pixels: np.ndarray, quality: int = QUALITY) -> str:
    """Return a picture (H, W), (H, W, 3) or (H, W, 4) of 8 bits as the address of data, in WebP."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _small(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = picture.shape[:2]
    factor = LONGEST / max(height, width)
    if factor >= 1:
        return picture
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
