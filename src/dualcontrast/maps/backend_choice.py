"""The choice between RELION and the built-in averager, for the poses and for the maps of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from dualcontrast.errors import RunError
from dualcontrast.images import ImageSet
from dualcontrast.images.subtomograms import Subtomograms
from dualcontrast.maps import relion
from dualcontrast.maps.backend import AveragingBackend
from dualcontrast.maps.builtin_backend import BuiltinBackend
from dualcontrast.maps.cluster_average import Program
from dualcontrast.maps.particles import ClusterParticles
from dualcontrast.maps.relion_backend import RelionBackend
from dualcontrast.runs.source import Source

MAX_REFINED_BY_RELION = 100  # particles; relion_refine takes about two seconds for each in every iteration


def check_program(program: str) -> None:
    """Refuse an unknown program, and RELION where it is not installed."""
    if program not in get_args(Program):
        raise RunError(f"unknown program {program}; choose relion, builtin or auto")
    if program == "relion" and not relion.installed():
        raise RunError("relion_reconstruct and relion_refine are not installed; install RELION, or leave out `by`")


@dataclass(frozen=True)
class BackendChoice:
    """The rule that chooses a program for each step.

    Attributes
    ----------
    program : str
        relion, builtin, or auto.
    source : Source
        Where the subtomograms come from.
    relion_reads : bool
        Whether RELION can read them as they are.
    """

    program: Program
    source: Source
    relion_reads: bool

    @classmethod
    def of(cls, program: Program, source: Source, images: ImageSet) -> BackendChoice:
        """Check that the program can average the images.

        Raises
        ------
        RunError
            RELION was asked for, and cannot.
        """
        box = images.shape[-1]
        even = box % 2 == 0  # of odd boxes RELION silently makes a wrong map
        misread = _misread(images)
        relion_reads = source.is_star and even and not source.options.get("invert", False) and not misread
        if program == "relion":
            if not even:
                raise RunError(
                    f"{source.path}: its boxes of {box} voxels are odd, and RELION takes only even ones; "
                    "leave out `by`"
                )
            if misread:
                raise RunError(f"{source.path}: RELION would misread {misread}; leave out `by`")
            if not relion_reads:
                raise RunError(
                    f"{source.path}: RELION averages only the particles of a STAR file whose protein is white; "
                    "leave out `by`"
                )
            particles = images.particles if isinstance(images, Subtomograms) else None
            if particles is not None and particles.ctf_premultiplied and not relion.takes_premultiplied():
                raise RunError(
                    f"{source.path}: its particles are multiplied by their CTF, which the installed RELION does "
                    "not support; install RELION 4 or 5, or leave out `by`"
                )
        return cls(program, source, relion_reads)

    def for_poses(self, particles: ClusterParticles) -> AveragingBackend:
        """Choose what finds poses; `auto` gives RELION only small clusters."""
        return self._backend(particles, len(particles) <= MAX_REFINED_BY_RELION)

    def for_maps(self, particles: ClusterParticles) -> AveragingBackend:
        """Choose what reconstructs maps."""
        return self._backend(particles, True)

    def _backend(self, particles: ClusterParticles, fast_enough: bool) -> AveragingBackend:
        by_relion = self.program == "relion"
        if self.program == "auto":
            readable = self.relion_reads and not particles.premultiplied
            by_relion = readable and fast_enough and relion.installed()
        return RelionBackend(Path(self.source.options["datadir"])) if by_relion else BuiltinBackend()


def _misread(images: ImageSet) -> str:
    """Name the first volume or CTF that RELION would misread, and why; empty if there is none."""
    if not isinstance(images, Subtomograms) or images.particles is None:
        return ""
    stored = [*images.volumes, *(images.ctfs or ())]
    reasons = ((volume.name, relion.misreading(volume)) for volume in stored)
    return next((f"{name}: {reason}" for name, reason in reasons if reason), "")
