"""Averages: a map of every cluster of subtomograms, its resolution, and its likeness to the truth if known."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dualcontrast.analysis.clusters import Clusters, read_clusters
from dualcontrast.errors import RunError
from dualcontrast.files import beside, put_in_place, write_text
from dualcontrast.maps import relion
from dualcontrast.maps.averager import Averager, With, read_unit, rows_digest, unit_name
from dualcontrast.maps.figure import draw_averages
from dualcontrast.maps.refinement import Search
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder
from dualcontrast.runs.source import attached


@dataclass(frozen=True)
class Averages:
    """Averages of the clusters of a run.

    Attributes
    ----------
    folder : pathlib.Path
        Holds CLUSTER.mrc, its halves, its poses, fsc.csv, correlations.csv and commands.txt.
    units : list of dict
        What CLUSTER.json holds, of each cluster.
    figure : pathlib.Path
        Central slices of every average beside its curve.
    """

    folder: Path
    units: list[dict[str, Any]]
    figure: Path

    def describe(self) -> list[str]:
        """Return one line a cluster."""
        told = []
        for unit in self.units:
            line = (
                f"  {unit['cluster']}: {unit['particles']:,} particles, {unit['resolution']:.1f} A ({unit['how']})"
            )
            if unit["truth"]:
                best = max(unit["truth"], key=lambda state: state["correlation"])
                line += (
                    f"; most like {best['identity']} {best['conformation']}, correlation {best['correlation']:.3f}"
                )
            told.append(line)
        return told


def average(
    run: RunFolder,
    *,
    clusters: str = "main",
    by: With = "auto",
    align: bool = False,
    search: Search | None = None,
    datadir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Averages:
    """Average the subtomograms of every cluster, as they lie in their files: not binned, not masked.

    Each pair of a content and a transformation cluster gives a map, two maps of its halves, and their Fourier
    shell correlation within a soft sphere. Where a STAR file states poses, they are taken. Elsewhere they are
    found, those of each half apart, from an average of random orientations that holds nothing beyond 60 A. RELION
    would not leave such a ball, and starts from 60 A of what the built-in search makes of some. A simulation's
    averages are compared with the truth afterwards; it has no part in them.

    A cluster's CLUSTER.json is written last: a call that was stopped goes on with the clusters that lack theirs,
    and with the built-in search for poses after its last whole iteration. Averages that are replaced stay until
    all new ones are whole.

    Parameters
    ----------
    run
        A run on subtomograms, or other volumes, sorted into clusters.
    clusters
        The name of the clusters.
    by
        relion, builtin, or auto: RELION where it is installed and takes the particles as they are, but not to
        find the poses of more than 100.
    align
        Find poses even where they are stated.
    search
        How poses are looked for.
    datadir
        Where the run's images are now, if they were moved.
    overwrite
        Replace averages that were made otherwise.
    progress
        Told of clusters and iterations.

    Raises
    ------
    RunError
        The run is on pictures, has no such clusters, or no cluster of two particles; there are averages that were
        made otherwise; RELION is missing or failed.
    SourceError
        The source is not there or has changed.
    """
    search = search or Search()
    if len(run.config().data.shape) != 4:
        raise RunError(
            f"{run.path}: was trained on pictures, and only volumes are averaged; give a run on volumes"
        )
    if by not in ("auto", "relion", "builtin"):
        raise RunError(f"nothing called {by} averages; choose relion, builtin or auto")
    if by == "relion" and not relion.installed():
        raise RunError("relion_reconstruct and relion_refine are not installed; install RELION, or leave out `by`")
    found = read_clusters(run, clusters)
    source = attached(run, datadir)
    folder = run.averages_folder(clusters)
    work = Averager(run, found, source, by, align, search, beside(folder) if overwrite else folder)
    units = [unit for unit in found.units if work.is_large_enough(unit)]
    if not units:
        raise RunError(f"{run.path}: no cluster of {clusters} has two images to average; make fewer clusters")
    with run.locked():
        otherwise = work.made_otherwise(units)
        if otherwise and overwrite:  # an earlier call to replace them was stopped, which was for others
            shutil.rmtree(work.folder)
        elif otherwise:
            raise RunError(
                f"{otherwise}: was made of other images or poses, or in another way; replace all averages with "
                "`overwrite=True`, or give the clusters another name"
            )
        made = []
        for number, unit in enumerate(units):
            progress("averaging", number, len(units))
            made.append(work.read(unit) or work.make(unit, progress))
        progress("averaging", len(units), len(units))
        _collect(work.folder, made)
        if overwrite:
            put_in_place(folder)
        figure = run.figure_path(f"averages_{clusters}")
        draw_averages(folder, made, figure, f"Averages of the clusters {clusters}")
    return Averages(folder, made, figure)


def read_averages(run: RunFolder, clusters: Clusters) -> list[dict[str, Any]]:
    """Return what `average` wrote of each cluster, of those that have an average.

    Raises
    ------
    RunError
        An average is of other images than the cluster holds now, or damaged, or its files are gone.
    """
    folder, made = run.averages_folder(clusters.name), []
    again = f"make them again with `run.average(clusters={clusters.name!r}, overwrite=True)`"
    for unit in clusters.units:
        there = read_unit(folder / f"{unit_name(unit)}.json")
        if there is None:
            continue
        if there["made_from"]["rows"] != rows_digest(clusters, unit):
            raise RunError(f"{folder}: its averages are of clusters that were sorted anew since; {again}")
        for path in (folder / f"{there['cluster']}{kind}" for kind in (".mrc", ".star")):
            if not path.is_file():
                raise RunError(f"{path}: is gone, and with it an average; {again}")
        made.append(there)
    return made


def _collect(folder: Path, made: list[dict[str, Any]]) -> None:
    """Write the tables and the commands of all clusters together."""
    curves, likenesses = [], []
    for unit in made:
        step = 1 / (unit["box"] * unit["voxel_size"])
        kinds = {"halves": unit["fsc"]}
        for state in unit["truth"]:
            kinds[f"{state['identity']} {state['conformation']}"] = state["fsc"]
            likenesses.append({"cluster": unit["cluster"], **{k: v for k, v in state.items() if k != "fsc"}})
        for kind, curve in kinds.items():
            curves += [
                {"cluster": unit["cluster"], "between": kind, "frequency": round(k * step, 6), "fsc": value}
                for k, value in enumerate(curve)
            ]
    write_text(folder / "fsc.csv", pd.DataFrame(curves).to_csv(index=False))
    if likenesses:
        write_text(folder / "correlations.csv", pd.DataFrame(likenesses).to_csv(index=False))
    commands = [
        f"# {unit['cluster']}\n" + "\n".join(unit["commands"] or ["# by the built-in averager"]) for unit in made
    ]
    write_text(folder / "commands.txt", "\n".join(commands) + "\n")
