from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.support.command import assert_refused, call

from dualcontrast.cryoet.mrc import write_volume
from dualcontrast.errors import SourceError
from dualcontrast.figures import isosurface
from dualcontrast.figures.sampling import balanced_sample
from dualcontrast.figures.show import are_maps, show_images, show_maps
from dualcontrast.images.arrays import images_in_memory


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(isosurface, "FINE", 24)  # fast
    return tmp_path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def blob(side: int = 12) -> np.ndarray:
    z, y, x = np.indices((side,) * 3) - side // 2
    return np.exp(-(z**2 + y**2 + x**2) / side).astype(np.float32)


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return bool(min(picture.size) > 100)


# ---- sources


def test_volumes_are_drawn_as_slices_with_labels_and_rows(figures: list[Figure], rng: np.random.Generator) -> None:
    array = rng.normal(size=(10, 4, 6, 6)).astype(np.float32)
    labels = {"content": np.array(list("ab" * 5)), "transformation": np.arange(10)}
    images = images_in_memory(array[:, None], "a folder/few volumes.npz", labels)
    done = show_images(images, count=4, seed=3)
    assert done.figure == Path("few-volumes-slices.png")
    assert is_picture(done.figure)
    assert (done.images, done.description) == (
        10,
        "10 volumes, 6 x 6 x 4 voxels, 2 contents, 10 transformations",
    )
    assert figures[0].get_suptitle() == f"few volumes.npz: 4 of {done.description}"
    for axes, row in zip(figures[0].axes, done.rows, strict=True):
        assert axes.get_ylabel() == f"{'ab'[row % 2]} {row}\nrow {row}"
        np.testing.assert_array_equal(axes.images[0].get_array()[:, :6], array[row, 0])
        np.testing.assert_array_equal(axes.images[0].get_array()[:, 7:13], array[row, 1])


def test_rows_are_those_of_the_source_and_files_have_their_names(figures: list[Figure]) -> None:
    images = images_in_memory(np.zeros((9, 1, 4, 5, 6), np.float32)).select(np.array([7, 8]))
    assert show_images(images, "a.png").rows == (7, 8)
    images.table["file"] = ["p1.mrc", "p2.mrc"]
    show_images(images, "a.png")
    assert [axes.get_ylabel() for axes in figures[1].axes] == ["p1.mrc", "p2.mrc"]


