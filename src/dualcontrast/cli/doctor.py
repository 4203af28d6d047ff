"""The verb `dualcontrast doctor`: what is there, and what each optional part adds."""

from __future__ import annotations

import typer

from dualcontrast.cli.console import Console
from dualcontrast.cli.options import AsJson, Quiet
from dualcontrast.cli.verbs import app


@app.command()
def doctor(quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Tell which optional parts are there, and what each adds.

    Ends with status 2 where something needed is missing, or something that is there is broken.
    """
    from dualcontrast.doctor import examine

    found = examine()
    Console(quiet, as_json).result(found.as_dict(), found.describe())
    if found.faults:
        raise typer.Exit(2)
