"""The verbs about codes: encode, evaluate, transfer and embed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.options import (
    Device,
    Layout,
    ReaderOptions,
    RunArgument,
    RunOptions,
    Weights,
    one_of,
    open_run,
)
from dualcontrast.cli.verb import verb
from dualcontrast.errors import RunError

if TYPE_CHECKING:
    from dualcontrast.api.codes import Layout as LayoutName
    from dualcontrast.evaluation.results import Factor

CODES = one_of("content", "transformation")


@verb(app)
def encode(
    run: RunArgument,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Other images; the run's own if left out.")
    ] = None,
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the codes; RUN/codes if left out.")
    ] = None,
    weights: Weights = "best",
    reader: ReaderOptions,
    device: Device = "auto",
    console: Console,
) -> None:
    """Write the content and the transformation code of every image."""
    from dualcontrast.runs import write_codes

    options = reader.given()
    moved = options.pop("datadir", None) if source is None else None
    if source is not None and out is None:
        raise RunError("codes of another source need a folder of their own; give one with --out")
    if source is None and options:
        flags = ", ".join(f"--{name}" for name in options)
        raise RunError(f"the run's own images are read as in training; give a SOURCE, or leave out {flags}")
    loaded = open_run(run, moved)
    with console.progress() as progress:
        codes = loaded.encode(source, weights=weights, device=device, progress=progress, **options)
    folder = out or loaded.codes_folder(weights)
    if out is not None:
        write_codes(out, codes)
    count = len(codes.table)
    console.result(
        {"codes": str(folder), "images": count},
        [f"{count} images encoded: {relative(folder)} holds content.npy, transformation.npy and table.csv"],
    )


@verb(app)
def evaluate(*, chosen: RunOptions, console: Console) -> None:
    """Score what each code says of content and of transformation."""
    from dualcontrast.evaluation.scores import describe

    run = chosen.open()
    with console.progress() as progress:
        scores = run.evaluate(weights=chosen.weights, device=chosen.device, progress=progress)
    console.result(
        scores.to_json(), [*describe(scores), f"All scores: {relative(run.scores_path(chosen.weights))}"]
    )


@verb(app)
def transfer(
    *,
    count: Annotated[
        int, typer.Option(metavar="N", help="Number of images along each side of the grid.", min=2, max=30)
    ] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the choice of images.")] = 0,
    chosen: RunOptions,
    console: Console,
) -> None:
    """Draw every content in every transformation, and score it.

    The grid is figure 3 of the paper: content from the left-hand column, transformation from the top row.
    """
    run = chosen.open()
    with console.progress() as progress:
        done = run.transfer(
            weights=chosen.weights, count=count, seed=seed, device=chosen.device, progress=progress
        )
    console.result(
        {"figure": str(done.figure), "swap": done.swap and done.swap.to_json()},
        [*done.describe(), f"Grid: {relative(done.figure)}"],
    )


@verb(app)
def embed(
    *,
    code: Annotated[
        str, typer.Option(metavar="NAME", help="content or transformation.", autocompletion=CODES)
    ] = "content",
    by: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Colour by the label of content or of transformation.", autocompletion=CODES
        ),
    ] = "content",
    only: Annotated[str | None, typer.Option(metavar="CONTENT", help="Draw only images of this content.")] = None,
    how: Layout = "umap",
    limit: Annotated[int, typer.Option(metavar="N", help="Draw at most this many images.", min=3)] = 5000,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the embedding.")] = 0,
    chosen: RunOptions,
    console: Console,
) -> None:
    """Draw a code in two dimensions.

    As in figures 5 and 11 of the paper. Images are coloured by label if there are labels.
    """
    from dualcontrast.analysis.embedding import figure_name

    run = chosen.open()
    with console.progress() as progress:
        points = run.embed(
            code=cast("Factor", code),
            by=cast("Factor", by),
            only=only,
            how=cast("LayoutName", how),
            limit=limit,
            weights=chosen.weights,
            seed=seed,
            device=chosen.device,
            progress=progress,
        )
    figure = run.figure_path(figure_name(code, by, only, how), chosen.weights)
    console.result({"figure": str(figure), "images": len(points)}, [f"Embedding: {relative(figure)}"])
