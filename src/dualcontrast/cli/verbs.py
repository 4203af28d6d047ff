"""The verbs. Each imports what it needs when it runs, so that help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from dualcontrast.cli.benchmark import app as benchmark
from dualcontrast.cli.console import Console, from_here
from dualcontrast.cli.options import AsJson, Device, Moved, Quiet, one_of, packaged
from dualcontrast.cli.words import Verbs
from dualcontrast.errors import RunError
from dualcontrast.version import __version__

if TYPE_CHECKING:
    from dualcontrast.api import Run
    from dualcontrast.api.codes import Layout
    from dualcontrast.evaluation.results import Factor

app = typer.Typer(
    name="dualcontrast",
    help="Tell, without labels, what an image shows from the state it is in.",
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CODES = one_of("content", "transformation")
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, made by train.")]
Weights = Annotated[
    str,
    typer.Option(metavar="NAME", help="best (lowest validation loss), last, or epoch-N where training kept them."),
]
Key = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the array of images in an .npz or .h5 file.")
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of the array of content labels in such a file, or of a column in a STAR."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--datadir", metavar="DIR", help="Folder that paths in a STAR start from (RELION's project)."),
]
Invert = Annotated[bool, typer.Option("--invert", help="Turn dark protein white, in a STAR or MRC source.")]
Bin = Annotated[int | None, typer.Option("--bin", metavar="N", help="Shrink subtomograms by this factor.", min=1)]
Poses = Annotated[bool, typer.Option("--poses", help="Undo the rotations and shifts that a STAR gives.")]
Mask = Annotated[
    str | None,
    typer.Option(metavar="FILE|sphere", help="Multiply subtomograms by an MRC mask, or by a soft sphere."),
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def train(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where the images are.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to make.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A packaged recipe, or a file; one that suits the images if left out.",
            autocompletion=packaged("recipes"),
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take this method in place of the recipe's.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Train for so many epochs.")] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="X", help="Stop after so many minutes of training.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Use so many images, drawn at random.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of everything that is random.")] = None,
    key: Key = None,
    labels: Labels = None,
    datadir: DataDir = None,
    invert: Invert = False,
    bin_: Bin = None,
    poses: Poses = False,
    mask: Mask = None,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
    show_pairs: Annotated[
        bool, typer.Option("--show-pairs", help="Draw which pairs are made of a batch: figures/pairs.png.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a method on images, and keep it in a run folder.

    SOURCE is an .npy, .npz or .h5 file, a folder of pictures (one subfolder a class, or flat), a folder with
    MNIST's IDX files or the name mnist, the LineMod renders, a BOP folder, or subtomograms: a STAR file, an MRC
    stack of volumes, or a folder of MRC files.
    """
    from dualcontrast import api
    from dualcontrast.settings import merged, parse_changes

    settings = parse_changes(set_ or [])
    stated = {"epochs": epochs, "minutes": minutes, "limit": limit, "seed": seed}
    training = {name: value for name, value in stated.items() if value is not None}
    if training:
        settings = merged(settings, {"training": training})
    if method is not None:
        settings = merged(settings, {"method": {"name": method}})
    console = Console(quiet, as_json)
    with console.progress() as progress:
        run = api.train(
            source,
            out=out,
            recipe=recipe,
            settings=settings,
            device=device,
            resume=resume,
            overwrite=overwrite,
            show_pairs=show_pairs,
            progress=progress,
            **_stated_options(key, labels, datadir, invert, bin_, poses, mask),
        )
    console.result({"run": str(run.path), **run.read_log()[-1]}, _told_of_training(run))


