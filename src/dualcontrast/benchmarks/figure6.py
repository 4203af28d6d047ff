"""Figure 6 of the paper: maps of the clusters that codes make, each named by the truth it is most like."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dualcontrast.analysis.clusters import cluster, read_clusters
from dualcontrast.benchmarks.output import Made
from dualcontrast.benchmarks.pictures import Panel, draw_maps
from dualcontrast.benchmarks.rows import TABLE1
from dualcontrast.benchmarks.runner import places_of
from dualcontrast.benchmarks.simulations import OfSimulation, run_of, trained
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
WITHIN = {"harmony": "content", "dualcontrast": "transformation"}  # d and e: the code that is sorted further
MAPS = 4


@dataclass(frozen=True)
class Asked(OfSimulation):
    """What the figure is made of; of the identity that is asked for, a cluster is sorted further.

    Attributes
    ----------
    align : bool
        Find poses, in place of those that the STAR states.
    """

    align: bool = False

    @property
    def name(self) -> str:
        """What the clusters are called in the run folders."""
        return "figure6-aligned" if self.align else "figure6"


@dataclass(frozen=True)
class Strip:
    """A row of the figure: the maps of one method's clusters.

    Attributes
    ----------
    method, code : str
        Whose codes were sorted.
    within : str
        The cluster that was sorted further; an empty text where all subtomograms were.
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
        """What the row is called."""
        letter = "c" if self.code == "content" else "z"
        whole = f"{TABLE1[self.method].label}, {letter}"
        return f"{whole}\nwithin {self.within}" if self.within else whole


class Figure6(Made):
    """The figure as one mapping a map, the CSV with these as its rows, and the picture."""

    def told(self) -> list[str]:
        """Return one line a map."""
        told = []
        for row in self.rows:
            of = f"{row['method']}, {row['code']}" + (f" within {row['within']}" if row["within"] else "")
            told.append(
                f"  {of:<45} {row['particles']:>6,}  most like {row['identity']} {row['conformation']} "
                f"({row['correlation']:.3f}), of which {100 * row['share']:.0f} % are"
            )
        return told


def figure6(
    asked: Asked,
    *,
    results: Path,
    work: Path,
    out: Path,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Figure6:
    """Make figure 6: train what is not trained yet, sort codes into four clusters, average each, name the maps.

    SpatialVAE, Harmony and DualContrast are those of Table 1, with its run folders. All subtomograms are sorted by
    their content codes. Of Harmony and DualContrast, the cluster whose map is most like the identity asked for is
    sorted further, by the content code of the one and the transformation code of the other.

    Parameters
    ----------
    asked
        What it is made of.
    results, work, out, jobs, device
        As in `benchmark.benchmark`.
    progress
        Told of cells, clusters and averages.

    Raises
    ------
    DualContrastError
        The STAR is not of a simulation, or has no such identity; or as `plan_of`, `cluster` and `average` do.
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM; another call goes on.
    """
    places = places_of(device, jobs)
    simulation = asked.simulation()
    cells = asked.cells(METHODS)
    failed = trained(list(cells.values()), results, work, places, progress)
    runs = {row: run_of(work, cell) for row, cell in cells.items() if is_trained(run_of(work, cell))}
    strips = [_strip(run, asked, method, "content", progress) for method, run in runs.items()]
    for first in [strip for strip in strips if strip.method in WITHIN]:
        number = _most_like(first, asked.identity)
        strips.append(_strip(runs[first.method], asked, first.method, WITHIN[first.method], progress, number))
    rows = [row for strip in strips for row in _rows(strip)]
    files = []
    if rows:
        files = [out / "figure6.csv", out / "figure6.png"]
        write_text(files[0], pd.DataFrame(rows).to_csv(index=False))
        _draw(strips, simulation, files[1])
    return Figure6(rows, files, failed)


def _strip(
    run: RunFolder, asked: Asked, method: str, code: str, progress: Progress, within: int | None = None
) -> Strip:
    """Sort all subtomograms of a run, or those of a cluster, by a code, and average each cluster."""
    name = asked.name if within is None else f"{asked.name}-{within}"
    parent = None if within is None else f"{asked.name}:{within}"
    numbers = {kind: MAPS if kind == code else 1 for kind in ("content", "transformation")}
    _make_clusters(run, name, parent, numbers, progress)
    done = average(run, clusters=name, align=asked.align, progress=progress)
    return Strip(method, code, "" if within is None else f"cluster {within}", done.folder, done.clusters)


def _make_clusters(
    run: RunFolder, name: str, parent: str | None, numbers: Mapping[str, int], progress: Progress
) -> None:
    """Sort codes, where an earlier call has not done so."""
    with suppress(RunError):  # missing, or older than the weights
        if read_clusters(run, name).described["asked"] == numbers:
            return
    content, transformation = numbers["content"], numbers["transformation"]
    cluster(run, name=name, within=parent, content=content, transformation=transformation, progress=progress)


def _most_like(strip: Strip, identity: str) -> int:
    """Return the number of the content cluster whose map is most like any state of an identity."""

    def correlation(average: ClusterAverage) -> float:
        return max(state.correlation for state in average.truth if state.identity == identity)

    return max(strip.averages, key=correlation).cluster.content


def _best_match(average: ClusterAverage) -> StateComparison:
    """Return the state that an average is most like; the source is always a simulation."""
    best = average.best_match
    assert best is not None
    return best


def _rows(strip: Strip) -> list[dict[str, Any]]:
    """Return what the CSV holds of a strip's maps."""
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
    """Draw the truth, and every map turned to the truth that it is most like."""
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
    draw_maps(rows, MAPS, path, "Maps of clusters, named by the truth they are most like, with the correlation")
