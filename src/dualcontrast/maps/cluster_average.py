"""The average of one cluster of subtomograms: its files, its numbers, and how they are stored as JSON."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dualcontrast.analysis.clusters import Clusters
from dualcontrast.errors import RunError
from dualcontrast.files import JSONObject, read_json, write_json
from dualcontrast.maps.refinement import Search
from dualcontrast.runs import RunFolder

Program = Literal["auto", "relion", "builtin"]
STATED_POSES = "stated"  # in place of the program that found them


class ClusterId(NamedTuple):
    """The numbers of a cluster, from 1."""

    content: int
    transformation: int

    @property
    def name(self) -> str:
        """The stem of the names of its files."""
        return f"content{self.content}_transformation{self.transformation}"


@dataclass(frozen=True)
class ClusterFiles:
    """The files of one average.

    Attributes
    ----------
    cluster : ClusterId
        The cluster.
    folder : pathlib.Path
        Where they are written.
    final_folder : pathlib.Path
        Where they are moved once all averages are complete; often the same.
    """

    cluster: ClusterId
    folder: Path
    final_folder: Path

    def path(self, ending: str) -> Path:
        """Return the path of the file with this ending."""
        return self.folder / f"{self.cluster.name}{ending}"

    @property
    def json(self) -> Path:
        """The file that is written last."""
        return self.path(".json")

    @property
    def search_state(self) -> Path:
        """The state of an unfinished search for poses."""
        return self.path("_search.safetensors")

    def make_relion_folder(self) -> Path:
        """Make the folder of RELION's intermediate files, and return its absolute path."""
        folder = self.path("_relion").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finally_named(self, word: str) -> str:
        """Return a word of a command with the path that its file has in the final folder."""
        return word.replace(str(self.folder.resolve()), str(self.final_folder.resolve()))


@dataclass(frozen=True)
class Inputs:
    """Everything that an average depends on.

    Attributes
    ----------
    rows : str
        Fingerprint of the cluster's rows.
    stated : str
        Fingerprint of the halves and poses that the source states.
    program : str
        relion, builtin or auto.
    align : bool
        Whether stated poses are ignored.
    search : Search
        Settings of the search for poses.
    """

    rows: str
    stated: str
    program: Program
    align: bool
    search: Search

    def to_json(self) -> JSONObject:
        """Return plain values."""
        return {
            "rows": self.rows,
            "stated": self.stated,
            "with": self.program,
            "align": self.align,
            "search": asdict(self.search),
        }

    @classmethod
    def from_json(cls, stored: JSONObject) -> Inputs:
        """Read the values that `to_json` returns."""
        search = Search(**stored["search"])
        return cls(stored["rows"], stored["stated"], stored["with"], stored["align"], search)


@dataclass(frozen=True)
class StateComparison:
    """An average compared with the true map of one state.

    Attributes
    ----------
    identity, conformation : str
        The state.
    share : float
        Fraction of the cluster's subtomograms that show it.
    correlation : float
        Of the aligned average with the true map, within a soft sphere.
    resolution : float
        In Angstrom, where their Fourier shell correlation falls to 0.5.
    fsc : tuple of float
        That Fourier shell correlation.
    """

    identity: str
    conformation: str
    share: float
    correlation: float
    resolution: float
    fsc: tuple[float, ...]

    @property
    def state(self) -> str:
        """Identity and conformation."""
        return f"{self.identity} {self.conformation}"

    def to_json(self) -> JSONObject:
        """Return plain values."""
        return {**asdict(self), "fsc": list(self.fsc)}

    @classmethod
    def from_json(cls, stored: JSONObject) -> StateComparison:
        """Read the values that `to_json` returns."""
        return cls(**{**stored, "fsc": tuple(stored["fsc"])})


