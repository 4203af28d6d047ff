"""The demo: packaged models of proteins are simulated; identities are found without labels, and averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dualcontrast.api import Run, simulate, train
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.errors import RunError
from dualcontrast.figures.surfaces import draw_surfaces
from dualcontrast.maps.alignment import pose_of_map
from dualcontrast.maps.averages import Averages
from dualcontrast.maps.averaging import aligned
from dualcontrast.maps.refinement import Search, initial_cutoff
from dualcontrast.progress import Progress, silent

BIN = 2
ITERATIONS, DEGREES = 4, 20.0  # of the search for poses
WANTED_ARI, WANTED_MARGIN = 0.95, 0.1


@dataclass(frozen=True)
class Found:
    """One identity that was found.

    Attributes
    ----------
    cluster : str
        The cluster's name.
    subtomograms : int
        How many it holds.
    identity : str
        That of most of them.
    share : float
        How many of them have it.
    resolution : float
        Of the average, in Angstrom, by its halves.
    state : str
        The true map of that identity that the average is most like.
    correlation : float
        With that map, aligned to it.
    other : str
        The most like true map of another identity.
    other_correlation : float
        With that, aligned to it in the same way.
    """

    cluster: str
    subtomograms: int
    identity: str
    share: float
    resolution: float
    state: str
    correlation: float
    other: str
    other_correlation: float

    @property
    def margin(self) -> float:
        """By how much the average is more like its own map."""
        return self.correlation - self.other_correlation


@dataclass(frozen=True)
class Demo:
    """What the demo leaves.

    Attributes
    ----------
    run : Run
        The trained run, with clusters and averages.
    simulation : Simulation
        What it was trained on.
    ari : float
        The adjusted Rand index of the content clusters with the true identities.
    found : list of Found
        The identities.
    figures : list of Path
        What was found beside the truth, the averages, the counts of each cluster, and what went in.
    report : Path
        All of it on one page.
    """

    run: Run
    simulation: Simulation
    ari: float
    found: list[Found]
    figures: list[Path]
    report: Path

    def as_dict(self) -> dict[str, Any]:
        """Return the whole as plain values."""
        return {
            "run": str(self.run.path),
            "star": str(self.simulation.star),
            "ari": self.ari,
            "found": [{**asdict(one), "margin": round(one.margin, 4)} for one in self.found],
            "figures": [str(figure) for figure in self.figures],
            "report": str(self.report),
        }

    def describe(self, shortened: Callable[[Path], Path]) -> list[str]:
        """Return what was found, where to look, and what the numbers mean."""
        settings = self.simulation.settings
        proteins = dict.fromkeys(state.identity for state in settings.states)
        figures = iter(map(shortened, self.figures))
        return [
            f"{sum(settings.counts):,} subtomograms of {len(proteins)} proteins were simulated: turned at random, "
            f"seen by tilts of up to {settings.tilt_range:g} degrees,",
            f"at a signal-to-noise ratio of {settings.snr:g}. Poses, identities and their number were not told.",
            "",
            f"{len(self.found)} identities were found. With the true ones they agree by an adjusted Rand index of "
            f"{self.ari:.3f} ({_reached(self.ari, WANTED_ARI)}).",
            *(line for one in self.found for line in _told(one)),
            "",
            "Look at:",
            f"  {next(figures)}  every average beside the true map that it is most like",
            f"  {next(figures)}  slices of the averages, and how far their halves agree",
            f"  {next(figures)}  how many of each protein are in each cluster",
            f"  {next(figures)}  what went in: a subtomogram of each state",
            f"  {next(figures)}  two views of some subtomograms, from which contents are learned",
            f"Maps: {shortened(self.run.averages_folder('main'))}",
            f"Report: {shortened(self.report)}; open it in a browser",
            "On your own: dualcontrast train particles.star --out runs/a",
        ]


def demo(out: str | Path, *, seed: int = 0, overwrite: bool = False, progress: Progress = silent) -> Demo:
    """Simulate, train, cluster, average, compare with the truth, and report.

    Parameters
    ----------
    out
        The run folder to make; the simulation lies within it.
    seed
        Of the simulation, the training, the clusters and the averages.
    overwrite
        Replace an earlier demo there.
    progress
        Told of every stage.

    Raises
    ------
    RunError
        The folder has something in it that is not to be overwritten.
    """
    run = Run(out)
    there = sorted(path.name for path in run.path.iterdir()) if run.path.is_dir() else []
    if there and not overwrite:
        raise RunError(
            f"{run.path}: already holds {there[0]}; replace it with `overwrite=True`, or choose another `out`"
        )
    simulation = simulate(
        run.path / "simulation", recipe="demo", settings={"seed": seed}, overwrite=True, progress=progress
    )
    run = train(
        simulation.star,
        out=run.path,
        recipe="demo",
        settings={"training": {"seed": seed}},
        bin=BIN,
        overwrite=True,
        show_pairs=True,
        progress=progress,
    )
    clusters = run.cluster(transformation=1, seed=seed, progress=progress)
    averages = run.average(by="builtin", align=True, search=Search(ITERATIONS, DEGREES, seed), progress=progress)
    found = [_found(unit) for unit in averages.units]
    figures = [_draw(run, simulation, averages, found)]
    figures += [averages.figure, run.figure_path("clusters_main")]
    figures += [simulation.path / "figures" / "subtomograms.png", run.figure_path("pairs")]
    page = run.report(seed=seed, progress=progress).path
    return Demo(run, simulation, clusters.agreement["content"].ari, found, figures, page)


def _found(unit: dict[str, Any]) -> Found:
    """Return what an average is of, and how like it is to its own map and to those of others."""
    truth: list[dict[str, Any]] = unit["truth"]
    shares = {state["identity"]: 0.0 for state in truth}
    for state in truth:
        shares[state["identity"]] += state["share"]
    identity = max(shares, key=lambda name: shares[name])
    own, other = (
        max((s for s in truth if (s["identity"] == identity) is same), key=lambda s: s["correlation"])
        for same in (True, False)
    )
    return Found(
        unit["cluster"],
        unit["particles"],
        identity,
        round(shares[identity], 4),
        unit["resolution"],
        _name(own["identity"], own["conformation"]),
        own["correlation"],
        _name(other["identity"], other["conformation"]),
        other["correlation"],
    )


def _draw(run: Run, simulation: Simulation, averages: Averages, found: list[Found]) -> Path:
    """Draw the surface of every average beside that of the true map, to which it was turned."""
    settings = simulation.settings
    states = (_name(state.identity, state.conformation) for state in settings.states)
    templates = dict(zip(states, simulation.templates(), strict=True))
    maps, names, classes = [], [], []
    for number, one in enumerate(found):
        average = read_map(averages.folder / f"{one.cluster}.mrc")[0]
        truth = templates[one.state]
        pose = pose_of_map(truth, average, cutoff=initial_cutoff(settings.box, settings.voxel_size))
        maps += [aligned(torch.from_numpy(average)[None], *pose)[0].numpy(), truth]
        names += [f"found: {one.subtomograms:,} subtomograms", f"true: {one.state}"]
        classes += [number, number]
    path = run.figure_path("found")
    draw_surfaces(
        maps, names, path, "What was found, beside the truth", voxel_size=settings.voxel_size, classes=classes
    )
    return path


def _told(one: Found) -> list[str]:
    name = one.cluster.split("_")[0]
    return [
        f"  {name}: {one.subtomograms:,} subtomograms, {100 * one.share:.1f} % of them {one.identity}; their "
        f"average reaches {one.resolution:.0f} A",
        f"    and correlates with the true {one.state} by {one.correlation:.3f}, with the {one.other} by "
        f"{one.other_correlation:.3f}: {one.margin:+.3f} ({_reached(one.margin, WANTED_MARGIN)})",
    ]


def _reached(value: float, wanted: float) -> str:
    return f"wanted: {wanted:g}{'' if value >= wanted else ', not reached'}"


def _name(identity: str, conformation: str) -> str:
    return f"{identity} {conformation}"