@app.command()
def encode(
    run: RunArgument,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Other images; the run's own if left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the codes; RUN/codes if left out.")
    ] = None,
    weights: Weights = "best",
    key: Key = None,
    labels: Labels = None,
    datadir: DataDir = None,
    invert: Invert = False,
    bin_: Bin = None,
    poses: Poses = False,
    mask: Mask = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the content and the transformation code of every image."""
    from dualcontrast.runs import write_codes

    console = Console(quiet, as_json)
    options = _stated_options(key, labels, datadir, invert, bin_, poses, mask)
    moved = options.pop("datadir", None) if source is None else None
    if source is not None and out is None:
        raise RunError("codes of another source need a folder of their own: say which with --out")
    if source is None and options:
        given = ", ".join(options)
        raise RunError(f"the run's own images are read as in training; give a SOURCE, or leave out {given}")
    loaded = _opened(run, moved)
    with console.progress() as progress:
        codes = loaded.encode(source, weights=weights, device=device, progress=progress, **options)
    folder = out or loaded.codes_folder(weights)
    if out is not None:
        write_codes(out, codes)
    told = f"{len(codes.table)} images encoded: {from_here(folder)} holds content.npy, transformation.npy and "
    console.result({"codes": str(folder), "images": len(codes.table)}, [told + "table.csv"])


@app.command()
def evaluate(
    run: RunArgument,
    weights: Weights = "best",
    datadir: Moved = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score what either code tells of content and of transformation."""
    from dualcontrast.evaluation.scores import describe

    console = Console(quiet, as_json)
    loaded = _opened(run, datadir)
    with console.progress() as progress:
        scores = loaded.evaluate(weights=weights, device=device, progress=progress)
    console.result(scores.to_json(), [*describe(scores), f"All figures: {from_here(loaded.scores_path(weights))}"])


