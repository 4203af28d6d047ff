"""Averaging by RELION's programs, called on STAR files of each cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps import relion
from dualcontrast.maps.backend import ClusterJob, Command, FoundPoses, Reconstruction
from dualcontrast.maps.refinement import averaged, first_reference, initial_cutoff, joined
from dualcontrast.poses import Poses
from dualcontrast.progress import Progress


@dataclass(frozen=True)
class RelionBackend:
    """Averages by relion_refine and relion_reconstruct.

    Attributes
    ----------
    project : pathlib.Path
        The folder that paths in the STAR file start from; RELION is called there.
    """

    project: Path

    def find_poses(self, job: ClusterJob, progress: Progress) -> FoundPoses:
        """Align each half by relion_refine to a coarse reference, then the second half to the first."""
        particles, search = job.particles, job.inputs.search
        folder = job.files.make_relion_folder()
        reference = first_reference(
            particles.read, len(particles), soft_sphere(particles.box), particles.voxel_size, search, progress
        )
        write_volume(folder / "reference.mrc", reference, particles.voxel_size)
        poses = Poses.identity(len(particles))
        commands = []
        progress("aligning by RELION", 0, 2)
        for half in (0, 1):
            commands.append(self._refine_half(job, folder, half, poses))
            progress("aligning by RELION", half + 1, 2)
        maps = [sums.volume() for sums in averaged(particles.read, particles.halves, poses)]
        joined(poses, particles.halves, maps, initial_cutoff(particles.box, particles.voxel_size))
        return FoundPoses(poses, relion.REFINE, tuple(commands))

    def _refine_half(self, job: ClusterJob, folder: Path, half: int, poses: Poses) -> Command:
        """Align one half, and put its poses in place; return the command."""
        particles, search = job.particles, job.inputs.search
        chosen, stem = particles.halves == half, folder / f"half{half + 1}"
        star = particles.write_star(folder / f"half{half + 1}.star", Poses.identity(len(particles)), only=chosen)
        words = relion.refine_command(
            star,
            stem,
            folder / "reference.mrc",
            ctf=particles.has_ctf,
            premultiplied=particles.premultiplied,
            box=particles.box,
            voxel_size=particles.voxel_size,
            iterations=search.iterations,
            degrees=search.degrees,
            threads=relion.thread_count(),
            seed=search.seed,
        )
        relion.run_relion(words, self.project)
        particles.update_poses(poses, folder / f"{stem.name}_it{search.iterations:03d}_data.star", chosen)
        return tuple(words)

    def reconstruct(self, job: ClusterJob, poses: Poses, progress: Progress) -> Reconstruction:
        """Reconstruct all subtomograms and each half by relion_reconstruct from the STAR file of the cluster."""
        particles, folder = job.particles, job.files.make_relion_folder()
        star = job.files.path(".star").resolve()
        maps, commands = [], []
        for half in (None, 1, 2):
            out = folder / f"average{half or ''}.mrc"
            words = relion.reconstruct_command(
                star, out, ctf=particles.has_ctf, premultiplied=particles.premultiplied, half=half
            )
            relion.run_relion(words, self.project)
            commands.append(tuple(words))
            maps.append(read_map(out)[0])
        return Reconstruction(maps[0], (maps[1], maps[2]), relion.RECONSTRUCT, tuple(commands))
