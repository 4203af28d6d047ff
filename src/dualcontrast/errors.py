"""Errors and warnings that a user can fix, each with one clear sentence.

Messages are written for Python. They put keywords and calls in backticks, such as `overwrite=True`, `datadir` or
`run.encode()`; the command line shows its flags and verbs instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class DualContrastError(Exception):
    """Base of all errors that a user can fix; the message says what is wrong, where, and what to do."""


class SourceError(DualContrastError):
    """A source of images cannot be read, or no method can use its images."""


class RecipeError(DualContrastError):
    """A recipe, preset or setting is unknown or not valid."""


class RunError(DualContrastError):
    """A run folder lacks something that is needed, or would be overwritten."""


class MethodError(DualContrastError):
    """A method does not support what was requested."""


class DeviceError(DualContrastError):
    """A device does not exist."""


class UsageError(DualContrastError):
    """A command or an option is unknown, or options exclude each other."""


class DualContrastWarning(UserWarning):
    """Something works, but probably not as intended; the message says what, where, and what to do."""


def refuse_both(resume: bool, overwrite: bool) -> None:
    """Refuse `resume` together with `overwrite`.

    Raises
    ------
    UsageError
        Both are set.
    """
    if resume and overwrite:
        raise UsageError("`resume=True` continues and `overwrite=True` starts over; give only one of them")


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name in a clause, or list all names.

    Examples
    --------
    >>> nearest("mnits", ["mnist", "linemod"])
    'did you mean mnist?'
    """
    names = sorted(known)
    compared = {_bare(one): one for one in names}
    close = difflib.get_close_matches(_bare(name), compared, n=1)
    return f"did you mean {compared[close[0]]}?" if close else f"known are {', '.join(names)}"


def nearest_path(missing: Path, otherwise: str, also: Iterable[str] = ()) -> str:
    """Suggest the file or folder beside a missing path with the nearest name, in a clause.

    Parameters
    ----------
    missing
        A path that does not exist.
    otherwise
        The clause to return if no name is near.
    also
        Other names to suggest.
    """
    beside = {path.name: str(path) for path in missing.parent.glob("*") if not path.name.startswith(".")}
    known = {**beside, **{name: name for name in also}}
    close = difflib.get_close_matches(missing.name, known, n=1)
    return f"did you mean {known[close[0]]}?" if close else otherwise


def _bare(name: str) -> str:
    """Return a name without its case and the dashes of an option, to compare it."""
    return name.lstrip("-").lower()
