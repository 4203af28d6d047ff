"""Averaging: a map of every cluster of subtomograms, its resolution, and how it compares with the truth."""

from __future__ import annotations

import shlex
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualcontrast.analysis.clusters import Clusters, read_clusters
from dualcontrast.cryoet.mrc import write_volume
from dualcontrast.cryoet.simulation import Simulation, simulation_of
from dualcontrast.errors import DualContrastWarning, RunError
from dualcontrast.files import atomic_write, replace_folder, staging_folder
from dualcontrast.images import ImageSet, open_images
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps.averaging import resolution, shell_correlation
from dualcontrast.maps.backend import ClusterJob, FoundPoses, Reconstruction
from dualcontrast.maps.backend_choice import BackendChoice, check_program
from dualcontrast.maps.cluster_average import (
    STATED_POSES,
    ClusterAverage,
    ClusterFiles,
    ClusterId,
    Inputs,
    Program,
    read_average,
    rows_digest,
    write_average,
)
from dualcontrast.maps.figure import draw_averages
from dualcontrast.maps.particles import MIN_PARTICLES, select_particles, volumes_of
from dualcontrast.maps.refinement import Search
from dualcontrast.maps.tables import write_tables
from dualcontrast.maps.truth import compare_with_truth
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder
from dualcontrast.runs.source import Source, attached


@dataclass(frozen=True)
class Averages:
    """Averages of the clusters of a run.

    Attributes
    ----------
    folder : pathlib.Path
        Holds CLUSTER.mrc, its halves, its poses, fsc.csv, correlations.csv and commands.txt.
    clusters : list of ClusterAverage
        The average of each cluster.
    figure : pathlib.Path
        Central slices and Fourier shell correlations of every average.
    """

    folder: Path
    clusters: list[ClusterAverage]
    figure: Path

    def describe(self) -> list[str]:
        """Return one line for each cluster."""
        return [cluster.describe() for cluster in self.clusters]


