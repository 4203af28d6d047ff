import os

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dualcontrast.errors import RunError
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import Batch, Codes, Method
from dualcontrast.recipe import read_recipe
from dualcontrast.runs import DataDescription, RunFolder, prepared_images, read_codes
from dualcontrast.runs.encoding import codes_of, encode, encode_run, inference


def some_images(count: int = 12, seed: int = 0) -> ArrayImages:
    pixels = np.random.default_rng(seed).random((count, 1, 28, 28)).astype(np.float32)
    table = pd.DataFrame({"row": np.arange(count) + 100, "content": np.arange(count) % 3})
    return ArrayImages(pixels, "pixels.npy", table)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """Give a run of 12 images whose weights are fresh."""
    recipe = read_recipe("mnist", {"training": {"batch_size": 5}})
    images = some_images()
    data = DataDescription.of(prepared_images(images, None, recipe.training.seed))
    run = RunFolder(tmp_path / "run")
    run.write_config(recipe, data, {})
    torch.manual_seed(0)
    run.save_weights(recipe.build((1, 28, 28)), "best")
    run.attach(images)
    return run


class Sums(Method):
    """Content is the sum of the pixels, transformation their mean; a latent adds a standard normal draw."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
        pixels = self.dropout(batch.images.flatten(1))
        means = Codes(pixels.sum(dim=1, keepdim=True), pixels.mean(dim=1, keepdim=True))
        return means, Codes(*(mean + torch.randn_like(mean) for mean in means))


def test_every_image_is_encoded_in_order_by_its_posterior_means():
    images = some_images()
    codes = encode(Sums(), images, batch_size=5)
    pixels = images.read(np.arange(12)).numpy()
    np.testing.assert_allclose(codes.content[:, 0], pixels.sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(codes.transformation[:, 0], pixels.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert codes.content.dtype == np.float32
    pd.testing.assert_frame_equal(codes.table, images.table)


def test_the_latents_are_one_draw_by_the_seed():
    def draws(seed):
        codes = encode(Sums(), images, batch_size=500, seed=seed)
        noises = (codes.content_latent - codes.content, codes.transformation_latent - codes.transformation)
        return np.hstack(noises)

    images = some_images(count=1000)
    first = draws(0)
    np.testing.assert_array_equal(first, draws(0))
    assert not np.allclose(first, draws(1))
    assert np.abs(first.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(first.std(axis=0), 1, atol=0.15)


def test_the_global_random_state_and_the_methods_mode_stay_as_they_were():
    method = Sums().train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    encode(method, some_images())
    assert torch.equal(torch.rand(3), expected)
    assert method.training
    assert method.dropout.training


def test_inference_puts_things_back_after_an_error():
    method = Sums().train()
    state = torch.get_rng_state()
    with pytest.raises(KeyError), inference(method, "cpu", seed=3):
        assert not method.training
        assert not torch.is_grad_enabled()
        raise KeyError
    assert method.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_is_told_image_by_image():
    told = []
    encode(Sums(), some_images(), batch_size=5, progress=lambda *seen: told.append(seen))
    assert told == [("encoding", 5, 12), ("encoding", 10, 12), ("encoding", 12, 12)]


def test_a_code_that_is_not_finite_names_its_row():
    class Broken(Sums):
        def encode_and_sample(self, batch: Batch) -> tuple[Codes, Codes]:
            codes, draw = super().encode_and_sample(batch)
            codes.content[batch.index == 7] = torch.nan
            return codes, draw

    with pytest.raises(RunError, match=r"pixels\.npy: the code of row 107 is not finite"):
        encode(Broken(), some_images(), batch_size=5)


def test_encode_run_writes_what_it_returns(run):
    codes = encode_run(run)
    saved = read_codes(run.codes_folder())
    for name in ("content", "transformation", "content_latent", "transformation_latent"):
        array = getattr(codes, name)
        assert array.shape == (12, 10)
        np.testing.assert_array_equal(getattr(saved, name), array)
    assert saved.table["row"].tolist() == list(range(100, 112))
    assert sorted(saved.table["split"].unique()) == ["test", "train"]

    method = run.load_method()
    means = method.encode(Batch.of(run.images().read(np.arange(12))))
    np.testing.assert_allclose(codes.content, means.content.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(codes.transformation, means.transformation.detach(), rtol=1e-4, atol=1e-5)
    assert not np.allclose(codes.content, codes.content_latent)


def test_codes_in_the_folder_are_read_and_not_made_again(run):
    made = encode_run(run)
    np.save(run.codes_folder() / "content.npy", made.content + 1)  # a mark
    np.testing.assert_array_equal(codes_of(run).content, made.content + 1)


def test_codes_older_than_the_weights_are_made_again(run):
    made = encode_run(run)
    np.save(run.codes_folder() / "content.npy", made.content + 1)
    written = (run.codes_folder() / "table.csv").stat().st_mtime_ns
    os.utime(run.weights_path("best"), ns=(written + 1, written + 1))
    np.testing.assert_array_equal(codes_of(run).content, made.content)
    np.testing.assert_array_equal(read_codes(run.codes_folder()).content, made.content)


def test_other_weights_have_codes_of_their_own(run):
    torch.manual_seed(1)
    run.save_weights(run.recipe().build((1, 28, 28)), "last")
    best, last = codes_of(run), codes_of(run, "last")
    assert not np.allclose(best.content, last.content)
    np.testing.assert_array_equal(codes_of(run).content, best.content)
    assert run.codes_folder("last").name == "codes-last"


def test_weights_that_are_missing_are_named(run):
    with pytest.raises(RunError, match="has no weights 'epoch-3'; it has best"):
        codes_of(run, "epoch-3")