def test_the_size_is_given_x_first_with_the_pixel_size() -> None:
    images = images_in_memory(np.zeros((2, 1, 4, 5, 6), np.float32))
    images.pixel_size = 13.48
    done = show_images(images)
    assert done.description == "2 volumes, 6 x 5 x 4 voxels of 13.48 Å"
    assert done.figure == Path("images-in-memory-slices.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_drawn_side_by_side(figures: list[Figure], rng: np.random.Generator, channels: int) -> None:
    array = rng.random((30, channels, 8, 10)).astype(np.float32)
    images = images_in_memory(array, labels={"content": np.arange(30) % 3})
    done = show_images(images, "there/p.png")
    assert is_picture(Path("there/p.png"))
    assert len(done.rows) == 24
    assert figures[0].get_suptitle() == "images in memory: 24 of 30 pictures, 10 x 8 pixels, 3 contents"
    for axes, row in zip(figures[0].axes, done.rows, strict=True):
        expected = array[row, 0] if channels == 1 else array[row].transpose(1, 2, 0)
        np.testing.assert_allclose(axes.images[0].get_array(), expected)
        assert axes.images[0].get_clim() == (0, 1)
        assert axes.get_title() == f"{row % 3}\nrow {row}"
    (title,) = figures[0].texts
    assert 0 < title.get_window_extent().x0 < title.get_window_extent().x1 < figures[0].bbox.x1
    assert show_images(images, "p.png", count=3).rows == tuple(
        images.table["row"][balanced_sample(images.table, 3, 0)]
    )


def test_volumes_of_a_source_are_drawn_as_surfaces_in_its_unit(figures: list[Figure]) -> None:
    images = images_in_memory(np.stack([blob(), 2 * blob()]))
    images.pixel_size = 5.0
    done = show_images(images, surface=True)
    assert done.figure == Path("images-in-memory-surface.png")
    assert [axes.get_title() for axes in figures[0].axes] == ["row 0", "row 1"]
    assert figures[0].axes[0].texts[0].get_text().endswith("Å")


def test_pictures_have_no_surface() -> None:
    with pytest.raises(SourceError, match="images in memory: contains pictures, which have no surface"):
        show_images(images_in_memory(np.zeros((2, 5, 6), np.uint8)), surface=True)
    assert not list(Path().iterdir())


# ---- density maps


def test_maps_of_several_sizes_are_drawn_together(figures: list[Figure]) -> None:
    for side in (10, 12):
        write_volume(f"map{side}.mrc", blob(side), 120 / side)
    done = show_maps(["map10.mrc", "map12.mrc"])
    assert done.figure == Path("map10-slices.png")
    assert done.description == "2 density maps: 10 x 10 x 10 voxels of 12 Å, 12 x 12 x 12 voxels of 10 Å"
    assert [axes.get_ylabel() for axes in figures[0].axes] == [
        "map10\n10 x 10 x 10 voxels of 12 Å",
        "map12\n12 x 12 x 12 voxels of 10 Å",
    ]
    np.testing.assert_array_equal(figures[0].axes[1].images[0].get_array()[:, :12], blob(12)[0])
    done = show_maps(["map10.mrc", "map12.mrc"], surface=True)
    assert done.figure == Path("map10-surface.png")
    assert is_picture(done.figure)
    # A blob's radius in voxels grows with the root of its box's side, and voxels shrink with the side.
    one, other = (np.ptp(axes.collections[0]._triangulation.x) for axes in figures[1].axes)
    assert other / one == pytest.approx((10 / 12) ** 0.5, rel=0.05)


def test_one_map_without_voxel_size_gives_the_scale_in_voxels(figures: list[Figure]) -> None:
    write_volume("a.mrc", blob(), 10)
    write_volume("b.mrc", blob(), 0)
    show_maps(["a.mrc", "b.mrc"], surface=True)
    assert "voxel" in figures[0].axes[0].texts[0].get_text()


def test_density_maps_are_known_by_name_and_header() -> None:
    write_volume("one.mrc", blob(), 10)
    write_volume("stack.mrc", np.concatenate([blob()] * 3), 10)
    assert are_maps(["one.mrc"])
    assert not are_maps(["stack.mrc"])
    assert are_maps(["no.mrc", "there.map.gz"])
    assert are_maps(["A.MRC.gz"])
    for other in ("none.mrc", "images.npy", "particles.star", "stack.mrcs", "mnist", "images.npy.gz"):
        assert not are_maps([other])


# ---- the verb


def test_the_verb_shows_and_describes_volumes(rng: np.random.Generator) -> None:
    np.save("some.npy", rng.normal(size=(7, 8, 8, 8)).astype(np.float32))
    ended = call("show", "some.npy")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == ["7 volumes, 8 x 8 x 8 voxels", "Figure: some-slices.png"]
    assert is_picture(Path("some-slices.png"))
    printed = json.loads(call("show", "some.npy", "--count", 3, "--seed", 5, "--out", "x/b.png", "--json").out)
    assert printed == {
        "figure": "x/b.png",
        "images": 7,
        "rows": balanced_sample(pd.DataFrame({"row": range(7)}), 3, 5).tolist(),
    }
    assert is_picture(Path("x/b.png"))
    assert call("show", "some.npy", "--quiet").out == ""


def test_the_verb_replaces_a_figure_and_takes_the_readers_options() -> None:
    np.savez("a.npz", stacks=np.stack([blob()] * 4), kind=np.array(list("xxyy")))
    Path("a-surface.png").write_text("old")
    ended = call("show", "a.npz", "--surface", "--key", "stacks", "--labels", "kind")
    assert ended.out.splitlines() == ["4 volumes, 12 x 12 x 12 voxels, 2 contents", "Figure: a-surface.png"]
    assert is_picture(Path("a-surface.png"))


def test_the_verb_shows_maps(shared_data: Path) -> None:
    path = shared_data / "maps" / "2uv8.mrc.gz"
    ended = call("show", path, "--surface")
    assert ended.out.splitlines() == ["1 density map: 48 x 48 x 48 voxels of 10 Å", "Figure: 2uv8-surface.png"]
    assert is_picture(Path("2uv8-surface.png"))
    write_volume("other.mrc", blob(), 10)
    ended = call("show", "other.mrc", path)
    assert ended.out.splitlines()[1] == "Figure: other-slices.png"
    assert is_picture(Path("other-slices.png"))


def test_a_wrong_source_is_refused_in_one_sentence() -> None:
    write_volume("one.mrc", blob(), 10)
    write_volume("flat.mrc", np.full((8, 8, 8), 2.0), 10)
    write_volume("nan.mrc", np.full((8, 8, 8), np.nan), 10)
    np.save("some.npy", np.zeros((3, 8, 8, 8)))
    np.savez("some.npz", images=np.zeros((3, 8, 8, 8)), content=np.array(list("abc")))
    for words, sentence in (
        (("nothing.npy",), "nothing.npy: no such file or folder"),
        (("one.mrc", "some.npy"), "one.mrc, some.npy: only density maps are shown together"),
        (("one.mrc", "two.mrc"), "two.mrc: no such MRC file"),
        (("one.mrc", "--key", "images"), "one.mrc: a density map is shown as it is; leave out --key"),
        (("one.mrc", "nan.mrc"), "nan.mrc: contains NaN or infinite values"),
        (("one.mrc", "flat.mrc", "--surface"), "flat: is 2 everywhere"),
        (("some.npz", "--surface"), "some.npz: a, row 0: is 0 everywhere"),
    ):
        assert_refused(call("show", *words), sentence)
    assert not list(Path().glob("*.png"))


def test_the_verb_passes_on_the_options_of_a_star_source(tmp_path: Path, figures: list[Figure]) -> None:
    (tmp_path / "project").mkdir()
    stack = np.concatenate([blob(16), 2 * blob(16), 3 * blob(16)])
    write_volume(tmp_path / "project" / "s.mrcs", np.random.default_rng(0).normal(0, 0.1, stack.shape) - stack, 10)
    rows = "\n".join(f"{i}@s.mrcs 10.0" for i in (1, 2, 3))
    Path("p.star").write_text(f"data_\n\nloop_\n_rlnImageName #1\n_rlnPixelSize #2\n{rows}\n")
    assert_refused(call("show", "p.star"), "p.star: row 1: s.mrcs is not found")
    ended = call(
        "show", "p.star", "--datadir", "project", "--bin", 2, "--invert", "--mask", "sphere", "--count", 2
    )
    assert ended.err == ""
    assert ended.out.splitlines() == ["3 volumes, 8 x 8 x 8 voxels of 20 Å", "Figure: p-slices.png"]
    slices = figures[0].axes[0].images[0].get_array()
    assert slices[4, 4 * 9 + 4] > 3  # white protein in the middle of the middle slice
    assert slices[0, 0] == 0
