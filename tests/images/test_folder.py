from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualcontrast.errors import DualContrastWarning, SourceError
from dualcontrast.images import open_images

Save = Callable[[str, np.ndarray], Path]


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 4, 5), dtype=np.uint8)


@pytest.fixture
def colour(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


# ---- where pictures lie


def test_a_flat_folder_has_no_labels(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    for name, pixels in zip(("b.png", "a.PNG", "c.tif"), grey, strict=False):
        save_picture(name, pixels)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".thumbnail.png").write_bytes(b"nor is this")
    save_picture(".cache/d.png", grey[3])
    with pytest.warns(DualContrastWarning, match=r"skipped 1 of 4 files, which are not pictures .*notes\.txt"):
        images = open_images(tmp_path)
    assert list(images.table) == ["row", "file"]
    assert images.table["row"].tolist() == [0, 1, 2]
    assert images.table["file"].tolist() == ["a.PNG", "b.png", "c.tif"]
    assert (images.source, images.shape) == (str(tmp_path), (1, 4, 5))
    np.testing.assert_allclose(images.read(np.array([2, 0, 1]))[:, 0], grey[[2, 1, 0]] / 255, rtol=1e-6)


def test_subfolders_are_classes(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    for name, pixels in zip(("dog/1.png", "cat/2.png", "cat/1.png"), grey, strict=False):
        save_picture(name, pixels)
    table = open_images(tmp_path).table
    assert table["content"].tolist() == ["cat", "cat", "dog"]
    assert table["file"].tolist() == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert "split" not in table


def test_train_and_test_are_splits(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    names = ("train/dog/1.png", "train/cat/1.png", "test/cat/1.png")
    for name, pixels in zip(names, grey, strict=False):
        save_picture(name, pixels)
    table = open_images(tmp_path).table
    assert table["split"].tolist() == ["test", "train", "train"]
    assert table["content"].tolist() == ["cat", "cat", "dog"]


def test_splits_may_be_flat(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("train/1.png", grey[0])
    save_picture("test/1.png", grey[1])
    table = open_images(tmp_path).table
    assert table["split"].tolist() == ["test", "train"]
    assert "content" not in table


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Test"), ["test", "train"]),
        (("train", "val", "test"), ["test", "train", "train"]),
        (("train", "valid"), ["train", "test"]),
        (("train",), ["train"]),
    ],
)
def test_splits_in_any_case_are_never_contents(
    folders: tuple[str, ...], splits: list[str], tmp_path: Path, save_picture: Save, grey: np.ndarray
) -> None:
    for folder in folders:
        save_picture(f"{folder}/1.png", grey[0])
        save_picture(f"{folder}/2.png", grey[1])
    table = open_images(tmp_path).table
    assert table["split"].tolist() == [split for split in splits for _ in range(2)]
    assert "content" not in table


def test_splits_beside_other_folders_are_refused(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    for name, pixels in zip(("train/1.png", "Test/1.png", "extra/1.png"), grey, strict=False):
        save_picture(name, pixels)
    with pytest.raises(SourceError, match="Test and train look like splits, but extra stands beside them"):
        open_images(tmp_path)


def test_train_without_test_is_a_class(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("train/1.png", grey[0])
    save_picture("tram/1.png", grey[1])
    table = open_images(tmp_path).table
    assert table["content"].tolist() == ["train", "tram"]
    assert "split" not in table


def test_labels_for_some_pictures_only_are_refused(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("cat/1.png", grey[0])
    save_picture("stray.png", grey[1])
    with pytest.raises(SourceError, match=r"cat/1\.png and stray\.png are nested differently"):
        open_images(tmp_path)


def test_pictures_too_deep_are_refused(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("cat/1.png", grey[0])
    save_picture("cat/black/1.png", grey[1])
    with pytest.raises(SourceError, match=r"cat/black/1\.png is nested too deeply"):
        open_images(tmp_path)


def test_one_picture_is_not_enough(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("a.png", grey[0])
    with pytest.raises(SourceError, match="at least two images are needed, but it holds 1"):
        open_images(tmp_path)


# ---- pixels


def test_colour_comes_channels_first(tmp_path: Path, save_picture: Save, colour: np.ndarray) -> None:
    for place, pixels in enumerate(colour):
        save_picture(f"{place}.bmp", pixels)
    images = open_images(tmp_path)
    assert images.shape == (3, 4, 5)
    expected = np.stack([colour[4, :, :, channel] for channel in range(3)]) / 255
    np.testing.assert_allclose(images.read(np.array([4]))[0], expected, rtol=1e-6)


@pytest.mark.parametrize(("ink", "behind"), [(0, 255), (255, 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_contrast_with_the_rest(ink: int, behind: int, mode: str, tmp_path: Path) -> None:
    alpha = np.zeros((4, 5), np.uint8)
    alpha[1:3, 1:3], alpha[0, 0] = 255, 128
    letter = Image.fromarray(np.dstack([np.full((4, 5, 3), ink, np.uint8), alpha]), "RGBA")
    for name in ("a.png", "b.png"):
        picture = letter.convert("RGBA" if mode == "P" else mode)
        (picture.quantize(8) if mode == "P" else picture).save(tmp_path / name)
    with pytest.warns(DualContrastWarning, match="transparent parts are read as"):
        images = open_images(tmp_path)
    expected = (ink * (alpha / 255.0) + behind * (1 - alpha / 255.0)) / 255
    for read in images.read(np.arange(2)):
        for channel in read:
            np.testing.assert_allclose(channel, expected, atol=0.01)


def test_an_alpha_channel_that_is_opaque_changes_nothing(
    tmp_path: Path, save_picture: Save, colour: np.ndarray
) -> None:
    opaque = np.dstack([colour[0], np.full((4, 5), 255, np.uint8)])
    save_picture("a.png", opaque)
    save_picture("b.png", opaque)
    np.testing.assert_allclose(
        open_images(tmp_path).read(np.array([1]))[0], np.moveaxis(colour[0], -1, 0) / 255, rtol=1e-6
    )


def test_a_palette_is_read_in_colour(tmp_path: Path, colour: np.ndarray) -> None:
    few = colour[0] // 128 * 128
    for name in ("a.png", "b.png"):
        Image.fromarray(few).quantize(8).save(tmp_path / name)
    images = open_images(tmp_path)
    assert images.shape == (3, 4, 5)
    expected = np.moveaxis(few, -1, 0) / 255
    for read in images.read(np.arange(2)):
        np.testing.assert_allclose(read, expected, rtol=1e-6)


def test_grey_among_colour_is_read_as_colour(
    tmp_path: Path, save_picture: Save, grey: np.ndarray, colour: np.ndarray
) -> None:
    save_picture("a.png", grey[0])
    save_picture("b.png", colour[1])
    read = open_images(tmp_path).read(np.arange(2))
    np.testing.assert_allclose(read[0], np.stack([grey[0]] * 3) / 255, rtol=1e-6)
    np.testing.assert_allclose(read[1], np.moveaxis(colour[1], -1, 0) / 255, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_keeps_its_range(suffix: str, tmp_path: Path, save_picture: Save) -> None:
    pixels = np.array([[0, 1, 65535], [257, 256, 32768]], np.uint16)
    save_picture(f"a.{suffix}", pixels)
    save_picture(f"b.{suffix}", pixels[::-1].copy())
    read = open_images(tmp_path).read(np.arange(2))
    np.testing.assert_allclose(read[0, 0], pixels / 65535, rtol=1e-6)
    np.testing.assert_allclose(read[1, 0], pixels[::-1] / 65535, rtol=1e-6)


def test_black_and_white_becomes_0_and_1(tmp_path: Path, save_picture: Save) -> None:
    pixels = np.array([[True, False], [False, False]])
    save_picture("a.png", pixels)
    save_picture("b.png", ~pixels)
    np.testing.assert_array_equal(open_images(tmp_path).read(np.arange(2))[:, 0], [pixels, ~pixels])


def test_floats_are_checked_when_read(tmp_path: Path, save_picture: Save) -> None:
    save_picture("a.tif", np.full((2, 2), 0.25, np.float32))
    save_picture("b.tif", np.full((2, 2), 3.5, np.float32))
    images = open_images(tmp_path)
    assert images.read(np.array([0])).unique().tolist() == [0.25]
    with pytest.raises(SourceError, match=r"row 1 has values from 3\.5 to 3\.5"):
        images.read(np.array([1]))


# ---- what is refused


def test_two_sizes_are_refused_with_both_files(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("cat/a.png", grey[0])
    save_picture("dog/b.png", grey[1, :3])
    with pytest.raises(SourceError, match=r"cat/a\.png has 5 x 4 pixels and dog/b\.png has 5 x 3; resize them"):
        open_images(tmp_path)


def test_two_depths_are_refused_with_both_files(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("a.png", grey[0])
    save_picture("b.png", grey[1].astype(np.uint16))
    with pytest.raises(SourceError, match=r"the same bit depth, but a\.png and b\.png differ"):
        open_images(tmp_path)


def test_a_type_of_pixels_that_has_no_range_is_refused(
    tmp_path: Path, save_picture: Save, grey: np.ndarray
) -> None:
    save_picture("a.tif", grey[0].astype(np.int32))
    with pytest.raises(SourceError, match=r"a\.tif: its pixel format \(I\) is not supported"):
        open_images(tmp_path)


def test_a_stack_in_one_file_is_refused(tmp_path: Path, grey: np.ndarray) -> None:
    first, *others = [Image.fromarray(pixels) for pixels in grey]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    with pytest.raises(SourceError, match=r"stack\.tif: holds 6 pictures"):
        open_images(tmp_path)


def test_what_is_no_picture_is_named_at_once(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("a.png", grey[0])
    (tmp_path / "b.jpg").write_text("not a picture")
    with pytest.raises(SourceError, match=r"b\.jpg: missing, damaged or not a picture"):
        open_images(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_truncated_picture_is_named_when_it_is_read(
    suffix: str, tmp_path: Path, save_picture: Save, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (2, 40, 40), dtype=np.uint8)
    save_picture(f"a.{suffix}", pixels[0])
    cut = save_picture(f"b.{suffix}", pixels[1])
    cut.write_bytes(cut.read_bytes()[:-300])
    images = open_images(tmp_path)
    assert images.read(np.array([0])).shape == (1, 1, 40, 40)
    with pytest.raises(SourceError, match=rf"b\.{suffix}: missing, damaged or not a picture"):
        images.read(np.array([0, 1]))


def test_only_headers_are_read_at_first(tmp_path: Path, save_picture: Save, grey: np.ndarray) -> None:
    save_picture("a.png", grey[0])
    path = save_picture("b.png", grey[1])
    images = pickle.loads(pickle.dumps(open_images(tmp_path)))
    Image.fromarray(grey[2]).save(path)
    np.testing.assert_allclose(images.read(np.array([1]))[0, 0], grey[2] / 255, rtol=1e-6)
