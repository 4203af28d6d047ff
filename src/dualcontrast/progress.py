"""Progress of long work, reported to whoever called it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A function that long work calls now and then."""

    def __call__(self, what: str, done: int, total: int | None, /, **numbers: float) -> None:
        """Report progress.

        Parameters
        ----------
        what
            The work, such as "encoding".
        done, total
            How much is done, and of how much; `total` is None if it is not known.
        **numbers
            Numbers to show beside it, such as the parts of a loss.
        """


def silent(what: str, done: int, total: int | None, /, **numbers: float) -> None:
    """Ignore progress."""
