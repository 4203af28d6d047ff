from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from dualcontrast.images.arrays import images_in_memory
from dualcontrast.report import pictures
from dualcontrast.report.pictures import Sheet, Thumbnails, coloured, data_uri, mosaic, sheet_of


def pixels_of(uri: str) -> np.ndarray:
    kind, data = uri.split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return np.asarray(picture.convert("RGBA")).astype(int)


def test_positions_on_a_sheet_are_those_of_css() -> None:
    sheet = Sheet("", columns=3, rows=2, width=4, height=4)
    assert sheet.position(0) == "0.0000% 0.0000%"
    assert sheet.position(4) == "50.0000% 100.0000%"
    assert Sheet("", 1, 1, 4, 4).position(0) == "0.0000% 0.0000%"


def test_thumbnails_number_their_images() -> None:
    sheet = Sheet("", 2, 1, 4, 4)
    assert Thumbnails(np.array([7, 3]), sheet).numbers == {7: 0, 3: 1}
    assert Thumbnails(np.array([7, 3]), None).numbers == {}


def test_a_sheet_has_the_thumbnails_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "BATCH", 2)
    grey = np.linspace(0, 1, 5, dtype=np.float32)
    images = images_in_memory(np.broadcast_to(grey[:, None, None, None], (5, 1, 8, 8)).copy())
    reported: list[int] = []
    sheet = sheet_of(images, np.array([4, 0, 2]), lambda what, done, total, **_: reported.append(done))
    assert (sheet.columns, sheet.rows, sheet.width, sheet.height) == (2, 2, 8, 8)
    assert reported == [2, 3]
    found = pixels_of(sheet.uri)[..., 0]
    for row, column, value in ((0, 0, 255), (0, 1, 0), (1, 0, 127)):
        assert found[8 * row + 4, 8 * column + 4] == pytest.approx(value, abs=3)


def test_large_images_are_reduced_in_proportion() -> None:
    sheet = sheet_of(images_in_memory(np.zeros((1, 1, 100, 50), np.float32)), np.array([0]))
    assert (sheet.width, sheet.height) == (24, 48)


def test_a_mosaic_has_transparent_gaps() -> None:
    white = torch.ones(1, 16, 16)
    found = pixels_of(mosaic([[None, white], [white, white]]))
    assert found.shape == (16 + 3 + 16, 16 + 3 + 16, 4)
    assert (found[:16, :16, 3] == 0).all()
    assert (found[16:19, :, 3] == 0).all()
    assert (found[19:, 19:, 3] == 255).all()
    assert found[27, 27, 0] > 250


def test_pictures_are_converted_to_eight_bits() -> None:
    assert coloured(torch.full((1, 2, 3), 0.5)).tolist() == [[[128] * 3] * 3] * 2
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = 200
    assert pixels_of(data_uri(pixels))[8, 8].tolist() == pytest.approx([200, 0, 0, 255], abs=6)
