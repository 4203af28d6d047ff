"""Atomic writes: a file or folder is replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualcontrast.errors import RunError

JSONObject = dict[str, Any]  # the content of a JSON file


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move it to `path` on leaving without an error.

    The data are flushed to disk before the rename, so that a reader finds the old file or the new one and never a
    part, even after a power failure.

    Parameters
    ----------
    path
        The file to write. Its folder is created if it is missing.

    Yields
    ------
    Path
        The path to write to. It has the suffix of `path`, by which libraries choose a format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp creates files that only their owner can read
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def staging_folder(folder: Path) -> Path:
    """Return the folder in which to prepare the replacement of a folder."""
    return folder.with_name(f".{folder.name}.new")


def replace_folder(folder: Path) -> None:
    """Replace a folder by the one that was prepared beside it, and then delete the old one.

    Parameters
    ----------
    folder
        The folder to replace; it need not exist.
    """
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)  # left by a call that was killed
    if folder.exists():
        folder.rename(old)
    staging_folder(folder).rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, remedy: str) -> JSONObject | None:
    """Read a JSON file; None if there is no such file.

    Parameters
    ----------
    path
        The file.
    remedy
        What the user should do if it is damaged, for the message of the error.

    Raises
    ------
    RunError
        The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise RunError(f"{path}: damaged; {remedy}") from None


def cache_folder(name: str) -> Path:
    """Return a folder for downloads, in $DUALCONTRAST_CACHE or otherwise in the cache folder of the user."""
    import pooch

    return Path(os.environ.get("DUALCONTRAST_CACHE") or pooch.os_cache("dualcontrast")) / name


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Flush a rename in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
