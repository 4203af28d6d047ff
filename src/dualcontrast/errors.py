"""What a user can mend: every such fault is one exception, or a warning, with one clear sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


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


class UsageError(DualContrastError):
    """A verb or an option is not understood."""


class DualContrastWarning(UserWarning):
    """Something works, but hardly as the user means it; the message says what, where, and what to do."""


def refuse_both(resume: bool, overwrite: bool) -> None:
    """Raise a UsageError where both are asked for."""
    if resume and overwrite:
        raise UsageError("--resume goes on and --overwrite begins anew; give one of them")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause that suggests the nearest known name, or lists them all.

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
    """Return a clause that suggests what lies beside a missing path under the nearest name; or says `otherwise`.

    Parameters
    ----------
    missing
        A path that is not there.
    otherwise
        The clause where nothing is near.
    also
        Names that may be meant as well.
    """
    beside = {path.name: str(path) for path in missing.parent.glob("*") if not path.name.startswith(".")}
    known = {**beside, **{name: name for name in also}}
    close = difflib.get_close_matches(missing.name, known, n=1)
    return f"did you mean {known[close[0]]}?" if close else otherwise


def _bare(name: str) -> str:
    """Return what of a name is compared: not its case, nor the dashes of an option."""
    return name.lstrip("-").lower()
