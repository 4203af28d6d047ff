"""Figure 6 of the paper: maps of clusters of codes, each named by the true state that it is most like."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dualcontrast.analysis.clustering import cluster
from dualcontrast.analysis.clusters import Numbers, read_clusters
from dualcontrast.benchmarks.figures import FigureRequest, run_folder, train_cells
from dualcontrast.benchmarks.outcome import Outcome, Value
from dualcontrast.benchmarks.pictures import Panel, draw_maps
from dualcontrast.benchmarks.rows import TABLE1
from dualcontrast.benchmarks.runner import Setup
from dualcontrast.benchmarks.worker import is_trained
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.errors import RunError
from dualcontrast.files import write_text
from dualcontrast.maps.average import average
from dualcontrast.maps.cluster_average import ClusterAverage, StateComparison
from dualcontrast.maps.truth import align_to
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder

METHODS = ("spatial_vae", "harmony", "dualcontrast")  # a, b and c of the figure
WITHIN = {"harmony": "content", "dualcontrast": "transformation"}  # d and e: the code that divides a cluster
MAPS = 4


@dataclass(frozen=True)
class Figure6Request(FigureRequest):
    """The simulation that the figure shows; the cluster of `identity` is divided further.

    Attributes
    ----------
    align : bool
        Find poses, instead of using those of the STAR file.
    """

    align: bool = False

    @property
    def name(self) -> str:
        """The name of the clusters in the run folders."""
        return "figure6-aligned" if self.align else "figure6"


@dataclass(frozen=True)
class Strip:
    """A row of the figure: the maps of one method's clusters.

    Attributes
    ----------
    method, code : str
        The method, and the code that was clustered.
    within : str
        The cluster that was divided further; empty for all subtomograms.
    folder : pathlib.Path
        Where the maps are.
    averages : list of ClusterAverage
        Of each cluster.
    """

    method: str
    code: str
    within: str
    folder: Path
    averages: list[ClusterAverage]

    @property
    def label(self) -> str:
        """The label of the row."""
        letter = "c" if self.code == "content" else "z"
        whole = f"{TABLE1[self.method].label}, {letter}"
        return f"{whole}\nwithin {self.within}" if self.within else whole


@dataclass(frozen=True)
class MapRow:
    """The numbers of a map.

    Attributes
    ----------
    method, code, within : str
        The label of the method, the clustered code, and the cluster that was divided further; empty for all
        subtomograms.
    map : str
        The file of the map.
    particles : int
        Subtomograms in the average.
    identity, conformation : str
        The true state with the highest correlation.
    correlation, resolution : float
        The correlation with that state, and the resolution against it, in Angstrom.
    share : float
        The fraction of the subtomograms that are in that state.
    most_common, share_of_most_common : str, float
        The state of most subtomograms, and their fraction.
    halves_resolution : float or None
        The resolution from half maps, in Angstrom.
    how : str
        How the subtomograms were averaged.
    """

    method: str
    code: str
    within: str
    map: str
    particles: int
    identity: str
    conformation: str
    correlation: float
    resolution: float
    share: float
    most_common: str
    share_of_most_common: float
    halves_resolution: float | None
    how: str

    def describe(self) -> str:
        """Write the numbers as a line."""
        source = f"{self.method}, {self.code}" + (f" within {self.within}" if self.within else "")
        return (
            f"  {source:<45} {self.particles:>6,}  most like {self.identity} {self.conformation} "
            f"({self.correlation:.3f}), which {100 * self.share:.0f} % of them are"
        )

    def as_dict(self) -> dict[str, Value]:
        """Convert the numbers to plain values."""
        return asdict(self)


def make_figure6(request: Figure6Request, setup: Setup, progress: Progress = silent) -> Outcome[MapRow]:
    """Make figure 6: train what is not trained yet, cluster codes, average each cluster, and name the maps.

    SpatialVAE, Harmony and DualContrast are those of Table 1, with its run folders. All subtomograms are divided
    into four clusters by their content codes. For Harmony and DualContrast, the cluster whose map is most like the
    requested identity is divided further, by the content code of the one and the transformation code of the other.

    Parameters
    ----------
    request
        The simulation, and how the methods are trained.
    setup
        Folders and devices.
    progress
        Called as cells, clusters and averages finish.

    Raises
    ------
    DualContrastError
        The STAR file does not belong to a simulation, or the simulation has no such identity; see also
        `make_plan`, `cluster` and `average`.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM; another call resumes.
    """
    simulation = request.simulation()
    cells = request.cells(METHODS)
    failures = train_cells(list(cells.values()), setup, progress)
    runs = {method: run for method, cell in cells.items() if is_trained(run := run_folder(cell, setup))}
    strips = [_strip(run, request, method, "content", progress) for method, run in runs.items()]
    for first in [strip for strip in strips if strip.method in WITHIN]:
        number = _most_like(first, request.identity)
        strips.append(_strip(runs[first.method], request, first.method, WITHIN[first.method], progress, number))
    rows = [MapRow(**row) for strip in strips for row in _rows(strip)]
    files = []
    if rows:
        files = [setup.out / "figure6.csv", setup.out / "figure6.png"]
        write_text(files[0], pd.DataFrame([row.as_dict() for row in rows]).to_csv(index=False))
        _draw(strips, simulation, files[1])
    return Outcome(rows, [row.describe() for row in rows], files, failures)


def _strip(
    run: RunFolder, request: Figure6Request, method: str, code: str, progress: Progress, within: int | None = None
) -> Strip:
    """Cluster a code of all subtomograms of a run, or of those of a cluster, and average each cluster."""
    name = request.name if within is None else f"{request.name}-{within}"
    parent = None if within is None else f"{request.name}:{within}"
    numbers = {kind: MAPS if kind == code else 1 for kind in ("content", "transformation")}
    _make_clusters(run, name, parent, numbers, progress)
    done = average(run, clusters=name, align=request.align, progress=progress)
    return Strip(method, code, "" if within is None else f"cluster {within}", done.folder, done.clusters)


def _make_clusters(
    run: RunFolder, name: str, parent: str | None, numbers: Mapping[str, int], progress: Progress
) -> None:
    """Cluster codes, unless an earlier call has done so."""
    with suppress(RunError):  # missing, or older than the weights
        if read_clusters(run, name).requested == Numbers(**numbers):
            return
    content, transformation = numbers["content"], numbers["transformation"]
    cluster(run, name=name, within=parent, content=content, transformation=transformation, progress=progress)


def _most_like(strip: Strip, identity: str) -> int:
    """Find the number of the content cluster whose map is most like any state of an identity."""

    def correlation(average: ClusterAverage) -> float:
        return max(state.correlation for state in average.truth if state.identity == identity)

    return max(strip.averages, key=correlation).cluster.content


def _best_match(average: ClusterAverage) -> StateComparison:
    """Return the state that an average is most like; the source is always a simulation."""
    best = average.best_match
    assert best is not None
    return best


def _rows(strip: Strip) -> list[dict[str, Any]]:
    """Collect the numbers of the maps of a strip."""
    rows = []
    for cluster_average in strip.averages:
        best = _best_match(cluster_average)
        most_common = max(cluster_average.truth, key=lambda state: state.share)
        rows.append(
            {
                "method": TABLE1[strip.method].label,
                "code": strip.code,
                "within": strip.within,
                "map": str(strip.folder / f"{cluster_average.name}.mrc"),
                "particles": cluster_average.particles,
                "identity": best.identity,
                "conformation": best.conformation,
                "correlation": best.correlation,
                "resolution": best.resolution,
                "share": best.share,
                "most_common": most_common.state,
                "share_of_most_common": most_common.share,
                "halves_resolution": cluster_average.resolution,
                "how": cluster_average.how,
            }
        )
    return rows


def _draw(strips: list[Strip], simulation: Simulation, path: Path) -> None:
    """Draw the true states, and every map rotated to the state that it is most like."""
    settings = simulation.settings
    templates = simulation.templates()
    states = [f"{state.identity} {state.conformation}" for state in settings.states]
    truth = [Panel(template, name) for template, name in zip(templates, states, strict=True)]
    rows = [("truth" if start == 0 else "", truth[start : start + MAPS]) for start in range(0, len(truth), MAPS)]
    for strip in strips:
        panels = []
        for cluster_average in strip.averages:
            best = _best_match(cluster_average)
            volume = read_map(strip.folder / f"{cluster_average.name}.mrc")[0]
            turned = align_to(templates[states.index(best.state)], volume, settings.voxel_size)
            name = f"{best.state} {best.correlation:.2f}\n{cluster_average.particles:,} subtomograms"
            panels.append(Panel(turned, name))
        rows.append((strip.label, panels))
    title = "Maps of clusters, named by the true state that they are most like, with the correlation"
    draw_maps(rows, MAPS, path, title)
