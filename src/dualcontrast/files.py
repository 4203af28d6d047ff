"""Files that are written whole or not at all."""

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


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error, move it into place.

    The data are flushed to the disk before the rename, so that a reader, or a machine that lost its power,
    finds the old file or the new one and never a part.

    Parameters
    ----------
    path
        The file to write. Its folder is made where it is missing.

    Yields
    ------
    Path
        Where to write. It has the suffix of `path`, since libraries choose a format by it.
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
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def beside(folder: Path) -> Path:
    """Return where what is to replace a folder is written, until it is whole."""
    return folder.with_name(f".{folder.name}.new")


def put_in_place(folder: Path) -> None:
    """Put what was written beside a folder in its place; what was there goes last.

    Parameters
    ----------
    folder
        The folder to replace; it need not be there.
    """
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)  # of a call that was killed
    if folder.exists():
        folder.rename(old)
    beside(folder).rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, mend: str) -> dict[str, Any] | None:
    """Return what a JSON file holds; None where there is no such file.

    Parameters
    ----------
    path
        The file.
    mend
        What to do where it is damaged, said in the error.

    Raises
    ------
    RunError
        It is damaged.
    """
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise RunError(f"{path}: damaged; {mend}") from None


def cache_folder(name: str) -> Path:
    """Return a folder for downloads: in $DUALCONTRAST_CACHE, or else in the user's cache folder."""
    import pooch

    return Path(os.environ.get("DUALCONTRAST_CACHE") or pooch.os_cache("dualcontrast")) / name


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
