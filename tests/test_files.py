"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualcontrast.errors import RunError
from dualcontrast.files import (
    atomic_write,
    cache_folder,
    read_json,
    replace_folder,
    staging_folder,
    write_json,
    write_text,
)


@pytest.fixture
def umask() -> Iterator[None]:
    """Restore the mask of the process after a test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_moved_into_place_on_leaving(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "codes.npy"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent  # a rename is whole only within one file system
        assert temporary.suffix == ".npy"
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["codes.npy"]


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("ne")
        assert path.read_text() == "old"
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", ["old", None])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException], before: str | None
) -> None:
    path = tmp_path / "config.yaml"
    if before is not None:
        path.write_text(before)
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert names(tmp_path) == ([] if before is None else ["config.yaml"])
    if before is not None:
        assert path.read_text() == before


def test_a_writer_that_makes_no_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(path) as temporary:
        temporary.unlink()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["figure.png"]


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    os.umask(mask)
    write_text(tmp_path / "log.jsonl", "")
    assert stat.S_IMODE((tmp_path / "log.jsonl").stat().st_mode) == mode
    assert os.umask(mask) == mask  # asking for the mask did not change it


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Å\nü\n")
    assert (tmp_path / "a.txt").read_bytes() == "Å\nü\n".encode()


def test_json_is_read_back_and_ends_in_a_newline(tmp_path: Path) -> None:
    value = {"content": {"gap": 0.5, "chance": None}, "list": [1, 2.5, "Å", True], "empty": {}}
    write_json(tmp_path / "scores.json", value)
    text = (tmp_path / "scores.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert names(tmp_path) == ["scores.json"]


@pytest.mark.parametrize("before", [["old", "gone"], None])
def test_a_folder_replaces_another(tmp_path: Path, before: list[str] | None) -> None:
    folder = tmp_path / "main"
    for name in before or []:
        write_text(folder / name, "before")
    write_text(staging_folder(folder) / "old", "after")
    assert before is None or names(folder) == sorted(before)
    replace_folder(folder)
    assert names(tmp_path) == ["main"]
    assert names(folder) == ["old"]
    assert (folder / "old").read_text() == "after"


def test_json_that_is_missing_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    assert read_json(path, "run it again") is None
    path.write_text('{"a": 1}')
    assert read_json(path, "run it again") == {"a": 1}
    path.write_text('{"a": ')
    with pytest.raises(RunError, match=r"scores\.json: damaged; run it again"):
        read_json(path, "run it again")


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUALCONTRAST_CACHE", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / "mnist"
    monkeypatch.delenv("DUALCONTRAST_CACHE")
    assert cache_folder("mnist").parent.name == "dualcontrast"
