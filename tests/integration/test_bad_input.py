"""What a user can mend ends with status 2 and one sentence, and leaves nothing half-made."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.command import Ended, assert_refused, call
from tests.support.runs import DIGITS, small_run

from dualcontrast.api import Run

SMALL = ("--set", "training.batch_size=20", "--set", "method.clusters=3", "--epochs", 1)
SMALL += ("--device", "cpu", "--quiet")


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return np.load(DIGITS)["images"][:60]


@pytest.fixture
def train_on(tmp_path: Path) -> Callable[..., Ended]:
    """Train on a source, into the folder `run`."""
    return lambda source, *words: call("train", source, "--out", tmp_path / "run", *SMALL, *words)


def idx(pictures: np.ndarray) -> bytes:
    return struct.pack(">4B3I", 0, 0, 8, 3, *pictures.shape) + pictures.tobytes()


# ---- sources


def missing(folder: Path, digits: np.ndarray) -> Path:
    return folder / "nothing.npy"


def cut_npy(folder: Path, digits: np.ndarray) -> Path:
    return cut(folder / "cut.npy", lambda path: np.save(path, digits))


def cut_npz(folder: Path, digits: np.ndarray) -> Path:
    return cut(folder / "cut.npz", lambda path: np.savez(path, images=digits))


def cut(path: Path, write: Callable[[Path], None]) -> Path:
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cut_idx(folder: Path, digits: np.ndarray) -> Path:
    (folder / "digits-idx3-ubyte").write_bytes(idx(digits)[:-10])
    return folder / "digits-idx3-ubyte"


def wrong_magic(folder: Path, digits: np.ndarray) -> Path:
    (folder / "digits-idx3-ubyte").write_bytes(b"\1" + idx(digits)[1:])
    return folder / "digits-idx3-ubyte"


def with_nan(folder: Path, digits: np.ndarray) -> Path:
    pixels = (digits / 255).astype(np.float32)
    pixels[33, 4, 4] = np.nan
    np.savez(folder / "nan.npz", images=pixels)
    return folder / "nan.npz"


def too_bright(folder: Path, digits: np.ndarray) -> Path:
    np.savez(folder / "bright.npz", images=digits.astype(np.float32))
    return folder / "bright.npz"


def mixed_sizes(folder: Path, digits: np.ndarray) -> Path:
    (folder / "mixed").mkdir()
    for place, pixels in enumerate(digits):
        Image.fromarray(pixels[:20] if place == 7 else pixels).save(folder / "mixed" / f"{place:02}.png")
    return folder / "mixed"


def no_pictures(folder: Path, digits: np.ndarray) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def text(folder: Path, digits: np.ndarray) -> Path:
    (folder / "notes.txt").write_text("no images")
    return folder / "notes.txt"


def too_few(folder: Path, digits: np.ndarray) -> Path:
    np.save(folder / "few.npy", digits[:19])
    return folder / "few.npy"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (missing, "nothing.npy: no such file or folder; give a path"),
        (cut_npy, "cut.npy: missing, damaged, or not an array of numbers"),
        (cut_npz, "cut.npz: missing, damaged, or not an .npz file"),
        (cut_idx, "damaged, because its header promises 47040 bytes but 47030 follow"),
        (wrong_magic, "because it begins with 01000803 instead of 00000803"),
        (with_nan, "nan.npz: row 33 holds NaN or infinite values"),
        (too_bright, "pictures of floats must lie between 0 and 1"),
        (
            mixed_sizes,
            "all pictures must have the same size, but 00.png has 28 x 28 pixels and 07.png has 28 x 20",
        ),
        (no_pictures, "empty: not a folder of images; accepted are"),
        (text, "notes.txt: not a file of images; accepted are"),
        (too_few, "few.npy: 18 images to train on are fewer than a batch of 20"),
    ],
)
def test_a_source_that_cannot_be_used(
    source: Callable[[Path, np.ndarray], Path],
    sentence: str,
    train_on: Callable[..., Ended],
    tmp_path: Path,
    digits: np.ndarray,
) -> None:
    assert_refused(train_on(source(tmp_path, digits)), sentence, tmp_path / "run")


# ---- settings


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "training.epoch=3"], "no setting is called training.epoch; did you mean epochs?"),
        (["--set", "network.encoder.channel=3"], "no setting is called network.encoder.channel"),
        (["--set", "training.epochs=many"], "training.epochs = 'many' is not accepted"),
        (["--set", "training.epochs"], "'training.epochs' sets nothing; write it as key=value"),
        (["--set", "views=[3"], "is not understood as YAML"),
        (["--set", "views=[hue]"], "the view hue changes colours"),
        (
            ["--recipe", "mnist", "--set", "preset=author"],
            "dualcontrast has no preset author; did you mean authors-code?",
        ),
        (["--recipe", "mnits"], "no recipe is called mnits and no such file exists; did you mean mnist?"),
        (["--recipe", "linemod"], "images of 28 x 28 are too small for 4 blocks"),
        (["--method", "dualcontrst"], "no method is called dualcontrst; did you mean dualcontrast?"),
        (["--device", "gpu"], "'gpu' is no device; use auto, cpu, cuda or cuda:1"),
        (["--device", "cuda:99"], "there is no device cuda:99 here"),
        (["--minutes", "-1"], "training.minutes = -1.0 is not accepted"),
        (["--limit", "1"], "training.limit = 1 is not accepted"),
        (["--key", "pixels"], "has no array called pixels; it has content, images"),
        (["--resume"], "not a run folder, since it has no config.yaml"),
    ],
)
def test_settings_that_cannot_be_used(words: list[str], sentence: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert_refused(call("train", DIGITS, "--out", out, *words), sentence, out)
    assert not out.exists()


def test_what_cannot_be_trained_does_not_replace_a_run(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", {"training": {"epochs": 1}})
    weights = run.weights_path("best").read_bytes()
    ended = call("train", DIGITS, "--out", run.path, "--overwrite", "--limit", 50)
    assert_refused(ended, "fewer than a batch of 100")
    assert run.weights_path("best").read_bytes() == weights


# ---- runs


@pytest.fixture
def run(tmp_path: Path, digits: np.ndarray) -> Run:
    """Make a run whose source can be done away with."""
    source = tmp_path / "source.npz"
    np.savez(source, images=digits, content=np.arange(60) % 3)
    assert call("train", source, "--out", tmp_path / "trained", *SMALL).status == 0
    return Run.open(tmp_path / "trained")


def test_folders_that_are_no_runs(tmp_path: Path) -> None:
    for verb in ("encode", "evaluate", "transfer", "embed"):
        assert_refused(call(verb, tmp_path / "nothing"), "nothing: no such run folder; make one with")
        assert_refused(call(verb, tmp_path), "not a run folder, since it has no config.yaml")


def test_a_run_without_weights(run: Run) -> None:
    run.weights_path("best").unlink()
    assert_refused(call("evaluate", run.path), "the run has no weights.safetensors yet", run.path / "codes")


def test_damaged_weights(run: Run) -> None:
    path = run.weights_path("best")
    path.write_bytes(path.read_bytes()[:1000])
    assert_refused(call("evaluate", run.path), "weights.safetensors: damaged", run.path / "codes")


@pytest.mark.parametrize("verb", ["encode", "evaluate", "transfer", "embed"])
def test_weights_that_were_not_kept(run: Run, verb: str) -> None:
    ended = call(verb, run.path, "--weights", "epoch-9")
    assert_refused(ended, "has no weights 'epoch-9'; it has best, last", run.path / "codes-epoch-9")


@pytest.mark.parametrize("verb", ["encode", "evaluate", "transfer", "embed"])
def test_a_device_that_is_not_there(run: Run, verb: str) -> None:
    assert_refused(call(verb, run.path, "--device", "gpu"), "'gpu' is no device", run.path / "codes")


@pytest.mark.parametrize("verb", ["encode", "evaluate", "transfer"])
def test_a_source_deleted_since_training(run: Run, verb: str, tmp_path: Path) -> None:
    (tmp_path / "source.npz").unlink()
    sentence = f"its images are no longer there, looked for at {tmp_path}"
    assert_refused(call(verb, run.path), sentence, run.path / "codes")


@pytest.mark.parametrize("verb", ["encode", "evaluate", "transfer"])
def test_a_source_changed_since_training(run: Run, verb: str, tmp_path: Path, digits: np.ndarray) -> None:
    changed = digits.copy()
    changed[5] = 0
    np.savez(tmp_path / "source.npz", images=changed, content=np.arange(60) % 3)
    assert_refused(call(verb, run.path), "source.npz: not the images that", run.path / "codes")


def test_encode_of_images_of_another_shape(run: Run, tmp_path: Path, digits: np.ndarray) -> None:
    np.save(tmp_path / "smaller.npy", digits[:, :20, :20])
    ended = call("encode", run.path, tmp_path / "smaller.npy", "--out", tmp_path / "codes")
    assert_refused(ended, "smaller.npy: images of shape (1, 20, 20), but", tmp_path / "codes")
    assert not (tmp_path / "codes").exists()


def test_labels_without_a_test_image(tmp_path: Path, digits: np.ndarray) -> None:
    arrays = {"images": digits, "content": np.arange(60) % 3, "split": np.full(60, "train")}
    np.savez(tmp_path / "source.npz", **arrays)
    assert call("train", tmp_path / "source.npz", "--out", tmp_path / "run", *SMALL).status == 0
    assert_refused(call("evaluate", tmp_path / "run", "--quiet"), "content labels but no test images")
    assert not (tmp_path / "run" / "scores.json").exists()


def test_an_embedding_that_does_not_exist(run: Run) -> None:
    assert_refused(call("embed", run.path, "--how", "tsen"), "no layout is called tsen; did you mean tsne?")
    assert_refused(call("embed", run.path, "--code", "style"), "no code is called style")
    assert not (run.path / "figures").exists()
