"""Averages: a map of every cluster of subtomograms, its resolution, and its likeness to the truth if known."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from dualcontrast.analysis.average_figure import draw_averages
from dualcontrast.analysis.clusters import Clusters, read_clusters
from dualcontrast.analysis.codes import codes_of, inference
from dualcontrast.analysis.likeness import likeness_to_truth
from dualcontrast.analysis.sources import Source, attached
from dualcontrast.analysis.subtomograms import Subset, subset_of
from dualcontrast.cryoet import relion
from dualcontrast.cryoet.alignment import Poses
from dualcontrast.cryoet.averaging import resized, resolution, shell_correlation
from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.refinement import (
    Search,
    averaged,
    coarse,
    initial_cutoff,
    joined,
    random_reference,
    refine,
)
from dualcontrast.cryoet.simulation import Simulation, simulation_of
from dualcontrast.errors import DualContrastWarning, RunError
from dualcontrast.files import write_json, write_text, written_whole
from dualcontrast.images import open_images
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.methods import Codes
from dualcontrast.progress import Progress, silent
from dualcontrast.runs import RunFolder

With = Literal["auto", "relion", "builtin"]
REFINED_BY_RELION_AT_MOST = 100  # particles; it takes some two seconds for each, an iteration
FEWEST = 2


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
    device: str | torch.device = "cpu",
    progress: Progress = silent,
) -> Averages:
    """Average the subtomograms of every cluster, as they lie in their files: not binned, not masked.

    Each pair of a content and a transformation cluster gives a map, two maps of its halves, and their Fourier
    shell correlation within a soft sphere. Where a STAR file states poses, they are taken; elsewhere they are
    found, those of each half apart, from a reference that holds nothing beyond 60 A: the decoded mean codes of the
    cluster, or where the method has no decoder, an average of random orientations. A simulation's averages are
    compared with the truth afterwards; it has no part in them.

    A cluster's CLUSTER.json is written last: a call that was stopped goes on with the clusters that lack theirs.

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
    device
        Where images are encoded, if the run has no codes yet.
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
    if len(run.config()["data"]["shape"]) != 4:
        raise RunError(
            f"{run.path}: was trained on pictures, and only volumes are averaged; give a run on volumes"
        )
    if by not in ("auto", "relion", "builtin"):
        raise RunError(f"nothing called {by} averages; choose relion, builtin or auto")
    if by == "relion" and not relion.installed():
        raise RunError(
            "relion_reconstruct and relion_refine are not installed; install RELION, or leave out --with"
        )
    found = read_clusters(run, clusters)
    source = attached(run, datadir)
    folder = run.averages_folder(clusters)
    work = _Work(run, found, source, folder, by, align, search, device)
    units = [unit for unit in found.units if work.is_large_enough(unit)]
    if not units:
        raise RunError(f"{run.path}: no cluster of {clusters} has two images to average; make fewer clusters")
    with run.locked():
        if overwrite:
            shutil.rmtree(folder, ignore_errors=True)
        work.check_free(units)
        made = []
        for number, unit in enumerate(units):
            progress("averaging", number, len(units))
            made.append(work.read(unit) or work.make(unit, progress))
        progress("averaging", len(units), len(units))
        _collect(folder, made)
        figure = run.figure_path(f"averages_{clusters}")
        draw_averages(folder, made, figure, f"Averages of the clusters {clusters}")
    return Averages(folder, made, figure)


