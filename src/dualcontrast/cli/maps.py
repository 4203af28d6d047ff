"""The verbs from codes to maps: cluster, average, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dualcontrast.cli.console import Console, from_here
from dualcontrast.cli.options import AsJson, Device, Moved, Quiet, one_of
from dualcontrast.cli.verbs import RunArgument, Weights, app

Clustering = Annotated[
    str, typer.Option("--clusters", metavar="NAME", help="Which clusters: a name given to cluster.")
]


@app.command()
def cluster(
    run: RunArgument,
    content: Annotated[
        str, typer.Option(metavar="K|auto", help="Content clusters; auto: as many as are found again in halves.")
    ] = "auto",
    transformation: Annotated[
        str, typer.Option(metavar="K|auto", help="Transformation clusters within each content cluster.")
    ] = "auto",
    within: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME:]CLUSTER", help="Sort the images of this content cluster alone: a further round."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What the clusters are called; main, or in a further round main-CLUSTER."
        ),
    ] = None,
    weights: Weights = "best",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the mixtures.")] = 0,
    datadir: Moved = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Sort images by content, and each cluster by transformation.

    No label is looked at.
    """
    from dualcontrast import api

    console = Console(quiet, as_json)
    loaded = api.load(run)
    with console.progress() as progress:
        done = loaded.cluster(
            content=_number(content),
            transformation=_number(transformation),
            within=within,
            name=name,
            weights=weights,
            seed=seed,
            datadir=datadir,
            device=device,
            progress=progress,
        )
    path, figure = loaded.clusters_path(done.name), loaded.figure_path(f"clusters_{done.name}")
    console.result(
        {"clusters": str(path), "figure": str(figure), **done.described},
        [
            *done.describe(),
            f"Clusters: {from_here(path)}; look at: {from_here(figure)}",
            f"Next: dualcontrast average {from_here(run)} --clusters {done.name}",
        ],
    )


@app.command()
def average(
    run: RunArgument,
    clusters: Clustering = "main",
    with_: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="auto|relion|builtin",
            help="What averages; auto: RELION where it can.",
            autocompletion=one_of("auto", "relion", "builtin"),
        ),
    ] = "auto",
    align: Annotated[bool, typer.Option("--align", help="Find poses even where the STAR states them.")] = False,
    iterations: Annotated[int, typer.Option(metavar="N", help="Iterations in which poses are found.", min=1)] = 6,
    degrees: Annotated[
        float,
        typer.Option(metavar="DEG", help="Between the rotations that are tried first, in degrees.", min=1, max=90),
    ] = 15.0,
    datadir: Moved = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace averages made otherwise.")] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of halves and first references.", min=0)] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Average the subtomograms of every cluster into a map.

    Half-maps and resolutions stand beside it, and the truth where it is known. A call that was stopped goes on
    where it was.
    """
    from dualcontrast import api
    from dualcontrast.maps.refinement import Search

    console = Console(quiet, as_json)
    with console.progress() as progress:
        done = api.load(run).average(
            clusters=clusters,
            by=with_,
            align=align,
            search=Search(iterations, degrees, seed),
            datadir=datadir,
            overwrite=overwrite,
            progress=progress,
        )
    console.result(
        {
            "averages": str(done.folder),
            "figure": str(done.figure),
            "clusters": [cluster.to_json() for cluster in done.clusters],
        },
        [
            f"{len(done.clusters)} averages: {from_here(done.folder)}",
            *done.describe(),
            f"Look at: {from_here(done.figure)}",
            *(
                [f"RELION was called with: {from_here(done.folder / 'commands.txt')}"]
                if any(cluster.commands for cluster in done.clusters)
                else []
            ),
        ],
    )


@app.command()
def export(
    run: RunArgument,
    clusters: Clustering = "main",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Write a file of each class, and of its row numbers, as well.")
    ] = False,
    join: Annotated[
        Path | None,
        typer.Option(metavar="STAR", help="Write the rows of this STAR, of the same rlnTomoParticleName."),
    ] = None,
    datadir: Moved = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write your own rows with codes and clusters added.

    A STAR for RELION, or a table for other sources.
    """
    from dualcontrast import api

    console = Console(quiet, as_json)
    with console.progress() as progress:
        done = api.load(run).export(
            clusters=clusters,
            per_class=per_class,
            join=join,
            datadir=datadir,
            overwrite=overwrite,
            device=device,
            progress=progress,
        )
    told = [f"{done.rows:,} rows with their codes and clusters: {from_here(done.files[0])}"]
    if done.left_out:
        told.append(f"{done.left_out:,} rows have no cluster and are left out.")
    if done.not_joined:
        told.append(f"{done.not_joined:,} particles that have a cluster are not in {join}.")
    if done.starts_from is not None:
        told.append(f"Paths in it start from {done.starts_from}, as before: call RELION there.")
    if per_class:
        told.append(f"Classes: {', '.join(path.name for path in done.files[1:])}")
        told.append(f"Their rows by number, from 0: {', '.join(path.name for path in done.indices)}")
    files, indices = ([str(path) for path in paths] for paths in (done.files, done.indices))
    counts = {"rows": done.rows, "left_out": done.left_out, "not_joined": done.not_joined}
    console.result({"files": files, "indices": indices, **counts}, told)


def _number(text: str) -> int | str:
    """Return a number where the text is one; what else it may be is for the verb to say."""
    return int(text) if text.lstrip("-").isdigit() else text
