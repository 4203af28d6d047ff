"""The verbs `dualcontrast benchmark ...`: what this machine and these methods do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dualcontrast.cli.console import Console, from_here
from dualcontrast.cli.options import AsJson, Device, Quiet
from dualcontrast.cli.words import Verbs

if TYPE_CHECKING:
    from dualcontrast.benchmarks.outcome import Outcome

app = typer.Typer(help="Measure what this machine and these methods do.", cls=Verbs, rich_markup_mode=None)

Mnist = Annotated[str | None, typer.Option(metavar="PATH", help="MNIST: the folder of its IDX files.")]
LineMod = Annotated[str | None, typer.Option(metavar="PATH", help="LineMod: the renders, or a BOP folder.")]
Subtomograms = Annotated[
    str | None, typer.Option(metavar="STAR", help="Subtomograms: a STAR file, such as simulate makes.")
]
Bin = Annotated[int, typer.Option("--bin", metavar="N", help="Shrink subtomograms by this factor.", min=1)]
Methods = Annotated[
    list[str] | None,
    typer.Option("--methods", metavar="NAME", help="A row; give it repeatedly, or leave it out for all."),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="NAME", help="A data set; give it repeatedly, or leave it out for all."),
]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seeds", metavar="N", help="A seed; give it repeatedly; 0, 1 and 2 if left out.", min=0),
]
Budget = Annotated[
    float,
    typer.Option(
        metavar="MINUTES",
        help="Of training, of each cell: of one thread's own time, or of a GPU by the clock.",
        min=1e-9,
    ),
]
Limit = Annotated[
    int | None, typer.Option(metavar="N", help="Use so many images of each data set, drawn at random.", min=2)
]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Cells at a time; as many as there are cores, or GPUs, if left out.", min=1),
]
Results = Annotated[Path, typer.Option(metavar="DIR", help="Folder of stored results.")]
Work = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the cells' run folders.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables and pictures.")]
TablesOnly = Annotated[bool, typer.Option("--tables-only", help="Train nothing: tables of what is stored.")]


def _on_three_data_sets(table: str) -> Callable[..., None]:
    """Return the verb of a table of MNIST, LineMod and subtomograms."""

    def verb(
        mnist: Mnist = None,
        linemod: LineMod = None,
        subtomograms: Subtomograms = None,
        bin_: Bin = 1,
        methods: Methods = None,
        data: Data = None,
        seeds: Seeds = None,
        budget: Budget = 10.0,
        limit: Limit = None,
        jobs: Jobs = None,
        device: Device = "auto",
        results: Results = Path("results"),
        work: Work = Path("runs/benchmark"),
        out: Out = Path("tables"),
        tables_only: TablesOnly = False,
        quiet: Quiet = False,
        as_json: AsJson = False,
    ) -> None:
        sources = {"mnist": mnist, "linemod": linemod, "subtomograms": subtomograms}
        asked = _asked(methods, data, seeds, budget, limit, tables_only)
        _make(table, sources, bin_, asked, jobs, device, results, work, out, Console(quiet, as_json))

    return verb


app.command(
    "table1",
    help="Make the paper's Table 1: every method on three data sets.\n\nThose of MNIST, LineMod and subtomograms "
    "that are given.",
)(_on_three_data_sets("table1"))
app.command(
    "ablation", help="Take parts of two methods away, one at a time.\n\nOf DualContrast and of dualcontrast_plus."
)(_on_three_data_sets("ablation"))


@app.command("table2")
def table2(
    linemod: LineMod = None,
    methods: Methods = None,
    seeds: Seeds = None,
    budget: Budget = 10.0,
    limit: Limit = None,
    jobs: Jobs = None,
    device: Device = "auto",
    results: Results = Path("results"),
    work: Work = Path("runs/benchmark"),
    out: Out = Path("tables"),
    tables_only: TablesOnly = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make the paper's Table 2: DualContrast with each of seven views.

    On LineMod; --methods names views.
    """
    asked = _asked(methods, None, seeds, budget, limit, tables_only)
    _make("table2", {"linemod": linemod}, 1, asked, jobs, device, results, work, out, Console(quiet, as_json))


Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the training.", min=0)]
Simulated = Annotated[str, typer.Option("--subtomograms", metavar="STAR", help="The STAR file of a simulation.")]


