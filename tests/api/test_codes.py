"""What is made from the codes of a run: encoding against the method itself, and what reaches the functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.maps import CodedRun, untrained_run
from tests.support.particles import write_mrc, write_particles_of

from dualcontrast.analysis import embedding, transfer
from dualcontrast.api import Run
from dualcontrast.errors import DeviceError, RunError, SourceError
from dualcontrast.evaluation import scores
from dualcontrast.images import open_images
from dualcontrast.methods import Batch
from dualcontrast.runs import read_codes

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (50, 16, 16), dtype=np.uint8)
VOLUMES = RNG.normal(size=(6, 16, 16, 16)).astype(np.float32)
BATCHES_OF_20 = {"method": {"name": "dualcontrast"}, "training": {"batch_size": 20}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Make a run on pictures, with all kinds of weights."""
    folder = tmp_path_factory.mktemp("pictures")
    np.savez(folder / "pictures.npz", images=PICTURES, content=np.arange(50) % 3)
    run = untrained_run(folder / "run", folder / "pictures.npz", BATCHES_OF_20)
    torch.manual_seed(5)
    run.save_weights(run.recipe().build((1, 16, 16)), "last")
    return Run.open(run.path)


@pytest.fixture(scope="module")
def inverted(tmp_path_factory: pytest.TempPathFactory) -> CodedRun:
    """Make a run on subtomograms whose contrast is inverted."""
    folder = tmp_path_factory.mktemp("volumes")
    return untrained_run(folder / "run", write_particles_of(VOLUMES, folder), BATCHES_OF_20, invert=True)


def star_of(run: CodedRun) -> str:
    source = run.config().data.source
    assert source is not None
    return source


# ---- encode


