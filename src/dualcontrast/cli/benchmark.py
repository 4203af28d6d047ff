"""The verbs `dualcontrast benchmark ...`: the paper's tables and figures, and speed."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dualcontrast.cli.app import app as root
from dualcontrast.cli.console import Console, relative
from dualcontrast.cli.options import Device
from dualcontrast.cli.usage import VerbGroup
from dualcontrast.cli.verb import verb

if TYPE_CHECKING:
    from dualcontrast.benchmarks.outcome import Outcome
    from dualcontrast.benchmarks.runner import Setup

app = typer.Typer(
    help="Make the paper's tables and figures, and measure speed.", cls=VerbGroup, rich_markup_mode=None
)
root.add_typer(app, name="benchmark")

LineMod = Annotated[str | None, typer.Option(metavar="PATH", help="LineMod: the renders, or a BOP folder.")]
Bin = Annotated[int, typer.Option(metavar="N", help="Bin subtomograms by this factor.", min=1)]
Results = Annotated[Path, typer.Option(metavar="DIR", help="Folder of stored results.")]
Work = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the cells' run folders.")]


@dataclass(frozen=True)
class CellOptions:
    """How the cells of a table or figure are trained, and where the output goes."""

    budget: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            help="Training time of each cell: processor time of one thread, or wall-clock time on a GPU.",
            min=1e-9,
        ),
    ] = 10.0
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Use only this many images of each data set, chosen at random.", min=2),
    ] = None
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Cells trained at the same time; one for each core or GPU if left out.", min=1
        ),
    ] = None
    device: Device = "auto"
    results: Results = Path("results")
    work: Work = Path("runs/benchmark")
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables and pictures.")] = Path("tables")

    def setup(self) -> Setup:
        """Make the setup of a table or a figure."""
        from dualcontrast.benchmarks.runner import Setup, job_devices

        return Setup(self.results, self.work, self.out, job_devices(self.device, self.jobs))


@dataclass(frozen=True)
class DataOptions:
    """The three data sets of a table."""

    mnist: Annotated[str | None, typer.Option(metavar="PATH", help="MNIST: the folder of its IDX files.")] = None
    linemod: LineMod = None
    subtomograms: Annotated[
        str | None, typer.Option(metavar="STAR", help="Subtomograms: a STAR file, such as simulate writes.")
    ] = None
    bin: Bin = 1
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A data set; give it repeatedly, or leave it out for all."),
    ] = None


@dataclass(frozen=True)
class TableOptions:
    """Which part of a table is made."""

    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|MODULE:CLASS",
            help="A row, or in Table 1 a method of another package; give it repeatedly, or leave it out for all.",
        ),
    ] = None
    seeds: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="A random seed; give it repeatedly; 0, 1 and 2 if left out.", min=0),
    ] = None
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Train nothing; only write tables of stored results.")
    ] = False


@dataclass(frozen=True)
class FigureOptions:
    """The simulation and the training that a figure shows."""

    subtomograms: Annotated[str, typer.Option(metavar="STAR", help="The STAR file of a simulation.")]
    bin: Bin = 1
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the training.", min=0)] = 0


@verb(app)
def table1(*, data: DataOptions, table: TableOptions, cells: CellOptions, console: Console) -> None:
    """Make the paper's Table 1: every method on three data sets.

    Only on those of MNIST, LineMod and subtomograms that are given.
    """
    _make_table("table1", data, table, cells, console)


@verb(app)
def ablation(*, data: DataOptions, table: TableOptions, cells: CellOptions, console: Console) -> None:
    """Remove parts of two methods, one at a time.

    Of DualContrast and of dualcontrast_plus.
    """
    _make_table("ablation", data, table, cells, console)


@verb(app)
def table2(*, linemod: LineMod = None, table: TableOptions, cells: CellOptions, console: Console) -> None:
    """Make the paper's Table 2: DualContrast with each of seven views.

    On LineMod; --methods names views.
    """
    _make_table("table2", DataOptions(linemod=linemod), table, cells, console)


@verb(app)
def figure5(
    *,
    simulation: FigureOptions,
    identity: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Protein whose conformations are coloured, and that Harmony is trained on."
        ),
    ] = "nucleosome",
    cells: CellOptions,
    console: Console,
) -> None:
    """Make the paper's figure 5: codes of subtomograms in two dimensions, by identity and by conformation.

    Trains what Table 1 has not trained yet, in the same run folders.
    """
    from dualcontrast.benchmarks.figure5 import make_figure5
    from dualcontrast.benchmarks.figures import FigureRequest

    star, bin_, seed = simulation.subtomograms, simulation.bin, simulation.seed
    request = FigureRequest(star, bin_, seed, cells.budget, cells.limit, identity)
    with console.progress() as progress:
        outcome = make_figure5(request, cells.setup(), progress)
    _print(outcome, console)


@verb(app)
def figure6(
    *,
    simulation: FigureOptions,
    identity: Annotated[
        str, typer.Option(metavar="NAME", help="Protein whose cluster is divided further, into conformations.")
    ] = "nucleosome",
    align: Annotated[
        bool, typer.Option("--align", help="Search for poses, instead of using those in the STAR file.")
    ] = False,
    cells: CellOptions,
    console: Console,
) -> None:
    """Make the paper's figure 6: maps of clusters by SpatialVAE, Harmony and DualContrast, named by the truth.

    Trains what Table 1 has not trained yet, in the same run folders.
    """
    from dualcontrast.benchmarks.figure6 import Figure6Request, make_figure6

    star, bin_, seed = simulation.subtomograms, simulation.bin, simulation.seed
    request = Figure6Request(star, bin_, seed, cells.budget, cells.limit, identity, align)
    with console.progress() as progress:
        outcome = make_figure6(request, cells.setup(), progress)
    _print(outcome, console)


@verb(app)
def throughput(
    *,
    rounds: Annotated[
        int, typer.Option(metavar="N", help="Number of rounds; the result is their median.", min=1)
    ] = 5,
    steps: Annotated[int, typer.Option(metavar="N", help="Batches of 100 images in each round.", min=1)] = 100,
    console: Console,
) -> None:
    """Measure the speed of training, next to the authors' own sequence of passes.

    On images of MNIST's size.
    """
    from dualcontrast.benchmarks import throughput as benchmarks

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


@verb(app, hidden=True)
def cell(*, results: Results, work: Work, device: Device = "cpu") -> None:
    """Train and score one cell of a table, given on standard input. Tables start it in processes of its own."""
    from dualcontrast.benchmarks.cells import Cell
    from dualcontrast.benchmarks.worker import exit_when_closed, run_cell

    requested = Cell.from_json(sys.stdin.readline())
    exit_when_closed(sys.stdin.fileno())
    run_cell(requested, results, work, device)


def _make_table(name: str, data: DataOptions, table: TableOptions, cells: CellOptions, console: Console) -> None:
    """Make a table, and print its main numbers."""
    from dualcontrast.benchmarks.plan import Source, TableRequest
    from dualcontrast.benchmarks.table import make_table

    paths = {"mnist": data.mnist, "linemod": data.linemod, "subtomograms": data.subtomograms}
    options = {"subtomograms": {"bin": data.bin}}
    sources = {key: Source(path, options.get(key, {})) for key, path in paths.items() if path is not None}
    request = TableRequest(
        name,
        sources,
        rows=tuple(table.methods or ()),
        data=tuple(data.data or ()),
        seeds=tuple(dict.fromkeys(table.seeds)) if table.seeds else (0, 1, 2),
        budget=cells.budget,
        limit=cells.limit,
        tables_only=table.tables_only,
    )
    with console.progress() as progress:
        outcome = make_table(request, cells.setup(), progress)
    _print(outcome, console)


def _print(outcome: Outcome[Any], console: Console) -> None:
    """Print what was made and which cells failed, and exit with their status if any did."""
    console.result(outcome.as_dict(), outcome.describe(relative))
    for failure in outcome.failures:
        print(f"dualcontrast: {failure.cell} failed: {failure.reason}", file=sys.stderr)
    if outcome.failures:
        raise typer.Exit(2 if all(failure.status == 2 for failure in outcome.failures) else 1)
