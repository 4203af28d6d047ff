"""The verb that shows a run: report."""

from __future__ import annotations

from typing import Annotated

import typer

from dualcontrast.cli.console import Console, from_here
from dualcontrast.cli.maps import Clustering
from dualcontrast.cli.options import AsJson, Device, Moved, Quiet
from dualcontrast.cli.verbs import RunArgument, Weights, app


@app.command()
def report(
    run: RunArgument,
    clusters: Clustering = "main",
    how: Annotated[str, typer.Option(metavar="NAME", help="Lay codes out by umap, tsne or pca.")] = "umap",
    limit: Annotated[int, typer.Option(metavar="N", help="Lay out at most so many images.", min=5)] = 20_000,
    weights: Weights = "best",
    datadir: Moved = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of the layout, and of the images drawn.", min=0)
    ] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page of a run, RUN/report.html, that opens anywhere and needs no network.

    It shows what other verbs have made, and says of what is missing how to make it.
    """
    from dualcontrast import api

    console = Console(quiet, as_json)
    with console.progress() as progress:
        done = api.load(run).report(
            clusters=clusters,
            how=how,
            limit=limit,
            weights=weights,
            datadir=datadir,
            seed=seed,
            device=device,
            progress=progress,
        )
    console.result(
        {"report": str(done.path), "bytes": done.size, "left_out": done.left_out},
        [*done.describe(), f"Report: {from_here(done.path)} ({done.size / 1e6:.1f} MB); open it in a browser"],
    )