@dataclass(frozen=True)
class ClusterAverage:
    """The average of one cluster, as CLUSTER.json describes it.

    Attributes
    ----------
    cluster : ClusterId
        The cluster.
    particles : int
        Subtomograms in it.
    voxel_size : float
        In Angstrom.
    box : int
        Voxels a side.
    poses : str
        The program that found the poses, or "stated".
    averaged_by : str
        The program that reconstructed the maps.
    resolution : float
        In Angstrom, where the Fourier shell correlation of the halves falls to 0.143.
    fsc : tuple of float
        That Fourier shell correlation, from zero to the Nyquist frequency.
    truth : tuple of StateComparison
        Comparison with every state of a simulation; empty for other data.
    commands : tuple of str
        Calls of RELION.
    inputs : Inputs
        What it depends on.
    """

    cluster: ClusterId
    particles: int
    voxel_size: float
    box: int
    poses: str
    averaged_by: str
    resolution: float
    fsc: tuple[float, ...]
    truth: tuple[StateComparison, ...]
    commands: tuple[str, ...]
    inputs: Inputs

    @property
    def name(self) -> str:
        """The stem of the names of its files."""
        return self.cluster.name

    @property
    def how(self) -> str:
        """The programs, in words."""
        if self.poses == STATED_POSES:
            return self.averaged_by
        return f"poses by {self.poses}, average by {self.averaged_by}"

    @property
    def frequencies(self) -> np.ndarray:
        """Spatial frequencies of the Fourier shells, (box // 2 + 1,), in 1/Angstrom."""
        return np.asarray(np.arange(len(self.fsc)) / (self.box * self.voxel_size))

    @property
    def best_match(self) -> StateComparison | None:
        """The state with the highest correlation; None where the truth is unknown."""
        return max(self.truth, key=lambda state: state.correlation, default=None)

    def describe(self) -> str:
        """Return one line."""
        line = f"  {self.name}: {self.particles:,} particles, {self.resolution:.1f} A ({self.how})"
        best = self.best_match
        return line if best is None else f"{line}; most like {best.state}, correlation {best.correlation:.3f}"

    def to_json(self) -> JSONObject:
        """Return plain values, as in CLUSTER.json."""
        return {
            "cluster": self.name,
            "content_cluster": self.cluster.content,
            "transformation_cluster": self.cluster.transformation,
            "particles": self.particles,
            "voxel_size": self.voxel_size,
            "box": self.box,
            "poses": self.poses,
            "averaged_by": self.averaged_by,
            "how": self.how,
            "resolution": self.resolution,
            "fsc": list(self.fsc),
            "truth": [state.to_json() for state in self.truth],
            "commands": list(self.commands),
            "made_from": self.inputs.to_json(),
        }

    @classmethod
    def from_json(cls, cluster: ClusterId, stored: JSONObject) -> ClusterAverage:
        """Read the values that `to_json` returns; files of earlier versions lack the cluster's numbers."""
        return cls(
            cluster=cluster,
            particles=stored["particles"],
            voxel_size=stored["voxel_size"],
            box=stored["box"],
            poses=stored["poses"],
            averaged_by=stored["averaged_by"],
            resolution=stored["resolution"],
            fsc=tuple(stored["fsc"]),
            truth=tuple(StateComparison.from_json(state) for state in stored["truth"]),
            commands=tuple(stored["commands"]),
            inputs=Inputs.from_json(stored["made_from"]),
        )


def write_average(path: Path, average: ClusterAverage) -> None:
    """Write CLUSTER.json."""
    write_json(path, average.to_json())


def read_average(path: Path, cluster: ClusterId) -> ClusterAverage | None:
    """Read CLUSTER.json; return None where there is none.

    Raises
    ------
    RunError
        The file is damaged.
    """
    remedy = "remove it, and average again"
    stored = read_json(path, remedy)
    if stored is None:
        return None
    try:
        return ClusterAverage.from_json(cluster, stored)
    except (KeyError, TypeError):
        raise RunError(f"{path}: damaged; {remedy}") from None


def read_averages(run: RunFolder, clusters: Clusters) -> list[ClusterAverage]:
    """Read the averages of those clusters that have one.

    Raises
    ------
    RunError
        An average belongs to an earlier clustering, is damaged, or has lost its files.
    """
    folder, averages = run.averages_folder(clusters.name), []
    remedy = f"make them again with `run.average(clusters={clusters.name!r}, overwrite=True)`"
    for cluster in (ClusterId(*numbers) for numbers in clusters.units):
        files = ClusterFiles(cluster, folder, folder)
        average = read_average(files.json, cluster)
        if average is None:
            continue
        if average.inputs.rows != rows_digest(clusters.rows_of(*cluster)):
            raise RunError(f"{folder}: the averages belong to an earlier clustering of this name; {remedy}")
        poses = files.path(".csv" if files.path(".csv").is_file() else ".star")
        for path in (files.path(".mrc"), poses):
            if not path.is_file():
                raise RunError(f"{path}: is missing, so the average is incomplete; {remedy}")
        averages.append(average)
    return averages


def rows_digest(rows: np.ndarray) -> str:
    """Return a fingerprint of a set of rows."""
    return hashlib.sha256(np.sort(rows).astype(np.int64).tobytes()).hexdigest()[:16]
