"""The parts of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dualcontrast.report.plots import Figure


@dataclass(frozen=True)
class Unavailable:
    """Something that a report cannot show.

    Attributes
    ----------
    reason : str
        A sentence that says what is missing, and why.
    command : str
        The command that creates it; empty if the sentence says what to do.
    """

    reason: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.reason.removesuffix('.')}: {self.command}" if self.command else self.reason


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes
    ----------
    anchor : str
        Its name in the address of the page.
    title : str
        Its heading.
    template : str
        The template that shows `context`; empty if there is nothing to show.
    context : object
        The content: what the template calls `context`.
    figures : mapping
        Figures by the name of the element they are drawn into; see `plots`.
    missing : tuple of Unavailable
        What the section cannot show.
    """

    anchor: str
    title: str
    template: str = ""
    context: object = None
    figures: Mapping[str, Figure] = field(default_factory=dict)
    missing: tuple[Unavailable, ...] = ()
