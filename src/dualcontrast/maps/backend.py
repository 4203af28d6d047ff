"""The interface of programs that find poses and reconstruct maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dualcontrast.maps.cluster_average import ClusterFiles, Inputs
from dualcontrast.maps.particles import ClusterParticles
from dualcontrast.poses import Poses
from dualcontrast.progress import Progress

Command = tuple[str, ...]  # a call of another program


@dataclass(frozen=True, eq=False)
class ClusterJob:
    """A cluster to average.

    Attributes
    ----------
    particles : ClusterParticles
        Its subtomograms.
    files : ClusterFiles
        Where the average is written.
    inputs : Inputs
        What the average depends on, the settings of the search among them.
    """

    particles: ClusterParticles
    files: ClusterFiles
    inputs: Inputs


@dataclass(frozen=True, eq=False)
class FoundPoses:
    """Poses, the program that found them, and the calls that this took."""

    poses: Poses
    found_by: str
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Maps of all subtomograms and of their halves, (N, N, N) each, and how they were made.

    Attributes
    ----------
    whole : numpy.ndarray
        Of all subtomograms.
    halves : tuple of numpy.ndarray
        Of the two halves.
    made_by : str
        The program.
    commands : tuple of Command
        Calls of it.
    """

    whole: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]
    made_by: str
    commands: tuple[Command, ...] = ()


class AveragingBackend(Protocol):
    """A program that finds the poses of a cluster's subtomograms and reconstructs its maps."""

    def find_poses(self, job: ClusterJob, progress: Progress) -> FoundPoses:
        """Find the poses of each half independently, in a common frame."""

    def reconstruct(self, job: ClusterJob, poses: Poses, progress: Progress) -> Reconstruction:
        """Reconstruct maps of subtomograms whose poses are known, and written in the job's files."""
