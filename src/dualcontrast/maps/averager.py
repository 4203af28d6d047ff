"""The average of one cluster: its poses, its halves, by RELION or built in."""

from __future__ import annotations

import hashlib
import json
import shlex
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dualcontrast.analysis.clusters import Clusters
from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.simulation import Simulation, simulation_of
from dualcontrast.errors import DualContrastWarning, RunError
from dualcontrast.files import read_json, write_json, written_whole
from dualcontrast.images import open_images
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.images.subtomograms import Subtomograms
from dualcontrast.maps import relion
from dualcontrast.maps.averaging import resolution, shell_correlation
from dualcontrast.maps.refinement import Search, averaged, first_reference, initial_cutoff, joined, refine
from dualcontrast.maps.search_state import read_standing, write_standing
from dualcontrast.maps.subtomograms import Subset, subset_of, volumes_of
from dualcontrast.maps.truth import likeness_to_truth
from dualcontrast.poses import Poses
from dualcontrast.progress import Progress
from dualcontrast.runs import RunFolder
from dualcontrast.runs.source import Source

With = Literal["auto", "relion", "builtin"]
REFINED_BY_RELION_AT_MOST = 100  # particles; it takes some two seconds for each, an iteration
FEWEST = 2
SEARCH = "_search.safetensors"  # of a cluster whose poses are being found


