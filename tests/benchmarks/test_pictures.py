from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from dualcontrast.analysis.transfer import source_images
from dualcontrast.benchmarks import pictures
from dualcontrast.benchmarks.pictures import draw_codes, draw_transfers
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.recipe import read_recipe
from dualcontrast.runs import DataDescription, RunFolder, prepared_images


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: figures.append(figure))
    return figures


@pytest.fixture
def images() -> ArrayImages:
    place = np.arange(40)
    table = pd.DataFrame(
        {"row": place, "split": np.where(place % 2 == 0, "test", "train"), "content": place // 2 % 3}
    )
    pixels = np.random.default_rng(0).random((40, 1, 28, 28)).astype(np.float32)
    return ArrayImages(pixels, "pixels.npy", table)


def run_of(method: str, images: ArrayImages, folder: Path) -> RunFolder:
    """Make a run whose weights are fresh."""
    recipe = read_recipe("mnist", {"method": {"name": method}})
    data = DataDescription.of(prepared_images(images, None, recipe.training.seed))
    run = RunFolder(folder / method)
    run.write_config(recipe, data, {})
    torch.manual_seed(0)
    run.save_weights(recipe.build(images.shape), "best")
    return run


def panels(figure: Figure) -> dict[str, object]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def test_grids_of_all_methods_have_the_same_images(
    images: ArrayImages, saved: list[Figure], tmp_path: Path
) -> None:
    names = ("two_latent_vae", "simclr", "dualcontrast", "harmony", "spatial_vae")
    runs = {name: run_of(name, images, tmp_path) for name in names}
    assert draw_transfers(runs, images, tmp_path / "a.png", "MNIST") == [tmp_path / "a.png"]
    (figure,) = saved
    shown = panels(figure)
    assert list(shown) == ["two_latent_vae", "dualcontrast", "harmony", "spatial_vae"]
    assert figure.get_supxlabel() == "Without a decoder, and so without images: simclr"
    assert figure.get_suptitle().startswith("MNIST: content from the left-hand columns")
    left, _ = source_images(images, pictures.COUNT, seed=0)
    first = images.read(left[:1])[0, 0].numpy()
    for axes in shown.values():
        mosaic = axes.images[0].get_array()
        assert mosaic.shape == shown["harmony"].images[0].get_array().shape
        assert any(
            np.allclose(mosaic[top : top + 28, :28, 0], first, atol=1e-6) for top in range(len(mosaic) - 27)
        )


def test_without_a_decoder_there_is_no_picture(images: ArrayImages, saved: list[Figure], tmp_path: Path) -> None:
    assert draw_transfers({"SimCLR": run_of("simclr", images, tmp_path)}, images, tmp_path / "a.png", "x") == []
    assert saved == []


def write_embedding(run: RunFolder, code: str, points: np.ndarray) -> None:
    path = run.figure_path(f"embedding_{code}_tsne").with_suffix(".csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"row": np.arange(len(points)), "x": points[:, 0], "y": points[:, 1]})
    table.assign(content=["NA", "a", "b"] * (len(points) // 3)).to_csv(path, index=False)


def test_codes_of_all_methods_are_those_of_their_embeddings(
    images: ArrayImages, saved: list[Figure], tmp_path: Path
) -> None:
    points = np.random.default_rng(1).standard_normal((30, 2))
    runs = {name: run_of(name, images, tmp_path) for name in ("simclr", "harmony", "dualcontrast")}
    for run in runs.values():
        write_embedding(run, "content", points)
    write_embedding(runs["simclr"], "transformation", -points)
    draw_codes(runs, tmp_path / "codes.png", "MNIST")
    shown = panels(saved[0])
    assert list(shown) == [f"{name}: {code}" for name in runs for code in ("content", "transformation")]
    for title, sign in (("harmony: content", 1), ("simclr: transformation", -1)):
        drawn = shown[title].collections[0]
        offsets = np.asarray(drawn.get_offsets())
        np.testing.assert_allclose(np.sort(offsets, axis=0), np.sort(sign * points, axis=0))
        assert len(np.unique(drawn.get_facecolors(), axis=0)) == 3  # a class called NA is a class
    assert [text.get_text() for text in shown["harmony: transformation"].texts] == ["no embedding"]
    (legend,) = saved[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["NA", "a", "b"]
