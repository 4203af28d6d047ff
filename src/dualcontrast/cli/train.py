"""The verb that trains a method: train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.options import Device, OptionGroup, ReaderOptions, packaged
from dualcontrast.cli.verb import verb

if TYPE_CHECKING:
    from dualcontrast.api import Run


@dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """Settings of training that have an option of their own."""

    epochs: Annotated[int | None, typer.Option(metavar="N", help="Number of epochs.")] = None
    minutes: Annotated[float | None, typer.Option(metavar="X", help="Stop after this many minutes.")] = None
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Use only this many images, chosen at random.")
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Random seed of everything.")] = None


@verb(app)
def train(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where the images are.")],
    *,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to write.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A packaged recipe, or a file; one that suits the images if left out.",
            autocompletion=packaged("recipes"),
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help="Use this method instead of the recipe's; one of another package by its class.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe.")
    ] = None,
    training: TrainingOptions,
    reader: ReaderOptions,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run.")] = False,
    show_pairs: Annotated[
        bool, typer.Option("--show-pairs", help="Draw the pairs made from a batch: figures/pairs.png.")
    ] = False,
    console: Console,
) -> None:
    """Train a method on images, and save it in a run folder.

    SOURCE is an .npy, .npz or .h5 file, a folder of pictures (one subfolder for each class, or none), a folder
    with MNIST's IDX files or the name mnist, the LineMod renders, a BOP folder, or subtomograms: a STAR file, an
    MRC stack of volumes, or a folder of MRC files.
    """
    from dualcontrast import api
    from dualcontrast.settings import merged, parse_changes

    changes = parse_changes(settings or [])
    if training.given():
        changes = merged(changes, {"training": training.given()})
    if method is not None:
        changes = merged(changes, {"method": {"name": method}})
    with console.progress() as progress:
        run = api.train(
            source,
            out=out,
            recipe=recipe,
            settings=changes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            show_pairs=show_pairs,
            progress=progress,
            **reader.given(),
        )
    console.result({"run": str(run.path), **run.read_log()[-1]}, _summary(run))


def _summary(run: Run) -> list[str]:
    """Say how long the training was, its last loss, and what to do next."""
    log = run.read_log()
    last = log[-1]
    epochs = [line for line in log if "loss" in line]
    lines = [
        f"{last['images_seen']:,} images seen in {last['step']:,} steps and {last['seconds'] / 60:.1f} minutes; "
        f"stopped by {last['stopped']} in epoch {max(last['epoch'], 1)}"
    ]
    if epochs:
        loss = ", ".join(f"{name} {value:.4g}" for name, value in epochs[-1]["loss"].items())
        lines.append(f"Loss in the last whole epoch: {loss}")
    return [*lines, f"Next: dualcontrast evaluate {relative(run.path)}"]