def average(
    run: RunFolder,
    *,
    clusters: str = "main",
    by: Program = "auto",
    align: bool = False,
    search: Search | None = None,
    datadir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Averages:
    """Average the subtomograms of every cluster, read from their files without binning or masking.

    Each pair of a content and a transformation cluster gives a map, maps of its two halves, and their Fourier
    shell correlation within a soft sphere. Poses are taken from the STAR file where it states them. Otherwise they
    are found, independently for each half, starting from an average of random orientations limited to 60 A. RELION
    cannot leave such a featureless start, so it begins with a coarse average of the built-in search. Averages of a
    simulation are compared with the truth afterwards; the truth is not used to make them.

    A cluster's CLUSTER.json is written last: another call resumes with the clusters that lack theirs, and the
    built-in search for poses after its last complete iteration. Existing averages are replaced only when all
    new ones are complete.

    Parameters
    ----------
    run
        A run on subtomograms, or other volumes, whose images were clustered.
    clusters
        The name of the clustering.
    by
        relion, builtin, or auto: RELION where it is installed and can read the particles as they are, but not to
        find the poses of more than 100.
    align
        Find poses even where the STAR file states them.
    search
        Settings of the search for poses.
    datadir
        Where the run's images are now, if they were moved.
    overwrite
        Replace averages made from other inputs.
    progress
        Receives clusters and iterations.

    Raises
    ------
    RunError
        The run is on pictures, has no such clusters, or no cluster of two particles; there are averages made from
        other inputs; RELION is missing or failed.
    SourceError
        The source is missing or has changed.
    """
    search = search or Search()
    if len(run.config().data.shape) != 4:
        raise RunError(f"{run.path}: trained on pictures, and only volumes can be averaged; give a run on volumes")
    check_program(by)
    clustering = read_clusters(run, clusters)
    source = attached(run, datadir)
    images = _unprepared_images(source)
    choice = BackendChoice.of(by, source, images)
    final_folder = run.averages_folder(clusters)
    folder = staging_folder(final_folder) if overwrite else final_folder
    jobs = []
    for cluster, rows in _large_clusters(run, clustering, images):
        particles = select_particles(images, rows, search.seed)
        inputs = Inputs(rows_digest(rows), particles.stated_digest(align), by, align, search)
        jobs.append(ClusterJob(particles, ClusterFiles(cluster, folder, final_folder), inputs))
    with run.locked():
        _check_existing(jobs, folder, overwrite)
        simulation, averages = simulation_of(source.path), []
        for number, job in enumerate(jobs):
            progress("averaging", number, len(jobs))
            existing = read_average(job.files.json, job.files.cluster)
            averages.append(existing or average_cluster(job, choice, simulation, progress))
        progress("averaging", len(jobs), len(jobs))
        write_tables(folder, averages)
        if overwrite:
            replace_folder(final_folder)
        figure = run.figure_path(f"averages_{clusters}")
        draw_averages(final_folder, averages, figure, f"Averages of the clusters {clusters}")
    return Averages(final_folder, averages, figure)


def average_cluster(
    job: ClusterJob, choice: BackendChoice, simulation: Simulation | None, progress: Progress
) -> ClusterAverage:
    """Average one cluster: poses, maps, comparison with the truth; write all of it, the JSON last."""
    particles, files = job.particles, job.files
    if particles.poses is not None and not job.inputs.align:
        found = FoundPoses(particles.poses, STATED_POSES)
    else:
        found = choice.for_poses(particles).find_poses(job, progress)
    particles.write_poses(files.path(""), found.poses)
    maps = choice.for_maps(particles).reconstruct(job, found.poses, progress)
    truth = compare_with_truth(maps.whole, simulation, particles.rows) if simulation else ()
    mask = soft_sphere(particles.box).numpy()
    fsc = shell_correlation(*[half * mask for half in maps.halves])
    average = ClusterAverage(
        cluster=files.cluster,
        particles=len(particles),
        voxel_size=particles.voxel_size,
        box=particles.box,
        poses=found.found_by,
        averaged_by=maps.made_by,
        resolution=round(resolution(fsc, particles.box, particles.voxel_size), 3),
        fsc=tuple(np.round(fsc, 5).tolist()),
        truth=truth,
        commands=tuple(shlex.join(map(files.finally_named, words)) for words in (*found.commands, *maps.commands)),
        inputs=job.inputs,
    )
    _write_maps(files, maps, particles.voxel_size)
    write_average(files.json, average)
    files.search_state.unlink(missing_ok=True)
    return average


def _unprepared_images(source: Source) -> ImageSet:
    """Open all volumes of a source without binning, turning or masking."""
    options = {name: value for name, value in source.options.items() if name not in ("bin", "poses", "mask")}
    images = open_images(source.path, **options)
    if len(set(images.shape[1:])) > 1 or images.shape[0] > 1:
        raise RunError(f"{source.path}: only cubic volumes of one channel can be averaged; convert them first")
    return images


def _large_clusters(
    run: RunFolder, clustering: Clusters, images: ImageSet
) -> Iterator[tuple[ClusterId, np.ndarray]]:
    """Yield clusters that can be halved, with their sorted rows; warn about the others."""
    found = False
    for cluster in (ClusterId(*numbers) for numbers in clustering.units):
        rows = np.sort(clustering.rows_of(*cluster))
        if len(np.unique(volumes_of(images, rows))) >= MIN_PARTICLES:
            found = True
            yield cluster, rows
        else:
            warnings.warn(
                f"{run.path}: {cluster.name} has a single image, which cannot be averaged; it is left out",
                DualContrastWarning,
                stacklevel=3,
            )
    if not found:
        raise RunError(
            f"{run.path}: no cluster of {clustering.name} has two images to average; make fewer clusters"
        )


def _check_existing(jobs: list[ClusterJob], folder: Path, overwrite: bool) -> None:
    """Refuse existing averages made from other inputs; those of an interrupted replacement are removed."""
    for job in jobs:
        existing = read_average(job.files.json, job.files.cluster)
        if existing is None or existing.inputs == job.inputs:
            continue
        if not overwrite:
            raise RunError(
                f"{job.files.json}: made from other images or poses, or with other settings; replace all averages "
                "with `overwrite=True`, or give the clusters another name"
            )
        shutil.rmtree(folder)
        return


def _write_maps(files: ClusterFiles, maps: Reconstruction, voxel_size: float) -> None:
    """Write the map of a cluster, and those of its halves."""
    for ending, volume in zip(("", "_half1", "_half2"), (maps.whole, *maps.halves), strict=True):
        with atomic_write(files.path(f"{ending}.mrc")) as temporary:
            write_volume(temporary, volume, voxel_size)
