from __future__ import annotations

import gzip
import hashlib
import struct
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from dualcontrast.errors import SourceError
from dualcontrast.images import open_images
from dualcontrast.images.mnist import MNIST_FILES, download_mnist, open_mnist

NAMES = tuple(name.removesuffix(".gz") for name in MNIST_FILES)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def small_mnist(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        NAMES[0]: rng.integers(0, 256, (5, 4, 3)),
        NAMES[1]: np.array([7, 0, 1, 1, 9]),
        NAMES[2]: rng.integers(0, 256, (3, 4, 3)),
        NAMES[3]: np.array([2, 2, 5]),
    }


def write(folder: Path, arrays: dict[str, np.ndarray], *, dotted: bool = False, zipped: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        called = name.replace("-idx", ".idx") if dotted else name
        data = gzip.compress(idx(array), mtime=0) if zipped else idx(array)
        (folder / (called + ".gz" * zipped)).write_bytes(data)


# ---- a folder


def test_the_real_digits(shared_data: Path) -> None:
    images = open_images(shared_data / "mnist")
    assert (len(images), images.shape) == (70_000, (1, 28, 28))
    table = images.table
    assert table["row"].tolist() == list(range(70_000))
    assert table["split"].tolist() == ["train"] * 60_000 + ["test"] * 10_000
    assert table["content"][:5].tolist() == [5, 0, 4, 1, 9]
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(table["content"][:60_000]).tolist() == train
    assert np.bincount(table["content"][60_000:]).tolist() == test
    means = [images.read(np.arange(start, start + 1000)).mean() for start in range(0, 60_000, 1000)]
    assert np.mean(means) == pytest.approx(0.1307, abs=5e-5)


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_files_of_any_name_plain_or_zipped(dotted: bool, zipped: bool, tmp_path: Path) -> None:
    arrays = small_mnist()
    write(tmp_path, arrays, dotted=dotted, zipped=zipped)
    images = open_images(tmp_path)
    assert images.source == str(tmp_path)
    assert images.table["split"].tolist() == ["train"] * 5 + ["test"] * 3
    assert images.table["content"].tolist() == [7, 0, 1, 1, 9, 2, 2, 5]
    expected = np.concatenate([arrays[NAMES[0]], arrays[NAMES[2]]]) / 255
    np.testing.assert_allclose(images.read(np.arange(8))[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("pair", "split"), [(NAMES[:2], "train"), (NAMES[2:], "test")])
def test_one_pair_is_one_split(pair: tuple[str, ...], split: str, tmp_path: Path) -> None:
    write(tmp_path, {name: array for name, array in small_mnist().items() if name in pair})
    assert set(open_images(tmp_path).table["split"]) == {split}


def test_pictures_without_labels_are_named(tmp_path: Path) -> None:
    write(tmp_path, small_mnist())
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(SourceError, match="t10k-images-idx3-ubyte: has no labels"):
        open_images(tmp_path)


def test_splits_of_two_sizes_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {**small_mnist(), NAMES[2]: np.zeros((3, 5, 5))})
    with pytest.raises(SourceError, match="training and test pictures differ in size"):
        open_images(tmp_path)


def test_counts_that_differ_are_named(tmp_path: Path) -> None:
    write(tmp_path, {**small_mnist(), NAMES[1]: np.zeros(4)})
    with pytest.raises(SourceError, match="train-labels-idx1-ubyte: has 4 labels for the 5 pictures"):
        open_images(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_magic_number_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path, small_mnist())
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"\0\0\x0d" + data[3:])
    with pytest.raises(
        SourceError, match=f"{name}: not an IDX file of . dimensions, because it begins with 00000d"
    ):
        open_images(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 3, 9, -1])
def test_a_file_cut_short_is_named(name: str, kept: int, tmp_path: Path) -> None:
    write(tmp_path, small_mnist())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:kept])
    with pytest.raises(SourceError, match=f"{name}: (not an IDX file|damaged)"):
        open_images(tmp_path)


def test_a_file_too_long_is_named(tmp_path: Path) -> None:
    write(tmp_path, small_mnist())
    with (tmp_path / NAMES[0]).open("ab") as file:
        file.write(b"more")
    with pytest.raises(SourceError, match="its header promises 60 bytes but 64 follow"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"plain", lambda data: data[:20] + data[22:]]
)
def test_a_damaged_gzip_is_named(damage: object, tmp_path: Path) -> None:
    write(tmp_path, small_mnist(), zipped=True)
    path = tmp_path / f"{NAMES[0]}.gz"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(SourceError, match=rf"{NAMES[0]}\.gz: damaged or not readable"):
        open_images(tmp_path)


