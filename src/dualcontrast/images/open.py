"""Open a source of images, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualcontrast.images.imageset import ImageSet


def open_images(source: str | Path, **options: Any) -> ImageSet:
    """Open a source of images; the reader is chosen by what the source is."""
    raise NotImplementedError
