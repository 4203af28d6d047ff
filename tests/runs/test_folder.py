"""The run folder: what is written comes back, and what is damaged or missing is said in a sentence."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import dualcontrast.runs.folder
from dualcontrast.errors import RunError
from dualcontrast.images.arrays import ArrayImages
from dualcontrast.methods import Batch
from dualcontrast.recipe import Recipe, recipe_of
from dualcontrast.runs import RunFolder, SavedCodes, prepared_images, read_codes, write_codes

SHAPE = (1, 12, 12)


def images_of(count: int = 40, seed: int = 0, labels: bool = True, split: bool = False) -> ArrayImages:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"row": np.arange(count)})
    if labels:
        table["content"] = rng.integers(0, 3, count)
    if split:
        table["split"] = np.where(np.arange(count) % 4, "train", "test")
    return ArrayImages(rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8), "digits.npy", table)


def recipe(**stated: Any) -> Recipe:
    small = {"decoder": {"code_width": 8, "hidden": [16]}}
    return recipe_of({"network": small, "training": {"limit": 30, "seed": 5}, **stated})


def data_of(images: ArrayImages, recipe: Recipe) -> dict[str, Any]:
    prepared = prepared_images(images, recipe.training.limit, recipe.training.seed)
    return {
        "source": None,
        "options": {},
        "digest": prepared.digest(),
        "images": len(prepared),
        "shape": prepared.shape,
        "pixel_size": prepared.pixel_size,
    }


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Make a run that was trained on `images_of()`."""
    folder = RunFolder(tmp_path / "run")
    folder.write_config(recipe(), data_of(images_of(), recipe()), {"command": "a test"})
    torch.manual_seed(0)
    folder.save_weights(recipe().build(SHAPE), "best")
    return RunFolder.open(folder.path)


# ---- configuration


def test_the_configuration_comes_back(run: RunFolder) -> None:
    config = run.config()
    assert list(config) == ["format", "recipe", "data", "made_by"]
    assert config["data"] == {**data_of(images_of(), recipe()), "shape": list(SHAPE)}
    assert config["made_by"] == {"command": "a test"}
    assert run.recipe() == recipe()


@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_a_recipe_of_any_preset_comes_back(tmp_path: Path, preset: str) -> None:
    stated = recipe(preset=preset, views=["scale"])
    run = RunFolder(tmp_path)
    run.write_config(stated, data_of(images_of(), stated), {})
    assert run.recipe() == stated


def test_a_folder_without_a_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run folder, since it has no config\.yaml"):
        RunFolder(tmp_path).config()


@pytest.mark.parametrize(
    "text",
    [
        "format: [1",
        "",
        "- format\n- 1\n",
        "recipe: {}\n",
        "format: one\n",
        "format: null\n",
        "\x00\x01",
        "format",
    ],
)
def test_a_damaged_configuration_is_refused(run: RunFolder, text: str) -> None:
    run.config_path.write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml: damaged; train the run again, or put back a copy"):
        run.config()


def test_a_configuration_that_lacks_a_part_is_refused(run: RunFolder) -> None:
    run.config_path.write_text("format: 1\n")
    with pytest.raises(RunError, match="damaged"):
        run.load_method()


def test_a_newer_format_is_refused_in_a_sentence(run: RunFolder) -> None:
    config = run.config()
    config["format"] = dualcontrast.runs.folder.FORMAT + 1
    run.config_path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        RunError, match=r"made by a newer version \(format 2, this one reads 1\); update dualcontrast"
    ):
        run.recipe()


def test_a_recipe_that_was_edited_wrongly_is_refused_with_the_files_name(run: RunFolder) -> None:
    run.config_path.write_text(run.config_path.read_text().replace("epochs:", "epoch:"))
    with pytest.raises(
        Exception, match=r"config\.yaml: no setting is called training\.epoch; did you mean epochs"
    ):
        run.recipe()