@pytest.mark.parametrize("weights", ["best", "last"])
def test_codes_are_those_of_the_method_one_image_at_a_time(run: Run, weights: str) -> None:
    method, images = run.load_method(weights).eval(), run.images()
    codes = run.encode(weights=weights, device="cpu")
    for row in (0, 19, 20, 49):
        with torch.no_grad():
            expected = method.encode(Batch.of(images.read(np.array([row]))))
        np.testing.assert_allclose(codes.content[row], expected.content[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(codes.transformation[row], expected.transformation[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(read_codes(run.codes_folder(weights)).content, codes.content)
    assert not np.allclose(codes.content, run.encode(weights={"best": "last", "last": "best"}[weights]).content)


def as_path(folder: Path) -> Any:
    np.save(folder / "other.npy", PICTURES[:30])
    return folder / "other.npy"


@pytest.mark.parametrize(
    "other",
    [
        lambda folder: PICTURES[:30],
        lambda folder: torch.from_numpy(PICTURES[:30]),
        lambda folder: open_images(PICTURES[:30]),
        as_path,
        lambda folder: str(as_path(folder)),
    ],
    ids=["array", "tensor", "image set", "path", "text"],
)
def test_other_images_may_be_of_any_kind_and_leave_the_folder_alone(
    run: Run, other: Callable[[Path], Any], tmp_path: Path
) -> None:
    own = run.encode(device="cpu")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    codes = run.encode(other(tmp_path), device="cpu")
    np.testing.assert_allclose(codes.content, own.content[:30], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(codes.transformation, own.transformation[:30], rtol=1e-4, atol=1e-5)
    assert codes.table["row"].tolist() == list(range(30))
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_other_images_are_encoded_by_the_chosen_weights(run: Run) -> None:
    best, last = (run.encode(PICTURES, weights=weights, device="cpu").content for weights in ("best", "last"))
    np.testing.assert_allclose(last, run.encode(weights="last", device="cpu").content, rtol=1e-4, atol=1e-5)
    assert not np.allclose(best, last)
    for images in (None, PICTURES):
        with pytest.raises(RunError, match="has no weights 'epoch-7'; it has best, last"):
            run.encode(images, weights="epoch-7")


def test_other_images_are_encoded_in_batches_as_large_as_in_training(run: Run) -> None:
    seen: list[int] = []
    run.encode(PICTURES, device="cpu", progress=lambda what, done, total, **_: seen.append(done))
    assert seen == [20, 40, 50]


def test_images_of_another_shape_are_refused(run: Run) -> None:
    with pytest.raises(RunError, match=r"images of shape \(1, 20, 20\), but .* takes \(1, 16, 16\)"):
        run.encode(np.zeros((3, 20, 20), np.uint8))


def test_arrays_and_labels_of_other_images_are_chosen_by_name(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "named.npz"
    np.savez(path, images=PICTURES[:9], others=PICTURES[9:18], kind=np.array(list("xyzxyzxyz")))
    codes = run.encode(path, key="others", labels="kind", device="cpu")
    np.testing.assert_allclose(codes.content, run.encode(PICTURES[9:18], device="cpu").content, atol=1e-5)
    assert codes.table["content"].tolist() == list("xyzxyzxyz")
    with pytest.raises(SourceError, match="has no array called third"):
        run.encode(path, key="third")


# ---- the preparation of other subtomograms


def test_options_that_are_not_given_are_those_of_the_training(inverted: CodedRun) -> None:
    own, star = inverted.encode(device="cpu").content, star_of(inverted)
    np.testing.assert_allclose(inverted.encode(star, device="cpu").content, own, rtol=1e-4, atol=1e-5)
    plain = inverted.encode(star, device="cpu", invert=False).content
    assert not np.allclose(plain, own, atol=1e-3)
    with pytest.raises(RunError, match=r"images of shape \(1, 8, 8, 8\), but .* takes \(1, 16, 16, 16\)"):
        inverted.encode(star, device="cpu", bin=2)
    with pytest.raises(SourceError, match="`key` applies only to"):
        inverted.encode(star, device="cpu", key="volumes")


def test_options_of_the_training_apply_where_the_reader_has_them(inverted: CodedRun, tmp_path: Path) -> None:
    """A folder of MRC files has them; an array in memory, or in a file, does not."""
    own, star = inverted.encode(device="cpu").content, star_of(inverted)
    plain = inverted.encode(star, device="cpu", invert=False).content
    for place, volume in enumerate(VOLUMES):
        write_mrc(tmp_path / "mrc" / f"{place}.mrc", volume)
    np.testing.assert_allclose(inverted.encode(tmp_path / "mrc", device="cpu").content, own, rtol=1e-4, atol=1e-5)
    assert plain.shape == own.shape
    np.save(tmp_path / "volumes.npy", VOLUMES)
    in_file = inverted.encode(tmp_path / "volumes.npy", device="cpu").content
    np.testing.assert_allclose(in_file, inverted.encode(VOLUMES, device="cpu").content, rtol=1e-4, atol=1e-5)
    assert not np.allclose(in_file, own, atol=1e-3)


def test_a_mask_that_is_given_is_used(inverted: CodedRun) -> None:
    star = star_of(inverted)
    masked = inverted.encode(star, device="cpu", mask="sphere").content
    expected = inverted.encode(open_images(star, invert=True, mask="sphere"), device="cpu").content
    np.testing.assert_allclose(masked, expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(masked, inverted.encode(star, device="cpu").content, atol=1e-4)


# ---- what reaches the functions


def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
    """Take progress."""


@pytest.mark.parametrize(
    ("module", "name", "keywords"),
    [
        (scores, "evaluate", {}),
        (transfer, "transfer", {"count": 3, "seed": 4}),
        (embedding, "embed", {"code": "transformation", "by": "rotation", "only": "a", "how": "pca", "limit": 9}),
        (embedding, "embed", {"seed": 8}),
    ],
)
def test_keywords_reach_the_function_and_a_device_is_found_by_its_name(
    run: Run, module: Any, name: str, keywords: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(module, name, lambda given, **options: calls.append({"run": given, **options}) or "done")
    chosen = {**keywords, "weights": "last", "progress": progress}
    assert getattr(run, name)(**chosen, device="cpu") == "done"
    assert calls[0].items() >= {"run": run, **chosen, "device": torch.device("cpu")}.items()
    with pytest.raises(DeviceError, match="'gpu' is no device"):
        getattr(run, name)(device="gpu")
    assert len(calls) == 1


@pytest.mark.parametrize("images", [None, PICTURES])
def test_an_unknown_device_is_refused_before_encoding(run: Run, images: np.ndarray | None) -> None:
    with pytest.raises(DeviceError, match="'gpu' is no device"):
        run.encode(images, device="gpu")
