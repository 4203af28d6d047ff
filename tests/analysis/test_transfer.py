import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.support.particles import write_mrc, write_particles_of

from dualcontrast.analysis import transfer as transfer_module
from dualcontrast.analysis.transfer import grid_of, source_images, transfer, transfer_grid
from dualcontrast.errors import MethodError, RunError
from dualcontrast.evaluation import swap
from dualcontrast.images import ImageSet, open_images
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import METHODS, Batch, Codes, Method
from dualcontrast.methods.dualcontrast import DualContrast
from dualcontrast.recipe import read_recipe
from dualcontrast.runs import DataDescription, RunFolder, prepared_images


class NoDecoder(DualContrast):
    has_decoder = False
    decode = Method.decode


def images_of(content: list | None, split: list[str] | None, count: int = 60) -> ImageSet:
    pixels = np.random.default_rng(0).random((count, 1, 28, 28)).astype(np.float32)
    table = pd.DataFrame({"row": np.arange(count) + 1000})
    for name, column in (("content", content), ("split", split)):
        if column is not None:
            table[name] = column
    return ArrayImages(pixels, "pixels.npy", table)


def run_of(images: ImageSet, folder: Path) -> RunFolder:
    """Make a run whose weights are fresh."""
    recipe = read_recipe("mnist", {})
    data = DataDescription.of(prepared_images(images, None, recipe.training.seed))
    run = RunFolder(folder)
    run.write_config(recipe, data, {})
    torch.manual_seed(0)
    run.save_weights(recipe.build((1, 28, 28)), "best")
    run.attach(images)
    return run


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    """Give a run of 60 images of three classes, a third of them for testing."""
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 2)
    return run_of(
        images_of(["cat", "ape", "duck"] * 20, (["train"] * 6 + ["test"] * 3) * 6 + ["train"] * 6), tmp_path
    )


def test_each_cell_has_the_content_of_its_row_and_the_transformation_of_its_column():
    torch.manual_seed(0)
    method = read_recipe("mnist", {}).build((1, 28, 28)).eval()
    contents, transformations = torch.rand(3, 1, 28, 28), torch.rand(4, 1, 28, 28)
    grid = transfer_grid(method, Batch.of(contents), Batch.of(transformations))
    assert grid.shape == (3, 4, 1, 28, 28)
    assert not grid.requires_grad
    with torch.no_grad():
        for i in range(3):
            for j in range(4):
                c = method.encode(Batch.of(contents[i : i + 1])).content
                z = method.encode(Batch.of(transformations[j : j + 1])).transformation
                torch.testing.assert_close(grid[i, j], method.decode(Codes(c, z))[0])


def test_codes_of_a_grid_are_read_with_the_images_ctfs(tmp_path):
    volumes = np.random.default_rng(0).normal(size=(5, 16, 16, 16)).astype(np.float32)
    paths = [f"ctf{place}.mrc" for place in range(5)]
    for place, path in enumerate(paths):
        write_mrc(tmp_path / path, np.full((16, 16, 16), place))
    images, seen = open_images(write_particles_of(volumes, tmp_path, rlnCtfImage=paths)), []

    class WithCTF(DualContrast):
        uses_ctf = True

        def encode(self, batch: Batch) -> Codes:
            seen.append([int(ctf.max()) for ctf in batch.ctf])
            return super().encode(batch)

    recipe = read_recipe("subtomograms-infonce")
    method = WithCTF(images.shape, recipe.method, recipe.network, recipe.views)
    grid, contents, transformations = grid_of(method, images, np.array([3, 1]), np.array([4, 0, 2]))
    assert seen == [[3, 1], [4, 0, 2]]
    assert grid.shape == (2, 3, 1, 16, 16, 16)
    assert torch.equal(contents, images.read(np.array([3, 1])))
    assert torch.equal(transformations, images.read(np.array([4, 0, 2])))


