"""Averaging by the built-in pose search and Wiener filter."""

from __future__ import annotations

import json

from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps.averaging import shell_correlation
from dualcontrast.maps.backend import ClusterJob, FoundPoses, Reconstruction
from dualcontrast.maps.refinement import averaged, refine
from dualcontrast.maps.search_state import read_search_state, write_search_state
from dualcontrast.poses import Poses
from dualcontrast.progress import Progress

BUILTIN = "builtin"


class BuiltinBackend:
    """Averages within this package; a stopped search for poses resumes after its last complete iteration."""

    def find_poses(self, job: ClusterJob, progress: Progress) -> FoundPoses:
        """Find the poses of each half, from random orientations or from where a stopped search was."""
        particles, path, inputs = job.particles, job.files.search_state, json.dumps(job.inputs.to_json())
        poses = refine(
            particles.read,
            particles.halves,
            soft_sphere(particles.box),
            particles.voxel_size,
            job.inputs.search,
            progress,
            resume_from=read_search_state(path, inputs),
            save=lambda state: write_search_state(path, state, inputs),
        )
        return FoundPoses(poses, BUILTIN)

    def reconstruct(self, job: ClusterJob, poses: Poses, progress: Progress) -> Reconstruction:
        """Average the halves, and all subtomograms with a Wiener filter that follows from their agreement."""
        particles = job.particles
        one, other = averaged(particles.read, particles.halves, poses, progress)
        halves = one.volume(), other.volume()
        mask = soft_sphere(particles.box).numpy()
        fsc = shell_correlation(halves[0] * mask, halves[1] * mask)
        return Reconstruction((one + other).volume(fsc), halves, BUILTIN)
