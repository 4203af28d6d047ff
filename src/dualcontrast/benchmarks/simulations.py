"""What figures of a simulation are made of: its truth, and the runs of Table 1 on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.output import Failed
from dualcontrast.benchmarks.plan import Source, Wanted, plan_of
from dualcontrast.benchmarks.runner import reason_of_failure, run_cells
from dualcontrast.benchmarks.worker import is_trained
from dualcontrast.cryoet.simulation import Simulation, simulation_of
from dualcontrast.errors import RecipeError, SourceError, nearest
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder

DATA = "subtomograms"


@dataclass(frozen=True)
class OfSimulation:
    """What a figure is made of.

    Attributes
    ----------
    star : str
        The STAR of a simulation.
    bin : int
        The factor by which subtomograms are shrunk for training.
    seed, budget, limit
        Of the cells of Table 1, as in `plan.Wanted`.
    identity : str
        The one whose conformations are looked at.
    """

    star: str
    bin: int = 1
    seed: int = 0
    budget: float | None = 10.0
    limit: int | None = None
    identity: str = "nucleosome"

    def simulation(self) -> Simulation:
        """Return the simulation.

        Raises
        ------
        SourceError, RecipeError
            The STAR is not of a simulation, or that has no such identity.
        """
        simulation = simulation_of(self.star)
        if simulation is None:
            raise SourceError(
                f"{self.star}: not the STAR file of a simulation, whose truth the figure shows; give one that "
                "`dualcontrast.simulate()` wrote"
            )
        identities = {state.identity for state in simulation.settings.states}
        if self.identity not in identities:
            raise RecipeError(f"{self.star}: has no {self.identity}; {nearest(self.identity, identities)}")
        return simulation

    def cells(self, methods: Sequence[str]) -> dict[str, Cell]:
        """Return the cells of Table 1 of some methods, by method; all is checked, as `plan_of` does."""
        sources = {DATA: Source(self.star, {"bin": self.bin})}
        wanted = Wanted("table1", sources, tuple(methods), (DATA,), (self.seed,), self.budget, self.limit)
        return {cell.row: cell for cell in plan_of(wanted).trainable()}


def run_of(work: Path, cell: Cell) -> RunFolder:
    """Return the run folder of a cell."""
    return RunFolder(work / cell.run_name)


def trained(
    cells: Sequence[Cell], results: Path, work: Path, places: Sequence[str], progress: Progress = silent
) -> Failed:
    """Train the cells that are not trained yet, as `run_cells` does, and return those that failed."""
    untrained = {cell.name: cell for cell in cells if not is_trained(run_of(work, cell))}
    failed = run_cells(list(untrained.values()), results, work, places, progress) if untrained else {}
    return {name: (status, reason_of_failure(work, untrained[name])) for name, status in failed.items()}