def test_opening_says_what_is_missing(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no such run folder; make one with `dualcontrast\.train"):
        RunFolder.open(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"not a run folder, since it has no config\.yaml"):
        RunFolder.open(tmp_path / "empty")
    run.weights_path("best").unlink()
    with pytest.raises(RunError, match=r"has no weights\.safetensors yet; continue it with `.*resume=True"):
        RunFolder.open(run.path)


# ---- images


def test_images_of_the_run_are_those_it_was_trained_on(run: RunFolder) -> None:
    with pytest.raises(RunError, match="trained on images in memory, which are no longer there"):
        run.images()
    run.attach(images_of())
    images = run.images()
    assert len(images) == 30
    assert images.digest() == run.config()["data"]["digest"]
    assert set(images.table["split"]) == {"train", "test"}
    assert run.images() is images


@pytest.mark.parametrize(
    "others",
    [images_of(seed=1), images_of(count=41), images_of(labels=False), images_of(split=True)],
    ids=["values", "count", "labels", "split"],
)
def test_other_images_are_refused(run: RunFolder, others: ArrayImages) -> None:
    with pytest.raises(RunError, match=r"digits\.npy: not the images that .* was trained on, or changed since"):
        run.attach(others)
    with pytest.raises(RunError, match="images in memory"):
        run.images()


def test_one_changed_pixel_is_noticed(run: RunFolder) -> None:
    changed = images_of()
    changed._array[prepared_images(changed, 30, 5).table["row"].iloc[7], 0, 3, 4] ^= 1
    with pytest.raises(RunError, match="not the images"):
        run.attach(changed)


def test_prepared_images_are_limited_and_split_by_the_seed() -> None:
    first, again, other = (prepared_images(images_of(), 30, seed).table for seed in (5, 5, 6))
    assert len(first) == 30
    pd.testing.assert_frame_equal(first, again)
    assert list(first["row"]) != list(other["row"])
    assert first["row"].is_monotonic_increasing
    assert first["row"].is_unique
    assert (first["split"] == "test").sum() == 6  # a fifth
    assert list(first["content"]) == list(images_of().table["content"][first["row"]])


@pytest.mark.parametrize("limit", [None, 40, 100])
def test_without_a_limit_below_their_number_all_images_are_used(limit: int | None) -> None:
    images = images_of()
    prepared = prepared_images(images, limit, 0)
    assert list(prepared.table["row"]) == list(range(40))
    index = np.arange(40)
    assert torch.equal(prepared.read(index), images.read(index))
    assert "split" not in images.table


def test_a_sources_own_split_is_kept_and_without_labels_every_image_trains() -> None:
    stated = prepared_images(images_of(split=True), 30, 5).table
    assert list(stated["split"] == "test") == [row % 4 == 0 for row in stated["row"]]
    unlabelled = prepared_images(images_of(labels=False), 30, 5).table
    assert set(unlabelled["split"]) == {"train"}


# ---- weights


@pytest.mark.parametrize("preset", ["paper", "authors-code"])
def test_weights_come_back_as_the_method_that_was_trained(tmp_path: Path, preset: str) -> None:
    stated = recipe(preset=preset)
    run = RunFolder(tmp_path)
    run.write_config(stated, data_of(images_of(), stated), {})
    method = stated.build(SHAPE)
    run.save_weights(method, "best")
    loaded = run.load_method()
    assert not loaded.training
    batch = Batch.of(torch.rand(3, *SHAPE))
    for code, expected in zip(loaded.encode(batch), method.encode(batch), strict=True):
        assert torch.equal(code, expected)
    for image, expected in zip(
        loaded.decode(loaded.encode(batch)), method.decode(method.encode(batch)), strict=True
    ):
        assert torch.equal(image, expected)


def test_kept_weights_are_found_by_name_and_unknown_ones_are_answered_with_them(run: RunFolder) -> None:
    method = run.load_method()
    for name in ("last", "epoch-10"):
        for parameter in method.parameters():
            parameter.data += 1
        run.save_weights(method, name)
    assert run.weights_path("epoch-10") == run.path / "checkpoints" / "epoch-10.safetensors"
    weights = [next(run.load_method(name).parameters()) for name in ("best", "last", "epoch-10")]
    torch.testing.assert_close(weights[1], weights[0] + 1)
    torch.testing.assert_close(weights[2], weights[0] + 2)
    with pytest.raises(RunError, match="has no weights 'epoch-20'; it has best, epoch-10, last"):
        run.load_method("epoch-20")


def test_weights_that_are_not_there_are_not_offered(run: RunFolder) -> None:
    run.weights_path("best").unlink()
    with pytest.raises(RunError) as refusal:
        run.load_method()
    assert "it has best" not in str(refusal.value)


def test_damaged_weights_are_refused(run: RunFolder) -> None:
    path = run.weights_path("best")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no weights at all"):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"weights\.safetensors: damaged, or not the weights of this run"):
            run.load_method()


def test_weights_of_another_network_are_refused(run: RunFolder) -> None:
    run.save_weights(recipe(method={"content_size": 3}).build(SHAPE), "best")
    with pytest.raises(RunError, match="damaged, or not the weights of this run"):
        run.load_method()


# ---- codes, scores, figures


def codes_of(count: int = 6) -> SavedCodes:
    rng = np.random.default_rng(0)
    content, latent = rng.standard_normal((2, count, 4)).astype(np.float32)
    transformation, other = rng.standard_normal((2, count, 3)).astype(np.float32)
    table = pd.DataFrame(
        {
            "row": np.arange(count) * 2,
            "split": ["train", "test"] * (count // 2),
            "content": ["a, b", 'c"d', "Å", "1", "", "e"][:count],
        }
    )
    return SavedCodes(content, transformation, latent, other, table)


def test_codes_come_back_to_the_last_bit(tmp_path: Path) -> None:
    codes = codes_of()
    write_codes(tmp_path / "codes", codes)
    again = read_codes(tmp_path / "codes")
    for name in ("content", "transformation", "content_latent", "transformation_latent"):
        expected, array = getattr(codes, name), getattr(again, name)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected)
    assert list(again.table["row"]) == list(codes.table["row"])
    assert list(again.table["split"]) == list(codes.table["split"])
    assert list(again.table["content"].fillna("")) == list(codes.table["content"])


def test_codes_are_missing_until_all_of_them_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = np.save

    def failing(file: Path, array: np.ndarray) -> None:
        if "transformation" in file.name:
            raise OSError("the disk is full")
        save(file, array)

    monkeypatch.setattr(np, "save", failing)
    with pytest.raises(OSError, match="full"):
        write_codes(tmp_path, codes_of())
    with pytest.raises(RunError, match=r"no codes there; make them with `run\.encode\(\)`"):
        read_codes(tmp_path)


def test_codes_cut_off_while_written_anew_are_not_read_as_a_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_codes(tmp_path, codes_of())
    new = codes_of()
    monkeypatch.setattr(dualcontrast.runs.folder, "write_text", lambda *_: pytest.fail())
    with pytest.raises(pytest.fail.Exception):
        write_codes(tmp_path, SavedCodes(-new.content, *(new.transformation,) * 3, new.table))
    with pytest.raises(RunError):
        read_codes(tmp_path)


@pytest.mark.parametrize("name", ["content.npy", "transformation_latent.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "other", "pickle"])
def test_damaged_codes_are_refused(tmp_path: Path, name: str, damage: str) -> None:
    write_codes(tmp_path, codes_of())
    path = tmp_path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(b"these are no codes")
    with pytest.raises(RunError, match=r"damaged codes .*; make them again with `run.encode"):
        read_codes(tmp_path)


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    write_codes(tmp_path, codes_of())
    table = tmp_path / "table.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-2]))
    with pytest.raises(RunError, match="codes and table differ in length"):
        read_codes(tmp_path)
    for text in ("", 'row\n1\n"2,3\n', "row\n1\n2,3,4\n"):
        table.write_text(text)
        with pytest.raises(RunError, match=r"make them again with `run\.encode"):
            read_codes(tmp_path)


def test_each_weights_codes_and_scores_have_a_place_of_their_own(run: RunFolder) -> None:
    assert run.codes_folder() == run.path / "codes"
    assert run.codes_folder("last") == run.path / "codes-last"
    assert run.figure_path("grid") == run.path / "figures" / "grid.png"
    assert run.read_scores() is None
    run.write_scores({"content": {"gap": 0.5}})
    run.write_scores({"content": None}, "last")
    assert run.read_scores() == {"content": {"gap": 0.5}}
    assert run.read_scores("last") == {"content": None}
    assert (run.path / "scores.json").is_file()


@pytest.mark.parametrize("text", ['{"content": ', "", "3.5 4"])
def test_damaged_scores_are_refused_in_a_sentence(run: RunFolder, text: str) -> None:
    run.scores_path().write_text(text)
    with pytest.raises(RunError, match=r"scores\.json: damaged; remove it, and make it again with evaluate"):
        run.read_scores()


# ---- log


def test_the_log_comes_back(run: RunFolder) -> None:
    assert run.read_log() == []
    lines = [{"epoch": 1, "total": 2.5}, {"epoch": 2, "total": 1e-7}]
    run.write_log(lines)
    assert run.read_log() == lines
    assert run.log_path.read_text().count("\n") == 2
    with run.log_path.open("a") as log:
        log.write('{"epoch": 3, "total": 1.0}\n')
    assert [line["epoch"] for line in run.read_log()] == [1, 2, 3]


@pytest.mark.parametrize("cut", ["{", '{"epoch": 3', '{"epoch": 3, "total": 1.', '{"epoch": 3, "tot', "\x00" * 12])
def test_a_last_line_cut_short_is_left_out(run: RunFolder, cut: str) -> None:
    run.write_log([{"epoch": 1}, {"epoch": 2}])
    with run.log_path.open("a") as log:
        log.write(cut)
    assert run.read_log() == [{"epoch": 1}, {"epoch": 2}]


# ---- one writer at a time

HOLDER = """
import sys
from dualcontrast.runs import RunFolder
with RunFolder(sys.argv[1]).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_gone_even_if_killed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "new" / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process is writing to this run; wait for it, or choose"):
            run.locked().__enter__()
        holder.send_signal(signal.SIGKILL)
        assert holder.wait() == -signal.SIGKILL
    with run.locked():
        pass


def test_a_lock_is_free_again_after_it_was_held_and_after_an_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with pytest.raises(KeyError), run.locked():
        with pytest.raises(RunError, match="another process"), RunFolder(tmp_path).locked():
            pytest.fail("held twice")
        raise KeyError
    with run.locked():
        pass
