"""Single pictures: orientation, and what pillow would read unfaithfully without a word."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dualcontrast.errors import SourceError
from dualcontrast.images.pictures import brightness, load_picture, picture_form, pixels_of


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (16, 24), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif", "webp"])
def test_turned_photographs_are_read_upright(
    orientation: int, kind: str, grey: np.ndarray, tmp_path: Path
) -> None:
    """EXIF stores the row and the column at which the picture's first row and column are found."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].T,
        8: np.rot90,
    }
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(path, exif=exif, **options)
    upright = turns[orientation](grey)
    form = picture_form(path)
    assert form.size == upright.shape[::-1]
    np.testing.assert_array_equal(pixels_of(load_picture(path), "RGB")[0], upright)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_of_16_bits_is_refused(suffix: str, rng: np.random.Generator, tmp_path: Path) -> None:
    pixels = rng.integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, pixels, photometric="rgb")
    else:
        path.write_bytes(png_of_16_bits(pixels))
    with pytest.raises(SourceError, match="16-bit colour"):
        picture_form(path)


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """Write a PNG of 16-bit colour by hand, since pillow cannot."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_grey_of_16_bits_where_0_is_white_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = rng.integers(0, 65536, (4, 5), dtype=np.uint16)
    tifffile.imwrite(path, pixels, photometric="miniswhite")
    with pytest.raises(SourceError, match="16-bit grey, 0 is white"):
        picture_form(path)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    np.testing.assert_array_equal(pixels_of(load_picture(path), picture_form(path).mode)[0], pixels)


def test_a_stack_that_only_its_metadata_count_is_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    stack = rng.integers(0, 256, (6, 4, 5), dtype=np.uint8)
    tifffile.imwrite(path, stack, imagej=True, truncate=True)
    with Image.open(path) as picture:
        assert picture.n_frames == 1
    with pytest.raises(SourceError, match=r"a\.tif: holds 6 pictures"):
        picture_form(path)


def test_the_brightness_is_that_of_the_opaque_part() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0] = (200, 200, 200, 255)
    pixels[1] = (10, 10, 10, 0)
    assert brightness(Image.fromarray(pixels, "RGBA")) == pytest.approx(200)
    pixels[..., 3] = 255
    assert brightness(Image.fromarray(pixels, "RGBA")) is None


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"not a picture")
    for read in (picture_form, load_picture):
        with pytest.raises(SourceError, match=r"a\.png: missing, damaged or not a picture"):
            read(path)
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:40])
    with pytest.raises(SourceError, match="damaged"):
        load_picture(path)