@app.command("figure5")
def figure5(
    subtomograms: Simulated,
    bin_: Bin = 1,
    identity: Annotated[
        str, typer.Option(metavar="NAME", help="Whose conformations are coloured, and that Harmony sees alone.")
    ] = "nucleosome",
    seed: Seed = 0,
    budget: Budget = 10.0,
    limit: Limit = None,
    jobs: Jobs = None,
    device: Device = "auto",
    results: Results = Path("results"),
    work: Work = Path("runs/benchmark"),
    out: Out = Path("tables"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make the paper's figure 5: codes of subtomograms in the plane, by identity and by conformation.

    Trains what Table 1 has not trained yet, with the same run folders.
    """
    from dualcontrast.benchmarks.figure5 import make_figure5
    from dualcontrast.benchmarks.figures import FigureRequest
    from dualcontrast.benchmarks.runner import Setup, job_devices

    console = Console(quiet, as_json)
    request = FigureRequest(subtomograms, bin_, seed, budget, limit, identity)
    with console.progress() as progress:
        outcome = make_figure5(request, Setup(results, work, out, job_devices(device, jobs)), progress)
    _tell(outcome, console)


@app.command("figure6")
def figure6(
    subtomograms: Simulated,
    bin_: Bin = 1,
    identity: Annotated[
        str, typer.Option(metavar="NAME", help="Whose cluster is sorted further, into conformations.")
    ] = "nucleosome",
    align: Annotated[bool, typer.Option("--align", help="Find poses, in place of those that are stated.")] = False,
    seed: Seed = 0,
    budget: Budget = 10.0,
    limit: Limit = None,
    jobs: Jobs = None,
    device: Device = "auto",
    results: Results = Path("results"),
    work: Work = Path("runs/benchmark"),
    out: Out = Path("tables"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make the paper's figure 6: maps of clusters by SpatialVAE, Harmony and DualContrast, named by the truth.

    Trains what Table 1 has not trained yet, with the same run folders.
    """
    from dualcontrast.benchmarks.figure6 import Figure6Request, make_figure6
    from dualcontrast.benchmarks.runner import Setup, job_devices

    console = Console(quiet, as_json)
    request = Figure6Request(subtomograms, bin_, seed, budget, limit, identity, align)
    with console.progress() as progress:
        outcome = make_figure6(request, Setup(results, work, out, job_devices(device, jobs)), progress)
    _tell(outcome, console)


def _asked(
    methods: list[str] | None,
    data: list[str] | None,
    seeds: list[int] | None,
    budget: float,
    limit: int | None,
    tables_only: bool,
) -> dict[str, Any]:
    """Return what of a table was asked for, as `TableRequest` takes it."""
    return {
        "rows": tuple(methods or ()),
        "data": tuple(data or ()),
        "seeds": tuple(dict.fromkeys(seeds)) if seeds else (0, 1, 2),
        "budget": budget,
        "limit": limit,
        "tables_only": tables_only,
    }


def _make(
    table: str,
    paths: dict[str, str | None],
    bin_: int,
    asked: dict[str, Any],
    jobs: int | None,
    device: str,
    results: Path,
    work: Path,
    out: Path,
    console: Console,
) -> None:
    from dualcontrast.benchmarks.plan import Source, TableRequest
    from dualcontrast.benchmarks.runner import Setup, job_devices
    from dualcontrast.benchmarks.table import make_table

    options = {"subtomograms": {"bin": bin_}}
    sources = {name: Source(path, options.get(name, {})) for name, path in paths.items() if path is not None}
    with console.progress() as progress:
        setup = Setup(results, work, out, job_devices(device, jobs))
        outcome = make_table(TableRequest(table, sources, **asked), setup, progress)
    _tell(outcome, console)


def _tell(outcome: Outcome[Any], console: Console) -> None:
    """Print what was made and which cells failed, and exit with their status if there are any."""
    console.result(outcome.as_dict(), outcome.describe(from_here))
    for failure in outcome.failures:
        print(f"dualcontrast: {failure.cell} failed: {failure.reason}", file=sys.stderr)
    if outcome.failures:
        raise typer.Exit(2 if all(failure.status == 2 for failure in outcome.failures) else 1)


@app.command("cell", hidden=True)
def cell(
    results: Results,
    work: Work,
    device: Device = "cpu",
) -> None:
    """Do one cell of a table, told on the standard input; the tables start it in processes of its own."""
    from dualcontrast.benchmarks.cells import Cell
    from dualcontrast.benchmarks.worker import exit_when_closed, run_cell

    wanted = Cell.from_json(sys.stdin.readline())
    exit_when_closed(sys.stdin.fileno())
    run_cell(wanted, results, work, device)


@app.command("throughput")
def throughput(
    rounds: Annotated[int, typer.Option(metavar="N", help="Rounds to take the medians of.", min=1)] = 5,
    steps: Annotated[int, typer.Option(metavar="N", help="Batches of 100 images a round.", min=1)] = 100,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Time training beside the authors' own sequence of passes.

    On images of MNIST's size.
    """
    from dualcontrast.benchmarks import throughput as benchmarks

    console = Console(quiet, as_json)
    with console.progress() as progress:
        measured = benchmarks.throughput(rounds, steps, progress)
    console.result(
        asdict(measured),
        [
            f"Images a second of training, batch 100, {measured.threads} thread(s), median of {rounds} rounds:",
            *(
                f"  {name:<32} {rate:8,.0f}   x {measured.ratios[name]:.2f}"
                for name, rate in measured.rates.items()
            ),
        ],
    )