@app.command()
def transfer(
    run: RunArgument,
    weights: Weights = "best",
    count: Annotated[
        int, typer.Option(metavar="N", help="Images along each side of the grid.", min=2, max=30)
    ] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the choice of images.")] = 0,
    datadir: Moved = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw every content in every transformation, and score that.

    The grid is figure 3 of the paper: content from the left-hand column, transformation from the top row.
    """
    console = Console(quiet, as_json)
    loaded = _opened(run, datadir)
    with console.progress() as progress:
        done = loaded.transfer(weights=weights, count=count, seed=seed, device=device, progress=progress)
    console.result(
        {"figure": str(done.figure), "swap": done.swap and done.swap.to_json()},
        [*done.describe(), f"Grid: {from_here(done.figure)}"],
    )


@app.command()
def embed(
    run: RunArgument,
    code: Annotated[
        str, typer.Option(metavar="NAME", help="content or transformation.", autocompletion=CODES)
    ] = "content",
    by: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Colour by the label of content, or of transformation.", autocompletion=CODES
        ),
    ] = "content",
    only: Annotated[str | None, typer.Option(metavar="CONTENT", help="Take images of this content alone.")] = None,
    how: Annotated[
        str, typer.Option(metavar="NAME", help="umap, tsne or pca.", autocompletion=one_of("umap", "tsne", "pca"))
    ] = "umap",
    limit: Annotated[int, typer.Option(metavar="N", help="Draw at most so many images.", min=3)] = 5000,
    weights: Weights = "best",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the embedding.")] = 0,
    datadir: Moved = None,
    device: Device = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw a code in the plane, as in figures 5 and 11 of the paper.

    Images are coloured by label where there are labels.
    """
    from dualcontrast.analysis.embedding import figure_name

    console = Console(quiet, as_json)
    loaded = _opened(run, datadir)
    with console.progress() as progress:
        points = loaded.embed(
            code=cast("Factor", code),
            by=cast("Factor", by),
            only=only,
            how=cast("Layout", how),
            limit=limit,
            weights=weights,
            seed=seed,
            device=device,
            progress=progress,
        )
    figure = loaded.figure_path(figure_name(code, by, only, how), weights)
    console.result({"figure": str(figure), "images": len(points)}, [f"Embedding: {from_here(figure)}"])


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make.")],
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
            help="In place of a recipe: PDB, mmCIF or MRC files, or identifiers such as 6vxx; give it repeatedly.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder in which the structures' files are looked for.")
    ] = None,
    per_state: Annotated[int | None, typer.Option(metavar="N", help="Subtomograms of a state.")] = None,
    box: Annotated[int | None, typer.Option(metavar="N", help="Voxels a side.")] = None,
    voxel_size: Annotated[float | None, typer.Option(metavar="A", help="In Angstrom.")] = None,
    snr: Annotated[
        float | None, typer.Option(metavar="X", help="Variance of the signal by that of the noise.")
    ] = None,
    tilt_range: Annotated[
        float | None,
        typer.Option(metavar="DEG", help="Tilts reach from minus to plus so many degrees; all if left out."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of poses and noise.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as ctf.defocus.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a simulation that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the simulation that is there.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Simulate subtomograms of proteins, with a STAR file for RELION.

    The STAR holds their true poses, identities and conformations.
    """
    from dualcontrast import api
    from dualcontrast.settings import merged, parse_changes

    stated = {"per_state": per_state, "box": box, "voxel_size": voxel_size, "snr": snr, "tilt_range": tilt_range}
    stated["seed"] = seed
    changes = merged(
        parse_changes(set_ or []), {name: value for name, value in stated.items() if value is not None}
    )
    console = Console(quiet, as_json)
    with console.progress() as progress:
        done = api.simulate(
            out,
            recipe=recipe,
            structures=structures or (),
            settings=changes,
            data=data,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    count = sum(done.settings.counts)
    console.result(
        {"star": str(done.star), "subtomograms": count, "states": len(done.settings.states)},
        [
            f"{count:,} subtomograms of {len(done.settings.states)} states: {from_here(done.star)}",
            f"Look at: {from_here(done.path / 'figures')}",
            f"Next: dualcontrast train {from_here(done.star)} --out RUN",
        ],
    )


@app.command()
def show(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Where the images are; or density maps, one or several.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="The picture to write; SOURCE-slices.png and such here if left out."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="Draw so many: 6 volumes or 24 pictures if left out.", min=1)
    ] = None,
    surface: Annotated[
        bool, typer.Option("--surface", help="Draw surfaces of equal density in place of slices.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the choice of images.")] = 0,
    key: Key = None,
    labels: Labels = None,
    datadir: DataDir = None,
    invert: Invert = False,
    bin_: Bin = None,
    poses: Poses = False,
    mask: Mask = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw some images of a source, or density maps, as they are.

    Volumes are drawn as slices (figures 13 to 16 of the paper), or as surfaces. SOURCE is as for train; or one
    density map or several, .mrc or .mrc.gz.
    """
    from dualcontrast import api

    options = _stated_options(key, labels, datadir, invert, bin_, poses, mask)
    done = api.show(*sources, out=out, count=count, surface=surface, seed=seed, **options)
    console = Console(quiet, as_json)
    told = {"figure": str(done.figure), "images": done.images, "rows": list(done.rows)}
    console.result(told, [done.description, f"Figure: {from_here(done.figure)}"])


app.add_typer(benchmark, name="benchmark")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make.")] = Path("demo"),
    digits: Annotated[
        bool, typer.Option("--digits", help="The demo of pictures: packaged handwritten digits.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of everything that is random.", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find two proteins in simulated subtomograms, and average each: some minutes, no network.

    Packaged models are turned at random, seen through a missing wedge and drowned in noise. Their identities are
    found without labels, and each is averaged without known poses.
    """
    from dualcontrast.demo.digits import demo as digits_demo
    from dualcontrast.demo.proteins import demo as maps_demo

    run_demo = digits_demo if digits else maps_demo
    console = Console(quiet, as_json)
    with console.progress() as progress:
        done = run_demo(out, seed=seed, overwrite=overwrite, progress=progress)
    console.result(done.as_dict(), done.describe(from_here))


def _opened(run: Path, datadir: Path | None) -> Run:
    """Open a run, and its images where they are now, if they were moved."""
    from dualcontrast import api
    from dualcontrast.runs.source import attached

    loaded = api.load(run)
    if datadir is not None:
        attached(loaded, datadir)
    return loaded


def _stated_options(
    key: str | None,
    labels: str | None,
    datadir: Path | None,
    invert: bool,
    bin_: int | None,
    poses: bool,
    mask: str | None,
) -> dict[str, Any]:
    """Return the options of a reader that were given."""
    options = {"key": key, "labels": labels, "datadir": datadir, "invert": invert, "bin": bin_, "poses": poses}
    options["mask"] = mask
    return {name: value for name, value in options.items() if value not in (None, False)}


def _told_of_training(run: Any) -> list[str]:
    log = run.read_log()
    last = log[-1]
    epochs = [line for line in log if "loss" in line]
    told = [
        f"{last['images_seen']:,} images seen in {last['step']:,} steps and {last['seconds'] / 60:.1f} minutes; "
        f"stopped by {last['stopped']} in epoch {max(last['epoch'], 1)}"
    ]
    if epochs:
        loss = ", ".join(f"{name} {value:.4g}" for name, value in epochs[-1]["loss"].items())
        told.append(f"Loss in the last whole epoch: {loss}")
    told.append(f"Next: dualcontrast evaluate {from_here(run.path)}")
    return told
