"""The parts that a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Missing:
    """What a report lacks.

    Attributes
    ----------
    sentence : str
        What is missing, and why.
    command : str
        What makes it; empty where the sentence says so.
    """

    sentence: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.sentence} {self.command}".strip()


@dataclass(frozen=True)
class Section:
    """A part of a report, under a heading of its own.

    Attributes
    ----------
    anchor : str
        Its name within the page's address.
    title : str
        Its heading.
    template : str
        The template that shows `context`; empty where there is nothing to show.
    context : mapping
        What the template shows.
    figures : mapping
        Plotly's figures by the name of the place that they are drawn into; see `plots`.
    missing : tuple of Missing
        What is said to be missing.
    """

    anchor: str
    title: str
    template: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()
