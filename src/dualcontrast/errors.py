"""What a user can mend: every such fault is one exception, or a warning, with one clear sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DualContrastError(Exception):
    """Base of all errors that a user can mend; the message says what is wrong, where, and what to do."""


class SourceError(DualContrastError):
    """A source of images cannot be read, or holds what no method can use."""


class RecipeError(DualContrastError):
    """A recipe, preset or setting is not understood."""


class RunError(DualContrastError):
    """A run folder lacks what a verb needs, or is in the way."""


class MethodError(DualContrastError):
    """A method cannot do what is asked of it."""


class DeviceError(DualContrastError):
    """There is no such device."""


class DualContrastWarning(UserWarning):
    """Something works, but hardly as the user means it; the message says what, where, and what to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause that suggests the nearest known name, or lists them all.

    Examples
    --------
    >>> nearest("mnits", ["mnist", "linemod"])
    'did you mean mnist?'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
