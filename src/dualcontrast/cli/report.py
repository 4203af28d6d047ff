"""The verb that shows a run: report."""

from __future__ import annotations

from typing import Annotated

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.options import Clustering, Layout, RunOptions
from dualcontrast.cli.verb import verb


@verb(app)
def report(
    *,
    clusters: Clustering = "main",
    how: Layout = "umap",
    limit: Annotated[int, typer.Option(metavar="N", help="Embed at most this many images.", min=5)] = 20_000,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Random seed of the embedding, and of the images shown.", min=0)
    ] = 0,
    chosen: RunOptions,
    console: Console,
) -> None:
    """Write one HTML page of a run that needs no network.

    RUN/report.html shows the results of the other verbs, and how to make those that are missing.
    """
    from dualcontrast import api

    with console.progress() as progress:
        done = api.load(chosen.run).report(
            clusters=clusters,
            how=how,
            limit=limit,
            weights=chosen.weights,
            datadir=chosen.datadir,
            seed=seed,
            device=chosen.device,
            progress=progress,
        )
    console.result(
        {"report": str(done.path), "bytes": done.size, "left_out": done.left_out},
        [*done.describe(), f"Report: {relative(done.path)} ({done.size / 1e6:.1f} MB); open it in a browser"],
    )
