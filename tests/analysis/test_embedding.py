import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tests.support.codes import run_with_codes

from dualcontrast.analysis.embedding import LAYOUTS, embed, figure_name
from dualcontrast.errors import RunError
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.recipe import read_recipe
from dualcontrast.runs import DataDescription, RunFolder, prepared_images


def clusters(per_class: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Make codes (N, 5) of three separated classes, and their classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(3 * per_class) % 3
    return (20 * np.eye(3, 5)[labels] + rng.normal(size=(len(labels), 5))).astype(np.float32), labels


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """Give a run of three clusters of content and no order in transformation; 60 of 90 images are for testing."""
    content, labels = clusters()
    transformation = np.random.default_rng(1).normal(size=(90, 4)).astype(np.float32)
    split = np.where(np.arange(90) < 60, "test", "train")
    names = np.array(["ape", "cam", "cat"])[labels]
    return run_with_codes(tmp_path, content, transformation, split=split, content=names)


def test_pca_is_that_of_the_test_images(run):
    points = embed(run, how="pca")
    vectors = clusters()[0][:60].astype(float)
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    expected = centred @ axes[:, np.argsort(values)[::-1][:2]]
    assert points.shape == (60, 2)
    np.testing.assert_allclose(np.abs(points), np.abs(expected), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("how", ["umap", "tsne"])
def test_layouts_keep_clusters_together_and_follow_the_seed(run, how):
    state = np.random.get_state()[1].copy()
    points = embed(run, how=how, seed=3)
    labels = clusters()[1][:60]
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (labels[distances.argmin(axis=1)] == labels).all()
    np.testing.assert_array_equal(points, embed(run, how=how, seed=3))
    assert (np.random.get_state()[1] == state).all()


def test_umap_does_not_begin_with_eigenvectors(run, monkeypatch):
    """They are others at each call where many codes are equal and fall into groups."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("umap.umap_.spectral_layout", refused)
    groups = np.repeat(np.eye(3), 20, axis=0)
    points = LAYOUTS["umap"](groups, 0)
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == len(groups)


def test_the_number_of_threads_stays_as_it_was(run, monkeypatch):
    """As numba comes to life, it sets what torch and scikit-learn go by too."""

    class Numba:
        def __init__(self, **options) -> None:
            torch.set_num_threads(threads + 1)

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :2]

    threads = torch.get_num_threads()
    monkeypatch.setattr("umap.UMAP", Numba)
    embed(run, how="umap")
    assert torch.get_num_threads() == threads


def test_the_figure_and_its_points_lie_in_the_run(run):
    points = embed(run, code="transformation", how="pca")
    figure = run.path / "figures" / "embedding_transformation_pca.png"
    with Image.open(figure) as picture:
        assert picture.format == "PNG"
    table = pd.read_csv(figure.with_suffix(".csv"))
    assert table.columns.tolist() == ["row", "x", "y", "content"]
    assert table["row"].tolist() == list(range(50, 110))
    assert table["content"].tolist()[:4] == ["ape", "cam", "cat", "ape"]
    np.testing.assert_allclose(table[["x", "y"]].to_numpy(), points)


def test_each_code_has_a_layout_of_its_own(run):
    content, transformation = embed(run, how="pca"), embed(run, code="transformation", how="pca")
    assert np.ptp(content) > 15 > np.ptp(transformation)


def test_at_most_so_many_images_are_drawn_at_random(run):
    def rows(seed: int) -> list[int]:
        assert embed(run, how="pca", limit=20, seed=seed).shape == (20, 2)
        return pd.read_csv(run.path / "figures" / "embedding_content_pca.csv")["row"].tolist()

    first = rows(0)
    assert first == sorted(set(first))
    assert max(first) < 110
    assert first == rows(0) != rows(1)


def test_without_test_images_or_labels_all_are_laid_out_in_one_colour(tmp_path):
    content, _ = clusters(4)
    run = run_with_codes(tmp_path, content, content, split="train")
    assert embed(run, how="pca").shape == (12, 2)
    table = pd.read_csv(run.path / "figures" / "embedding_content_pca.csv")
    assert table.columns.tolist() == ["row", "x", "y"]


@pytest.mark.parametrize("how", ["umap", "tsne", "pca"])
def test_five_images_are_enough(tmp_path, how):
    codes = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    points = embed(run_with_codes(tmp_path, codes, codes, split="train"), how=how)
    assert points.shape == (5, 2)
    assert np.isfinite(points).all()


def test_four_images_are_too_few(tmp_path):
    codes = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    with pytest.raises(RunError, match="4 images are too few to lay out; at least 5 are needed"):
        embed(run_with_codes(tmp_path, codes, codes, split="train"))


def test_codes_that_fill_no_plane_are_one_sentence(tmp_path):
    equal, short = np.ones((9, 3), np.float32), np.arange(9, dtype=np.float32)[:, None]
    run = run_with_codes(tmp_path, equal, short, split="train")
    with pytest.raises(RunError, match="the content codes are all equal"):
        embed(run, how="tsne")
    with pytest.raises(RunError, match="a transformation code of one component cannot be laid out"):
        embed(run, code="transformation", how="pca")
    assert not (run.path / "figures").exists()


def test_unknown_names_are_answered_with_the_nearest(run):
    with pytest.raises(RunError, match=r"no code is called contents; did you mean content\?"):
        embed(run, code="contents")
    with pytest.raises(RunError, match=r"no layout is called t-sne; did you mean tsne\?"):
        embed(run, how="t-sne")


def test_a_run_without_codes_is_encoded(tmp_path):
    recipe = read_recipe("mnist", {})
    pixels = np.random.default_rng(0).random((12, 1, 28, 28)).astype(np.float32)
    images = ArrayImages(pixels, "pixels.npy", pd.DataFrame({"row": np.arange(12)}))
    data = DataDescription.of(prepared_images(images, None, recipe.training.seed))
    run = RunFolder(tmp_path / "run")
    run.write_config(recipe, data, {})
    torch.manual_seed(0)
    for weights in ("best", "last"):
        run.save_weights(recipe.build((1, 28, 28)), weights)
    run.attach(images)
    reported = []
    points = embed(run, how="pca", progress=lambda what, done, total, **_: reported.append(what))
    assert points.shape == (12, 2)
    assert {"encoding", "laying out by PCA"} <= set(reported)
    assert not np.allclose(embed(run, how="pca", weights="last"), points)
    names = sorted(path.name for path in (run.path / "figures").glob("*.png"))
    assert names == ["embedding_content_pca-last.png", "embedding_content_pca.png"]


def test_one_content_is_laid_out_alone_and_coloured_by_transformation(tmp_path):
    content, labels = clusters()
    names = np.array(["ape", "cam 2", "cat"])[labels]
    run = run_with_codes(tmp_path, content, content, split="test", content=names, transformation=np.arange(90) % 4)
    points = embed(run, how="pca", only="cam 2", by="transformation")
    assert points.shape == (30, 2)
    figure = run.path / "figures" / "embedding_content_pca_cam-2_by_transformation.png"
    table = pd.read_csv(figure.with_suffix(".csv"))
    assert table["row"].tolist() == [50 + place for place in range(90) if place % 3 == 1]
    assert table["transformation"].tolist() == [place % 4 for place in range(90) if place % 3 == 1]
    with Image.open(figure) as picture:
        assert len(picture.convert("RGB").getcolors(maxcolors=1 << 24)) > 20
    assert figure_name("content", "content", None, "pca") == "embedding_content_pca"


def test_a_content_that_no_image_has_is_one_sentence(run, tmp_path):
    with pytest.raises(RunError, match=r"no image is of content cta; did you mean cat\?"):
        embed(run, only="cta")
    plain = run_with_codes(tmp_path / "plain", clusters()[0], clusters()[0], split="test")
    with pytest.raises(RunError, match="no content labels are known"):
        embed(plain, only="cat")
    with pytest.raises(RunError, match="no label is called colour"):
        embed(run, by="colour")
