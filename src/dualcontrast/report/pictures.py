"""Pictures embedded in the page: WebP data, and many thumbnails on one sheet."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from dualcontrast.figures.drawing import picture_of
from dualcontrast.images import ImageSet
from dualcontrast.progress import Progress, silent

LONGEST = 48  # pixels along the longer side of a thumbnail, at most
BATCH = 200
QUALITY = 80


@dataclass(frozen=True)
class Sheet:
    """Thumbnails side by side in one picture, row after row from the top left.

    Attributes
    ----------
    uri : str
        The sheet as a data URI.
    columns, rows : int
        The number of thumbnails along each side.
    width, height : int
        The size of each thumbnail in pixels.
    """

    uri: str
    columns: int
    rows: int
    width: int
    height: int

    def position(self, number: int) -> str:
        """Return the position of a thumbnail, as the CSS background-position."""
        row, column = divmod(number, self.columns)
        across, down = column / max(self.columns - 1, 1), row / max(self.rows - 1, 1)
        return f"{100 * across:.4f}% {100 * down:.4f}%"


@dataclass(frozen=True)
class Thumbnails:
    """The images that have a thumbnail, if images can be read.

    Attributes
    ----------
    images : numpy.ndarray
        Their positions in the table of the codes, in the order of the sheet.
    sheet : Sheet or None
        Their thumbnails.
    """

    images: np.ndarray
    sheet: Sheet | None

    @cached_property
    def numbers(self) -> dict[int, int]:
        """The number, in the sheet, of each image that has a thumbnail."""
        return {} if self.sheet is None else {int(image): number for number, image in enumerate(self.images)}


def sheet_of(images: ImageSet, positions: np.ndarray, progress: Progress = silent) -> Sheet:
    """Draw thumbnails of images of a set: pictures, or the central slices of volumes.

    Raises
    ------
    SourceError
        An image cannot be read.
    """
    columns = int(np.ceil(np.sqrt(len(positions))))
    rows = -(-len(positions) // columns)
    thumbnails: list[np.ndarray] = []
    for start in range(0, len(positions), BATCH):
        thumbnails += [_thumbnail(coloured(image)) for image in images.read(positions[start : start + BATCH])]
        progress("drawing thumbnails", len(thumbnails), len(positions))
    height, width = thumbnails[0].shape[:2]
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, picture in enumerate(thumbnails):
        row, column = divmod(number, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture
    return Sheet(data_uri(sheet), columns, rows, width, height)


def mosaic(rows: Sequence[Sequence[Tensor | None]]) -> str:
    """Draw images side by side, None as a gap; the gaps after the first row and column are wider."""
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
    return data_uri(canvas, quality=90)


def coloured(image: Tensor) -> np.ndarray:
    """Convert an image as `picture_of` does, to 8-bit RGB, (H, W, 3)."""
    picture = picture_of(image)
    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    return np.asarray(np.round(255 * picture), np.uint8)


def data_uri(pixels: np.ndarray, quality: int = QUALITY) -> str:
    """Encode an 8-bit picture (H, W), (H, W, 3) or (H, W, 4) as a data URI, in WebP."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = picture.shape[:2]
    factor = LONGEST / max(height, width)
    if factor >= 1:
        return picture
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
