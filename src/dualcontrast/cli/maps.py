"""The verbs from codes to maps: cluster, average and export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.options import Clustering, Device, Moved, RunArgument, RunOptions, one_of
from dualcontrast.cli.verb import verb

if TYPE_CHECKING:
    from dualcontrast.analysis.clusters import Number
    from dualcontrast.maps.cluster_average import Program


@verb(app)
def cluster(
    *,
    content: Annotated[
        str,
        typer.Option(
            metavar="K|auto", help="Number of content clusters; auto: as many as are found again in halves."
        ),
    ] = "auto",
    transformation: Annotated[
        str, typer.Option(metavar="K|auto", help="Number of transformation clusters in each content cluster.")
    ] = "auto",
    within: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME:]CLUSTER", help="Cluster only the images of this content cluster: a further round."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the result; main if left out, or main-CLUSTER in a further round."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the mixtures.")] = 0,
    chosen: RunOptions,
    console: Console,
) -> None:
    """Cluster images by content, and each cluster by transformation.

    Labels are not used.
    """
    from dualcontrast import api

    run = api.load(chosen.run)
    with console.progress() as progress:
        done = run.cluster(
            content=_number(content),
            transformation=_number(transformation),
            within=within,
            name=name,
            weights=chosen.weights,
            seed=seed,
            datadir=chosen.datadir,
            device=chosen.device,
            progress=progress,
        )
    follows = "average" if len(run.config().data.shape) == 4 else "report"  # of volumes, or of pictures
    path, figure = run.clusters_path(done.name), run.figure_path(f"clusters_{done.name}")
    console.result(
        {"clusters": str(path), "figure": str(figure), **done.as_json()},
        [
            *done.describe(),
            f"Clusters: {relative(path)}; look at: {relative(figure)}",
            f"Next: dualcontrast {follows} {relative(chosen.run)} --clusters {done.name}",
        ],
    )


@verb(app)
def average(
    run: RunArgument,
    *,
    clusters: Clustering = "main",
    by: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="auto|relion|builtin",
            help="What averages; auto: RELION if it can.",
            autocompletion=one_of("auto", "relion", "builtin"),
        ),
    ] = "auto",
    align: Annotated[
        bool, typer.Option("--align", help="Search for poses even if the STAR file gives them.")
    ] = False,
    iterations: Annotated[int, typer.Option(metavar="N", help="Iterations of the pose search.", min=1)] = 6,
    degrees: Annotated[
        float,
        typer.Option(metavar="DEG", help="Angular step of the first pose search, in degrees.", min=1, max=90),
    ] = 15.0,
    datadir: Moved = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace averages made with other options.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of halves and references.", min=0)] = 0,
    console: Console,
) -> None:
    """Average the subtomograms of every cluster into a map.

    Half-maps and resolutions are written beside it, and a comparison with the truth if it is known. If it
    was stopped, call it again to continue.
    """
    from dualcontrast import api
    from dualcontrast.maps.refinement import Search

    with console.progress() as progress:
        done = api.load(run).average(
            clusters=clusters,
            by=cast("Program", by),
            align=align,
            search=Search(iterations, degrees, seed),
            datadir=datadir,
            overwrite=overwrite,
            progress=progress,
        )
    lines = [
        f"{len(done.clusters)} averages: {relative(done.folder)}",
        *done.describe(),
        f"Look at: {relative(done.figure)}",
    ]
    if any(average.commands for average in done.clusters):
        lines.append(f"RELION was called with: {relative(done.folder / 'commands.txt')}")
    averages = [average.to_json() for average in done.clusters]
    console.result({"averages": str(done.folder), "figure": str(done.figure), "clusters": averages}, lines)


@verb(app)
def export(
    run: RunArgument,
    *,
    clusters: Clustering = "main",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Also write a file for each class, and one of its row numbers.")
    ] = False,
    join: Annotated[
        Path | None,
        typer.Option(metavar="STAR", help="Write the rows of this STAR file, matched by rlnTomoParticleName."),
    ] = None,
    datadir: Moved = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    device: Device = "auto",
    console: Console,
) -> None:
    """Write your own rows with codes and clusters added.

    A STAR file for RELION, or a table for other sources.
    """
    from dualcontrast import api

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
    lines = [f"{done.rows:,} rows with their codes and clusters: {relative(done.files[0])}"]
    if done.left_out:
        lines.append(f"{done.left_out:,} rows have no cluster and are left out.")
    if done.not_joined:
        lines.append(f"{done.not_joined:,} particles that have a cluster are not in {join}.")
    if done.starts_from is not None:
        lines.append(f"Paths in it start from {done.starts_from}, as before: call RELION there.")
    if per_class:
        lines.append(f"Classes: {', '.join(path.name for path in done.files[1:])}")
        lines.append(f"Their rows by number, from 0: {', '.join(path.name for path in done.indices)}")
    files, indices = ([str(path) for path in paths] for paths in (done.files, done.indices))
    counts = {"rows": done.rows, "left_out": done.left_out, "not_joined": done.not_joined}
    console.result({"files": files, "indices": indices, **counts}, lines)


def _number(text: str) -> Number:
    """Turn digits into a number; other text stays, for the verb to check."""
    return int(text) if text.lstrip("-").isdigit() else cast("Number", text)