# ---- one file


@pytest.mark.parametrize("zipped", [False, True])
def test_one_file_takes_the_labels_beside_it(zipped: bool, tmp_path: Path) -> None:
    write(tmp_path, small_mnist(), zipped=zipped)
    images = open_images(tmp_path / (NAMES[2] + ".gz" * zipped))
    assert len(images) == 3
    assert list(images.table) == ["row", "content"]
    assert images.table["content"].tolist() == [2, 2, 5]


def test_one_file_may_be_without_labels(tmp_path: Path) -> None:
    write(tmp_path, {"letters.idx3": np.arange(24).reshape(2, 3, 4)})
    images = open_images(tmp_path / "letters.idx3")
    assert list(images.table) == ["row"]
    assert images.read(np.array([1]))[0, 0, 0, 0] * 255 == pytest.approx(12)


# ---- the name mnist


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUALCONTRAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder that the server hands out."""
    write(tmp_path / "served", small_mnist(), zipped=True)
    return tmp_path / "served"


class QuietHandler(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(served: Path) -> Iterator[tuple[str, list[str]]]:
    """The server's address, and what it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (QuietHandler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(served))) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/", asked
        running.shutdown()
        thread.join()


def checksums(folder: Path) -> dict[str, str]:
    return {
        name: f"md5:{hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()}"
        for name in MNIST_FILES
    }


def test_mnist_is_downloaded_once_and_in_silence(
    cache: Path, served: Path, server: tuple[str, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    address, asked = server
    assert download_mnist(address, checksums(served)) == cache
    assert len(open_mnist(cache)) == 8
    assert sorted(asked) == sorted(f"/{name}" for name in MNIST_FILES)
    download_mnist(address, checksums(served))
    assert len(asked) == 4
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_download_goes_on_with_the_files_that_are_missing(
    cache: Path, served: Path, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    download_mnist(address, checksums(served))
    (cache / f"{NAMES[3]}.gz").unlink()
    download_mnist(address, checksums(served))
    assert asked[4:] == [f"/{NAMES[3]}.gz"]


def test_a_wrong_checksum_says_where_to_put_the_files(
    cache: Path, served: Path, server: tuple[str, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    address, _ = server
    wrong = {**checksums(served), f"{NAMES[2]}.gz": MNIST_FILES[f"{NAMES[2]}.gz"]}
    with pytest.raises(SourceError) as error:
        download_mnist(address, wrong)
    assert f"{address}{NAMES[2]}.gz: has a wrong checksum" in str(error.value)
    assert f"put MNIST's four IDX files into {cache} by hand" in str(error.value)
    assert not (cache / f"{NAMES[2]}.gz").exists()
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_missing_file_or_no_network_says_where_to_put_the_files(
    cache: Path, served: Path, server: tuple[str, list[str]]
) -> None:
    address, _ = server
    known = checksums(served)
    (served / f"{NAMES[0]}.gz").unlink()
    with pytest.raises(SourceError, match=f"cannot be downloaded.* into {cache} by hand"):
        download_mnist(address, known)
    with ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler) as closed:
        nobody = f"http://127.0.0.1:{closed.server_port}/"
    with pytest.raises(SourceError, match=f"{nobody}.*cannot be downloaded.* into {cache} by hand"):
        download_mnist(nobody, known)


def test_files_put_there_by_hand_are_opened_by_the_name_mnist(cache: Path) -> None:
    write(cache, small_mnist(), dotted=True)
    images = open_images("mnist")
    assert (images.source, len(images)) == ("mnist", 8)


def test_a_folder_called_mnist_goes_before_the_download(cache: Path, tmp_path: Path) -> None:
    write(tmp_path / "mnist", {name: small_mnist()[name] for name in NAMES[:2]})
    assert len(open_images("mnist")) == 5


def test_the_original_checksums() -> None:
    assert list(MNIST_FILES.values()) == [
        "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "md5:d53e105ee54ea40749a09fcbcd1e9432",
        "md5:9fb629c4189551a2d022fa330f9573f3",
        "md5:ec29112dd5afa0611ce80d1b7f02629c",
    ]