class Averager:
    """Averages the clusters of a run one by one, and writes each whole.

    Parameters
    ----------
    run, clusters, source
        Whose subtomograms they are, and where these lie now.
    by, align, search
        As in `averages.average`.
    folder
        Where they are written.
    """

    def __init__(
        self,
        run: RunFolder,
        clusters: Clusters,
        source: Source,
        by: With,
        align: bool,
        search: Search,
        folder: Path,
    ) -> None:
        self.run, self.clusters, self.source = run, clusters, source
        self.by, self.align, self.search = by, align, search
        self.folder = folder
        kept = {name: value for name, value in source.options.items() if name not in ("bin", "poses", "mask")}
        self.images = open_images(source.path, **kept)
        if len(set(self.images.shape[1:])) > 1 or self.images.shape[0] > 1:
            raise RunError(f"{source.path}: its volumes are no cubes of one channel, and only such are averaged")
        even = self.images.shape[-1] % 2 == 0  # of odd boxes RELION makes a map of nothing, and says nothing
        self.relion_takes = source.is_star and even and not source.options.get("invert", False)
        if by == "relion" and not even:
            raise RunError(
                f"{source.path}: its boxes of {self.images.shape[-1]} voxels are odd, and RELION takes even ones; "
                "leave out --with"
            )
        if by == "relion" and not self.relion_takes:
            raise RunError(
                f"{source.path}: RELION takes the particles of a STAR file whose protein is white; leave out "
                "--with"
            )
        if by == "relion" and self._premultiplied() and not relion.takes_premultiplied():
            raise RunError(
                f"{source.path}: its particles are multiplied by their CTF, which the installed RELION takes for "
                "particles that are not; install RELION 4 or 5, or leave out --with"
            )
        self.simulation: Simulation | None = simulation_of(source.path)

    def path(self, unit: tuple[int, int], kind: str = "") -> Path:
        """Return a file of a cluster."""
        return self.folder / f"{unit_name(unit)}{kind}"

    def workplace(self, unit: tuple[int, int]) -> Path:
        """Return the folder of what RELION reads and writes for a cluster."""
        place = self.path(unit, "_relion").resolve()
        place.mkdir(parents=True, exist_ok=True)
        return place

    def is_large_enough(self, unit: tuple[int, int]) -> bool:
        """Return whether a cluster can be halved; warn where it cannot."""
        enough = len(np.unique(volumes_of(self.images, self.clusters.rows_of(*unit)))) >= FEWEST
        if not enough:
            warnings.warn(
                f"{self.run.path}: {unit_name(unit)} has a single image, which is no average; it is left out",
                DualContrastWarning,
                stacklevel=3,
            )
        return enough

    def made_from(self, unit: tuple[int, int]) -> dict[str, Any]:
        """Return what an average depends on."""
        subset = subset_of(self.images, np.sort(self.clusters.rows_of(*unit)), self.search.seed)
        return {
            "rows": rows_digest(self.clusters, unit),
            "stated": subset.stated_digest(self.align),
            "with": self.by,
            "align": self.align,
            "search": asdict(self.search),
        }

    def read(self, unit: tuple[int, int]) -> dict[str, Any] | None:
        """Return what was written of a cluster's average; None where it is not there."""
        return read_unit(self.path(unit, ".json"))

    def made_otherwise(self, units: list[tuple[int, int]]) -> Path | None:
        """Return the file of an average that is there and was made of other images or poses, or otherwise."""
        for unit in units:
            there = self.read(unit)
            if there is not None and there.get("made_from") != self.made_from(unit):
                return self.path(unit, ".json")
        return None

    def make(self, unit: tuple[int, int], progress: Progress) -> dict[str, Any]:
        """Average a cluster, and write all of it, the JSON last."""
        rows = np.sort(self.clusters.rows_of(*unit))
        subset = subset_of(self.images, rows, self.search.seed)
        commands: list[list[str]] = []
        poses, found_by = self._poses(unit, subset, commands, progress)
        maps, averaged_by = self._maps(unit, subset, poses, commands, progress)
        mask = soft_sphere(subset.box).numpy()
        fsc = shell_correlation(maps[1] * mask, maps[2] * mask)
        for kind, volume in zip(("", "_half1", "_half2"), maps, strict=True):
            with written_whole(self.path(unit, f"{kind}.mrc")) as temporary:
                write_volume(temporary, volume, subset.voxel_size)
        how = averaged_by if found_by is None else f"poses by {found_by}, average by {averaged_by}"
        described = {
            "cluster": unit_name(unit),
            "particles": len(rows),
            "voxel_size": subset.voxel_size,
            "box": subset.box,
            "poses": found_by or "stated",
            "averaged_by": averaged_by,
            "how": how,
            "resolution": round(resolution(fsc, subset.box, subset.voxel_size), 3),
            "fsc": np.round(fsc, 5).tolist(),
            "truth": likeness_to_truth(maps[0], self.simulation, rows) if self.simulation else [],
            "commands": [self._told(words) for words in commands],
            "made_from": self.made_from(unit),
        }
        write_json(self.path(unit, ".json"), described)
        self.path(unit, SEARCH).unlink(missing_ok=True)
        return described

    def _premultiplied(self) -> bool:
        """Return whether the particles of a STAR file have been multiplied by their CTF."""
        particles = self.images.particles if isinstance(self.images, Subtomograms) else None
        return particles is not None and particles.ctf_premultiplied

    def _by_relion(self, subset: Subset, finding: bool) -> bool:
        """Return whether RELION is to do it."""
        if self.by != "auto":
            return self.by == "relion"
        few = len(subset) <= REFINED_BY_RELION_AT_MOST or not finding
        return self.relion_takes and few and relion.installed() and not subset.premultiplied

    def _poses(
        self, unit: tuple[int, int], subset: Subset, commands: list[list[str]], progress: Progress
    ) -> tuple[Poses, str | None]:
        """Return the poses of a cluster's particles, and what found them: None where they are stated."""
        if subset.poses is not None and not self.align:
            return subset.poses, None
        mask = soft_sphere(subset.box)
        if not self._by_relion(subset, finding=True):
            return self._found(unit, subset, mask, progress), "builtin"
        place = self.workplace(unit)
        reference = first_reference(subset.read, len(subset), mask, subset.voxel_size, self.search, progress)
        write_volume(place / "reference.mrc", reference, subset.voxel_size)
        unknown, poses = Poses.identity(len(subset)), Poses.identity(len(subset))
        progress("aligning by RELION", 0, 2)
        for half in (0, 1):
            star = subset.write_star(place / f"half{half + 1}.star", unknown, only=subset.halves == half)
            words = relion.refine_command(
                star,
                place / f"half{half + 1}",
                place / "reference.mrc",
                ctf=subset.has_ctf,
                premultiplied=subset.premultiplied,
                box=subset.box,
                voxel_size=subset.voxel_size,
                iterations=self.search.iterations,
                degrees=self.search.degrees,
                threads=relion.threads_here(),
                seed=self.search.seed,
            )
            self._call(words, commands)
            progress("aligning by RELION", half + 1, 2)
            refined = place / f"half{half + 1}_it{self.search.iterations:03d}_data.star"
            subset.take_poses(poses, refined, subset.halves == half)
        maps = [half.volume() for half in averaged(subset.read, subset.halves, poses)]
        joined(poses, subset.halves, maps, initial_cutoff(subset.box, subset.voxel_size))
        return poses, relion.REFINE

    def _found(self, unit: tuple[int, int], subset: Subset, mask: torch.Tensor, progress: Progress) -> Poses:
        """Find poses, or go on where a call that was stopped had come to."""
        path, made_from = self.path(unit, SEARCH), json.dumps(self.made_from(unit))
        return refine(
            subset.read,
            subset.halves,
            mask,
            subset.voxel_size,
            self.search,
            progress,
            begun=read_standing(path, made_from),
            keep=lambda standing: write_standing(path, standing, made_from),
        )

    def _maps(
        self, unit: tuple[int, int], subset: Subset, poses: Poses, commands: list[list[str]], progress: Progress
    ) -> tuple[list[np.ndarray], str]:
        """Return the average and those of its halves, and what made them; write the particles with their poses."""
        if subset.particles is None:
            subset.write_table(self.path(unit, ".csv"), poses)
        else:
            subset.write_star(self.path(unit, ".star"), poses)
        if not self._by_relion(subset, finding=False):
            sums = averaged(subset.read, subset.halves, poses, progress)
            halves = [half.volume() for half in sums]
            mask = soft_sphere(subset.box).numpy()
            fsc = shell_correlation(*[half * mask for half in halves])
            return [(sums[0] + sums[1]).volume(fsc), *halves], "builtin"
        maps, place = [], self.workplace(unit)
        star = self.path(unit, ".star").resolve()
        for half in (None, 1, 2):
            out = place / f"average{half or ''}.mrc"
            words = relion.reconstruct_command(
                star, out, ctf=subset.has_ctf, premultiplied=subset.premultiplied, half=half
            )
            self._call(words, commands)
            maps.append(read_map(out)[0])
        return maps, relion.RECONSTRUCT

    def _told(self, words: list[str]) -> str:
        """Return a call of RELION with the paths that its files have once all averages are whole."""
        final = self.run.averages_folder(self.clusters.name).resolve()
        return shlex.join([word.replace(str(self.folder.resolve()), str(final)) for word in words])

    def _call(self, words: list[str], commands: list[list[str]]) -> None:
        """Call RELION where the paths of the STAR file start, and keep the words."""
        relion.run_relion(words, Path(self.source.options["datadir"]))
        commands.append(words)


def read_unit(path: Path) -> dict[str, Any] | None:
    """Return what a cluster's JSON file says of its average; None where there is none.

    Raises
    ------
    RunError
        It is damaged.
    """
    return read_json(path, "remove it, and average again")


def unit_name(unit: tuple[int, int]) -> str:
    """Return what the files of a cluster are called."""
    return f"content{unit[0]}_transformation{unit[1]}"


def rows_digest(clusters: Clusters, unit: tuple[int, int]) -> str:
    """Return a fingerprint of the rows of a cluster."""
    rows = np.sort(clusters.rows_of(*unit)).astype(np.int64)
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]