def test_a_run_gives_a_grid_its_sources_its_figure_and_its_score(run):
    run.write_scores({"content": {"sap": 0.5}, "swap": "old"})
    done = transfer(run)
    images, table = run.images(), run.images().table.set_index("row")
    left, top = (list(rows) for rows in (done.content_rows, done.transformation_rows))
    assert table.loc[left, "content"].tolist() == table.loc[top, "content"].tolist() == ["ape", "cat", "duck"]
    assert set(table.loc[left + top, "split"]) == {"test"}
    assert not set(left) & set(top)
    sources = [Batch.of(images.read(np.array(rows) - 1000)) for rows in (left, top)]
    torch.testing.assert_close(done.grid, transfer_grid(run.load_method(), *sources))
    assert done.figure == run.path / "figures" / "transfer.png"
    with Image.open(done.figure) as picture:
        assert picture.format == "PNG"
    assert done.swap is not None
    assert (done.swap.hybrids, done.swap.classes) == (18, 3)
    assert run.read_scores() == {"content": {"sap": 0.5}, "swap": done.swap.to_json()}
    assert "Of 18 hybrids of two test images" in done.describe()[0]


def test_the_seed_chooses_the_images(run):
    first, second = transfer(run, seed=1), transfer(run, seed=1)
    assert first.content_rows == second.content_rows
    assert torch.equal(first.grid, second.grid)
    assert first.swap == second.swap
    assert first.content_rows != transfer(run, seed=2).content_rows


def test_scores_of_weights_that_are_no_more_are_dropped(run):
    run.write_scores({"content": {"sap": 0.5}})
    older = run.weights_path("best").stat().st_mtime_ns - 10**9
    os.utime(run.scores_path(), ns=(older, older))
    done = transfer(run)
    assert run.read_scores() == {"swap": done.swap.to_json()}


def test_other_weights_have_a_figure_and_scores_of_their_own(run):
    run.save_weights(run.load_method(), "last")
    done = transfer(run, weights="last")
    assert done.figure == run.path / "figures" / "transfer-last.png"
    assert done.figure.is_file()
    assert run.read_scores() is None
    assert run.read_scores("last") == {"swap": done.swap.to_json()}


def test_unknown_weights_are_refused(run):
    with pytest.raises(RunError, match="has no weights 'last'"):
        transfer(run, weights="last")


@pytest.mark.parametrize("content", [None, ["cat"] * 60])
def test_without_two_classes_there_is_a_grid_and_no_score(tmp_path, content):
    run = run_of(images_of(content, None), tmp_path)
    done = transfer(run, count=4)
    assert done.swap is None
    assert done.figure.is_file()
    assert run.read_scores() is None
    assert "No swap score" in done.describe()[0]


def test_a_method_without_a_decoder_says_so_before_any_work(run, monkeypatch):
    monkeypatch.setitem(METHODS, "dualcontrast", NoDecoder)
    monkeypatch.setattr(transfer_module, "source_images", lambda *_: pytest.fail("work was done in vain"))
    with pytest.raises(MethodError, match="NoDecoder has no decoder"):
        transfer(run)
    assert not (run.path / "figures").exists()


def test_sources_are_one_image_of_each_class_in_order():
    content = [10, 9, 2, None] * 15
    images = images_of(content, ["test"] * 30 + ["train"] * 30)
    left, top = source_images(images, 10, seed=0)
    for places in (left, top):
        assert [content[place] for place in places] == [2, 9, 10]
        assert (places < 30).all()
    assert not set(left) & set(top)


def test_of_many_classes_so_many_are_chosen_the_same_on_both_sides():
    images = images_of(list(range(20)) * 3, ["test"] * 60)
    chosen = set()
    for seed in range(5):
        left, top = source_images(images, 4, seed)
        classes = images.table["content"]
        assert len(left) == 4
        assert classes[left].tolist() == classes[top].tolist() == sorted(classes[left])
        chosen |= set(classes[left])
    assert len(chosen) > 4


def test_without_labels_any_images_are_sources():
    left, top = source_images(images_of(None, ["train"] * 60), 10, seed=0)
    assert len({*left, *top}) == 20


@pytest.mark.parametrize(
    ("content", "sizes"),
    [(None, (4, 1)), (["a", "b", "a", "b", "a"], (2, 2)), (["a", "b", "a", "c", "d"], (4, 1))],
)
def test_few_images_make_a_smaller_grid(content, sizes):
    left, top = source_images(images_of(content, ["test"] * 5, count=5), 4, seed=0)
    assert (len(left), len(top)) == sizes
    assert not set(left) & set(top)


def test_where_no_other_images_are_left_the_same_give_transformation():
    left, top = source_images(images_of(["a", "b", "c"], ["test"] * 3, count=3), 4, seed=0)
    np.testing.assert_array_equal(left, top)
    left, top = source_images(images_of(None, ["train"] * 3, count=3), 4, seed=0)
    np.testing.assert_array_equal(left, top)