class _Work:
    """What all clusters share while they are averaged."""

    def __init__(
        self,
        run: RunFolder,
        clusters: Clusters,
        source: Source,
        folder: Path,
        by: With,
        align: bool,
        search: Search,
        device: str | torch.device,
    ) -> None:
        self.run, self.clusters, self.source, self.folder = run, clusters, source, folder
        self.by, self.align, self.search, self.device = by, align, search, device
        kept = {name: value for name, value in source.options.items() if name not in ("bin", "poses", "mask")}
        self.images = open_images(source.path, **kept)
        if len(set(self.images.shape[1:])) > 1 or self.images.shape[0] > 1:
            raise RunError(f"{source.path}: its volumes are no cubes of one channel, and only such are averaged")
        self.simulation: Simulation | None = simulation_of(source.path)
        self.labels = run.images().table.set_index("row")

    def path(self, unit: tuple[int, int], kind: str = "") -> Path:
        return self.folder / f"{_name(unit)}{kind}"

    def workplace(self, unit: tuple[int, int]) -> Path:
        """Return the folder of what RELION reads and writes for a cluster."""
        place = self.path(unit, "_relion").resolve()
        place.mkdir(parents=True, exist_ok=True)
        return place

    def is_large_enough(self, unit: tuple[int, int]) -> bool:
        enough = len(self.clusters.rows_of(*unit)) >= FEWEST
        if not enough:
            warnings.warn(
                f"{self.run.path}: {_name(unit)} has a single image, which is no average; it is left out",
                DualContrastWarning,
                stacklevel=3,
            )
        return enough

    def made_from(self, unit: tuple[int, int]) -> dict[str, Any]:
        """Return what an average depends on."""
        rows = np.sort(self.clusters.rows_of(*unit)).astype(np.int64)
        return {
            "rows": hashlib.sha256(rows.tobytes()).hexdigest()[:16],
            "with": self.by,
            "align": self.align,
            "search": asdict(self.search),
        }

    def read(self, unit: tuple[int, int]) -> dict[str, Any] | None:
        """Return what was written of a cluster's average; None where it is not there."""
        path = self.path(unit, ".json")
        if not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            raise RunError(f"{path}: damaged; remove it, and average again") from None

    def check_free(self, units: list[tuple[int, int]]) -> None:
        """Make sure that averages which are there were made in the same way."""
        for unit in units:
            there = self.read(unit)
            if there is not None and there.get("made_from") != self.made_from(unit):
                raise RunError(
                    f"{self.path(unit, '.json')}: was made of other images or in another way; replace all "
                    "averages with --overwrite, or give the clusters another name"
                )

    def make(self, unit: tuple[int, int], progress: Progress) -> dict[str, Any]:
        """Average a cluster, and write all of it, the JSON last."""
        rows = np.sort(self.clusters.rows_of(*unit))
        subset = subset_of(self.images, rows, self.search.seed)
        commands: list[list[str]] = []
        poses, found_by = self._poses(unit, subset, commands, progress)
        maps, averaged_by = self._maps(unit, subset, poses, commands)
        mask = soft_sphere(subset.box).numpy()
        fsc = shell_correlation(maps[1] * mask, maps[2] * mask)
        for kind, volume in zip(("", "_half1", "_half2"), maps, strict=True):
            with written_whole(self.path(unit, f"{kind}.mrc")) as temporary:
                write_volume(temporary, volume, subset.voxel_size)
        how = averaged_by if found_by is None else f"poses by {found_by}, average by {averaged_by}"
        described = {
            "cluster": _name(unit),
            "particles": len(rows),
            "voxel_size": subset.voxel_size,
            "box": subset.box,
            "poses": found_by or "stated",
            "averaged_by": averaged_by,
            "how": how,
            "resolution": round(resolution(fsc, subset.box, subset.voxel_size), 3),
            "fsc": np.round(fsc, 5).tolist(),
            "truth": likeness_to_truth(maps[0], self.simulation, self.labels.loc[rows]) if self.simulation else [],
            "commands": [shlex.join(words) for words in commands],
            "made_from": self.made_from(unit),
        }
        write_json(self.path(unit, ".json"), described)
        return described

    def _by_relion(self, subset: Subset, finding: bool) -> bool:
        """Return whether RELION is to do it; say why not where that was asked for."""
        can = subset.particles is not None and not self.source.options.get("invert", False)
        if self.by == "relion" and not can:
            raise RunError(
                f"{self.source.path}: RELION takes the particles of a STAR file whose protein is white; leave "
                "out --with"
            )
        if self.by != "auto":
            return self.by == "relion"
        few = len(subset) <= REFINED_BY_RELION_AT_MOST or not finding
        return can and few and relion.installed() and not subset.premultiplied

    def _poses(
        self, unit: tuple[int, int], subset: Subset, commands: list[list[str]], progress: Progress
    ) -> tuple[Poses, str | None]:
        """Return the poses of a cluster's particles, and what found them: None where they are stated."""
        if subset.poses is not None and not self.align:
            return subset.poses, None
        reference = self._reference(unit, subset)
        if not self._by_relion(subset, finding=True):
            mask = soft_sphere(subset.box)
            return refine(
                subset.read, subset.halves, reference, mask, subset.voxel_size, self.search, progress
            ), "builtin"
        place = self.workplace(unit)
        write_volume(place / "reference.mrc", reference, subset.voxel_size)
        unknown = Poses(torch.eye(3).repeat(len(subset), 1, 1), torch.zeros(len(subset), 3))
        poses = Poses(unknown.matrices.clone(), unknown.shifts.clone())
        for half in (0, 1):
            star = subset.write_star(place / f"half{half + 1}.star", unknown, only=subset.halves == half)
            words = relion.refine_command(
                star,
                place / f"half{half + 1}",
                place / "reference.mrc",
                ctf=subset.has_ctf,
                box=subset.box,
                voxel_size=subset.voxel_size,
                iterations=self.search.iterations,
                degrees=self.search.degrees,
                threads=relion.threads_here(),
                seed=self.search.seed,
            )
            self._call(words, commands)
            progress("aligning by RELION", half + 1, 2)
            subset.take_poses(poses, place / f"half{half + 1}_it{self.search.iterations:03d}_data.star")
        maps = [half.volume() for half in averaged(subset.read, subset.halves, poses)]
        joined(poses, subset.halves, maps, initial_cutoff(subset.box, subset.voxel_size))
        return poses, relion.REFINE

    def _maps(
        self, unit: tuple[int, int], subset: Subset, poses: Poses, commands: list[list[str]]
    ) -> tuple[list[np.ndarray], str]:
        """Return the average and those of its halves, and what made them; write the particles with their poses."""
        if subset.particles is None:
            subset.write_table(self.path(unit, ".csv"), poses)
        else:
            subset.write_star(self.path(unit, ".star"), poses)
        if not self._by_relion(subset, finding=False):
            sums = averaged(subset.read, subset.halves, poses)
            halves = [half.volume() for half in sums]
            mask = soft_sphere(subset.box).numpy()
            fsc = shell_correlation(*[half * mask for half in halves])
            return [(sums[0] + sums[1]).volume(fsc), *halves], "builtin"
        maps, place = [], self.workplace(unit)
        star = self.path(unit, ".star").resolve()
        for half in (None, 1, 2):
            out = place / f"average{half or ''}.mrc"
            self._call(relion.reconstruct_command(star, out, ctf=subset.has_ctf, half=half), commands)
            maps.append(read_map(out)[0])
        return maps, relion.RECONSTRUCT

    def _call(self, words: list[str], commands: list[list[str]]) -> None:
        """Call RELION where the paths of the STAR file start, and keep the words."""
        relion.run_relion(words, Path(self.source.options["datadir"]))
        commands.append(words)

    def _reference(self, unit: tuple[int, int], subset: Subset) -> np.ndarray:
        """Return a first reference: the decoded mean codes, or an average of random orientations."""
        method = self.run.load_method(self.clusters.described["weights"])
        if method.has_decoder:
            codes = codes_of(self.run, self.clusters.described["weights"], device=self.device)
            own = codes.table["row"].isin(subset.rows).to_numpy()
            means = [
                torch.from_numpy(code[own].mean(axis=0, keepdims=True))
                for code in (codes.content, codes.transformation)
            ]
            with inference(method, "cpu", self.search.seed):
                decoded = method.decode(Codes(*means))[0, 0].float()
            if decoded.std() > 0 and decoded.isfinite().all():
                return coarse(resized(decoded, subset.box).numpy(), subset.voxel_size)
        return random_reference(subset.read, len(subset), subset.voxel_size, self.search.seed)


def _name(unit: tuple[int, int]) -> str:
    return f"content{unit[0]}_transformation{unit[1]}"


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
