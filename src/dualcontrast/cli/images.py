"""The verbs about images, before a method is trained on them: simulate and show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dualcontrast.cli.app import app
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.options import OptionGroup, ReaderOptions, packaged
from dualcontrast.cli.verb import verb


@dataclass(frozen=True)
class SimulationOptions(OptionGroup):
    """Settings of a simulation that have an option of their own."""

    per_state: Annotated[int | None, typer.Option(metavar="N", help="Number of subtomograms of each state.")] = (
        None
    )
    box: Annotated[int | None, typer.Option(metavar="N", help="Box size in voxels.")] = None
    voxel_size: Annotated[float | None, typer.Option(metavar="A", help="Voxel size in Angstrom.")] = None
    snr: Annotated[
        float | None,
        typer.Option(metavar="X", help="Signal-to-noise ratio: variance of the signal over that of the noise."),
    ] = None
    tilt_range: Annotated[
        float | None,
        typer.Option(metavar="DEG", help="Tilt from minus to plus this many degrees."),
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Random seed of poses and noise.")] = None


@verb(app)
def simulate(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A packaged simulation (demo, protein18, protein-local, protein-local-hard), or a file.",
            autocompletion=packaged("recipes/simulations"),
        ),
    ] = None,
    structures: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[IDENTITY=]FILE_OR_ID",
            help="Instead of a recipe: PDB, mmCIF or MRC files, or identifiers such as 6vxx; give it repeatedly.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder in which to look for the files of structures.")
    ] = None,
    simulation: SimulationOptions,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as ctf.defocus.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a simulation that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing simulation.")] = False,
    console: Console,
) -> None:
    """Simulate subtomograms of proteins, with a STAR file for RELION.

    The STAR file holds their true poses, identities and conformations.
    """
    from dualcontrast import api
    from dualcontrast.settings import merged, parse_changes

    with console.progress() as progress:
        done = api.simulate(
            out,
            recipe=recipe,
            structures=structures or (),
            settings=merged(parse_changes(settings or []), simulation.given()),
            data=data,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    count, states = sum(done.settings.counts), len(done.settings.states)
    console.result(
        {"star": str(done.star), "subtomograms": count, "states": states},
        [
            f"{count:,} subtomograms of {states} states: {relative(done.star)}",
            f"Look at: {relative(done.path / 'figures')}",
            f"Next: dualcontrast train {relative(done.star)} --out RUN",
        ],
    )


@verb(app)
def show(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Where the images are; or one density map or several.")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG", help="The picture to write; SOURCE-slices.png or such in this folder if left out."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of images; 6 volumes or 24 pictures if left out.", min=1),
    ] = None,
    surface: Annotated[
        bool, typer.Option("--surface", help="Draw surfaces of equal density instead of slices.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the choice of images.")] = 0,
    reader: ReaderOptions,
    console: Console,
) -> None:
    """Draw some images of a source, or density maps.

    Volumes are drawn as slices (figures 13 to 16 of the paper), or as surfaces. SOURCE is as for train; or one
    density map or several, .mrc or .mrc.gz.
    """
    from dualcontrast import api

    done = api.show(*sources, out=out, count=count, surface=surface, seed=seed, **reader.given())
    console.result(
        {"figure": str(done.figure), "images": done.images, "rows": list(done.rows)},
        [done.description, f"Figure: {relative(done.figure)}"],
    )
