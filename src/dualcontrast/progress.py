"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then by long work."""

    def __call__(self, what: str, done: int, total: int | None, /, **numbers: float) -> None:
        """Report progress.

        Parameters
        ----------
        what
            The work, such as "encoding".
        done, total
            How much of it is done, and of how much; None where that is not known.
        **numbers
            Figures to show beside it, such as parts of a loss.
        """


def silent(what: str, done: int, total: int | None, /, **numbers: float) -> None:
    """Report to nobody."""
