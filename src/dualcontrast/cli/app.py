"""The root of the command line, which the verbs are added to."""

from __future__ import annotations

from typing import Annotated

import typer

from dualcontrast.cli.usage import VerbGroup
from dualcontrast.version import __version__

app = typer.Typer(
    name="dualcontrast",
    help="Separate, without labels, what an image shows from the state it is in.",
    cls=VerbGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
