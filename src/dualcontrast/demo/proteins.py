"""The demo: packaged models of proteins are simulated; identities are found without labels, and averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from dualcontrast.api import Run, simulate, train
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.errors import RunError
from dualcontrast.figures.surfaces import draw_surfaces
from dualcontrast.files import JSONObject
from dualcontrast.maps.average import Averages
from dualcontrast.maps.cluster_average import ClusterAverage, ClusterId
from dualcontrast.maps.refinement import Search
from dualcontrast.maps.truth import align_to
from dualcontrast.progress import Progress, silent

BIN = 2
ITERATIONS, DEGREES = 4, 20.0  # of the search for poses
TARGET_ARI, TARGET_MARGIN = 0.95, 0.1


@dataclass(frozen=True)
class Identity:
    """An identity that was found, compared with the truth.

    Attributes
    ----------
    cluster : ClusterId
        Its cluster.
    subtomograms : int
        The number of its subtomograms.
    identity : str
        The true identity of most of them.
    share : float
        The fraction of them that have it.
    resolution : float
        Of the average, in Angstrom, from its halves.
    state : str
        The state of that identity whose true map the average correlates with most.
    correlation : float
        With that map, after alignment.
    other : str
        The state of another identity whose true map it correlates with most.
    other_correlation : float
        With that map, after alignment.
    """

    cluster: ClusterId
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
        """The difference of the two correlations."""
        return self.correlation - self.other_correlation

    def as_dict(self) -> JSONObject:
        """Return plain values."""
        return {**asdict(self), "cluster": self.cluster.name, "margin": round(self.margin, 4)}

    def describe(self) -> list[str]:
        """Return the numbers in two lines."""
        return [
            f"  content{self.cluster.content}: {self.subtomograms:,} subtomograms, {100 * self.share:.1f} % of "
            f"them {self.identity}; their average reaches {self.resolution:.0f} A",
            f"    and correlates with the true {self.state} by {self.correlation:.3f}, with the {self.other} by "
            f"{self.other_correlation:.3f}: {self.margin:+.3f} ({_target(self.margin, TARGET_MARGIN)})",
        ]


@dataclass(frozen=True)
class Demo:
    """The results of the demo.

    Attributes
    ----------
    run : Run
        The trained run, with clusters and averages.
    simulation : Simulation
        The data that it was trained on.
    ari : float
        The adjusted Rand index of the content clusters with the true identities.
    found : list of Identity
        One of each content cluster.
    figures : list of Path
        The averages beside the truth, their slices, the counts of each cluster, and examples of the data.
    report : Path
        The HTML page.
    """

    run: Run
    simulation: Simulation
    ari: float
    found: list[Identity]
    figures: list[Path]
    report: Path

    def as_dict(self) -> JSONObject:
        """Return plain values."""
        return {
            "run": str(self.run.path),
            "star": str(self.simulation.star),
            "ari": self.ari,
            "found": [one.as_dict() for one in self.found],
            "figures": [str(figure) for figure in self.figures],
            "report": str(self.report),
        }

    def describe(self, shortened: Callable[[Path], Path]) -> list[str]:
        """Return the results and the files to look at, a line each."""
        settings = self.simulation.settings
        proteins = dict.fromkeys(state.identity for state in settings.states)
        figures = iter(map(shortened, self.figures))
        return [
            f"{sum(settings.counts):,} subtomograms of {len(proteins)} proteins were simulated: turned at random, "
            f"seen by tilts of up to {settings.tilt_range:g} degrees,",
            f"at a signal-to-noise ratio of {settings.snr:g}. Poses, identities and their number were not told.",
            "",
            f"{len(self.found)} identities were found. With the true ones they agree by an adjusted Rand index of "
            f"{self.ari:.3f} ({_target(self.ari, TARGET_ARI)}).",
            *(line for one in self.found for line in one.describe()),
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
        Receives every stage.

    Raises
    ------
    RunError
        The folder is not empty, and not to be overwritten.
    """
    run = Run(out)
    existing = sorted(path.name for path in run.path.iterdir()) if run.path.is_dir() else []
    if existing and not overwrite:
        raise RunError(
            f"{run.path}: already holds {existing[0]}; replace it with `overwrite=True`, or choose another `out`"
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
    found = [_identity(average) for average in averages.clusters]
    figures = [_draw_found(run, simulation, averages, found)]
    figures += [averages.figure, run.figure_path("clusters_main")]
    figures += [simulation.path / "figures" / "subtomograms.png", run.figure_path("pairs")]
    page = run.report(seed=seed, progress=progress).path
    return Demo(run, simulation, clusters.agreement["content"].ari, found, figures, page)


def _identity(average: ClusterAverage) -> Identity:
    """Name the identity of most subtomograms of a cluster, and compare the average with it and with the others."""
    shares = dict.fromkeys((state.identity for state in average.truth), 0.0)
    for state in average.truth:
        shares[state.identity] += state.share
    identity = max(shares, key=lambda name: shares[name])
    same, other = (
        max((s for s in average.truth if (s.identity == identity) is wanted), key=lambda s: s.correlation)
        for wanted in (True, False)
    )
    return Identity(
        cluster=average.cluster,
        subtomograms=average.particles,
        identity=identity,
        share=round(shares[identity], 4),
        resolution=average.resolution,
        state=same.state,
        correlation=same.correlation,
        other=other.state,
        other_correlation=other.correlation,
    )


def _draw_found(run: Run, simulation: Simulation, averages: Averages, found: list[Identity]) -> Path:
    """Draw the surface of every average beside the true map that it is aligned to."""
    settings = simulation.settings
    states = (f"{state.identity} {state.conformation}" for state in settings.states)
    templates = dict(zip(states, simulation.templates(), strict=True))
    maps, names, classes = [], [], []
    for number, one in enumerate(found):
        average = read_map(averages.folder / f"{one.cluster.name}.mrc")[0]
        truth = templates[one.state]
        maps += [align_to(truth, average, settings.voxel_size), truth]
        names += [f"found: {one.subtomograms:,} subtomograms", f"true: {one.state}"]
        classes += [number, number]
    path = run.figure_path("found")
    draw_surfaces(
        maps, names, path, "What was found, beside the truth", voxel_size=settings.voxel_size, classes=classes
    )
    return path


def _target(value: float, target: float) -> str:
    return f"wanted: {target:g}{'' if value >= target else ', not reached'}"
