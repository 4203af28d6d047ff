"""The verb that shows the way from images to maps: demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.verb import verb


@verb(app)
def demo(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")] = Path("demo"),
    digits: Annotated[
        bool, typer.Option("--digits", help="The demo on pictures: packaged handwritten digits.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of everything.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo.")] = False,
    console: Console,
) -> None:
    """Find and average two proteins in simulated subtomograms.

    It takes some minutes, and needs no network. Packaged models are rotated at random, with a missing wedge and
    much noise. Their identities are found without labels, and each is averaged without known poses.
    """
    from dualcontrast.demo.digits import demo as digits_demo
    from dualcontrast.demo.proteins import demo as maps_demo

    run_demo = digits_demo if digits else maps_demo
    with console.progress() as progress:
        done = run_demo(out, seed=seed, overwrite=overwrite, progress=progress)
    console.result(done.as_dict(), done.describe(relative))
