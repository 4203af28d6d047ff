"""Short phrases about images: counts and sizes."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, noun: str) -> str:
    """Write a number with its noun, as in `1 picture` or `2,000 pictures`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size_of(shape: Sequence[int], pixel_size: float | None) -> str:
    """Describe the size of an image, x first, as in `32 x 32 x 32 voxels of 10 Å`."""
    sides = " x ".join(map(str, reversed(shape)))
    size = f"{sides} {'voxels' if len(shape) == 3 else 'pixels'}"
    return size if pixel_size is None else f"{size} of {pixel_size:g} Å"
