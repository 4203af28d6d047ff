"""Options that several verbs have, alone or in groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dualcontrast.api import Run


def packaged(folder: str) -> Callable[[], list[str]]:
    """Make a completion of the names of packaged files."""

    def names() -> list[str]:
        from dualcontrast.settings import packaged

        return list(packaged(folder))

    return names


def one_of(*names: str) -> Callable[[], list[str]]:
    """Make a completion of some names."""
    return lambda: list(names)


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, written by train.")]
Weights = Annotated[
    str,
    typer.Option(metavar="NAME", help="best (lowest validation loss), last, or epoch-N if training kept them."),
]
Moved = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the run's images are now, if they were moved."),
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:1.", autocompletion=one_of("auto", "cpu", "cuda")),
]
Clustering = Annotated[str, typer.Option(metavar="NAME", help="Which clusters: a name given to cluster.")]
Layout = Annotated[
    str, typer.Option(metavar="NAME", help="umap, tsne or pca.", autocompletion=one_of("umap", "tsne", "pca"))
]


class OptionGroup:
    """Options that are passed on by name: a base of dataclasses."""

    def given(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None and value is not False}


@dataclass(frozen=True)
class ReaderOptions(OptionGroup):
    """How a source of images is read; the names are the keywords of `open_images`."""

    key: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the array of images in an .npz or .h5 file.")
    ] = None
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the array of content labels in such a file, or of a column of a STAR file.",
        ),
    ] = None
    datadir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that paths in a STAR file start from (RELION's project folder)."),
    ] = None
    invert: Annotated[
        bool,
        typer.Option("--invert", help="Invert the contrast of a STAR or MRC source: dark protein turns white."),
    ] = False
    bin: Annotated[int | None, typer.Option(metavar="N", help="Bin subtomograms by this factor.", min=1)] = None
    poses: Annotated[
        bool, typer.Option("--poses", help="Align subtomograms by the rotations and shifts in a STAR file.")
    ] = False
    mask: Annotated[
        str | None,
        typer.Option(metavar="FILE|sphere", help="Multiply subtomograms by an MRC mask, or by a soft sphere."),
    ] = None


@dataclass(frozen=True)
class RunOptions:
    """A trained run, with which weights and on which device."""

    run: RunArgument
    weights: Weights = "best"
    datadir: Moved = None
    device: Device = "auto"

    def open(self) -> Run:
        """Open the run, and find its images."""
        return open_run(self.run, self.datadir)


def open_run(path: Path, datadir: Path | None) -> Run:
    """Open a run, and its images if they were moved to another folder."""
    from dualcontrast import api
    from dualcontrast.runs.source import attached

    run = api.load(path)
    if datadir is not None:
        attached(run, datadir)
    return run
