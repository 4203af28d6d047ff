"""The verb that examines the installation: doctor."""

from __future__ import annotations

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console
from dualcontrast.cli.verb import verb


@verb(app)
def doctor(*, console: Console) -> None:
    """List the optional parts that are installed, and what each adds.

    Ends with status 2 if something required is missing, or something installed is broken.
    """
    from dualcontrast.doctor import examine

    found = examine()
    console.result(found.as_dict(), found.describe())
    if found.faults:
        raise typer.Exit(2)
