"""Options that many verbs have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def packaged(folder: str) -> Callable[[], list[str]]:
    """Return what completes the names of packaged files."""

    def names() -> list[str]:
        from dualcontrast.settings import packaged

        return list(packaged(folder))

    return names


def one_of(*names: str) -> Callable[[], list[str]]:
    """Return what completes some names."""
    return lambda: list(names)


Moved = Annotated[
    Path | None,
    typer.Option("--datadir", metavar="DIR", help="Where the run's images are now, if they were moved."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no words.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:1.", autocompletion=one_of("auto", "cpu", "cuda")),
]
