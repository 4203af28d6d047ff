"""What figures 5 and 6 have in common: a simulation, and runs of Table 1 trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dualcontrast.benchmarks.cells import Cell
from dualcontrast.benchmarks.outcome import Failure
from dualcontrast.benchmarks.plan import Source, TableRequest, make_plan
from dualcontrast.benchmarks.runner import Setup, run_cells
from dualcontrast.benchmarks.worker import is_trained
from dualcontrast.cryoet.simulation import Simulation, simulation_of
from dualcontrast.errors import RecipeError, SourceError, nearest
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder

DATA = "subtomograms"


@dataclass(frozen=True)
class FigureRequest:
    """The simulation that a figure shows, and how its methods are trained.

    Attributes
    ----------
    star : str
        The STAR file of a simulation.
    bin : int
        The factor by which subtomograms are binned for training.
    seed, budget, limit
        As in `plan.TableRequest`, with a single seed.
    identity : str
        The identity whose conformations are shown.
    """

    star: str
    bin: int = 1
    seed: int = 0
    budget: float | None = 10.0
    limit: int | None = None
    identity: str = "nucleosome"

    def simulation(self) -> Simulation:
        """Read the simulation.

        Raises
        ------
        SourceError, RecipeError
            The STAR file does not belong to a simulation, or the simulation has no such identity.
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
        """Plan the cells of some methods of Table 1, by method; everything is checked as in `make_plan`."""
        sources = {DATA: Source(self.star, {"bin": self.bin})}
        request = TableRequest("table1", sources, tuple(methods), (DATA,), (self.seed,), self.budget, self.limit)
        return {cell.row: cell for cell in make_plan(request).trainable()}


def run_folder(cell: Cell, setup: Setup) -> RunFolder:
    """Return the run folder of a cell."""
    return RunFolder(setup.work / cell.run_name)


def train_cells(cells: Sequence[Cell], setup: Setup, progress: Progress = silent) -> list[Failure]:
    """Train the cells that are not trained yet, as `run_cells` does."""
    return run_cells([cell for cell in cells if not is_trained(run_folder(cell, setup))], setup, progress)
