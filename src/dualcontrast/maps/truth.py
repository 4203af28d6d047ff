"""Comparison of averages with the maps that a simulation was made from."""

from __future__ import annotations

import numpy as np
import torch

from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY, read_particles
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps.alignment import pose_of_map
from dualcontrast.maps.averaging import aligned, resolution, shell_correlation
from dualcontrast.maps.cluster_average import StateComparison
from dualcontrast.maps.refinement import initial_cutoff

TRUTH_THRESHOLD = 0.5  # of the Fourier shell correlation with a map free of noise


def compare_with_truth(
    volume: np.ndarray, simulation: Simulation, rows: np.ndarray
) -> tuple[StateComparison, ...]:
    """Compare an average with the template of every state, to each of which it is aligned separately.

    Parameters
    ----------
    volume
        (N, N, N).
    simulation
        Its source.
    rows
        Of the averaged subtomograms, in the simulation's STAR file.
    """
    settings = simulation.settings
    mask = soft_sphere(len(volume)).numpy()
    particles = read_particles(simulation.star)
    identities, conformations = (particles.labels(column)[rows].astype(str) for column in (IDENTITY, CONFORMATION))
    comparisons = []
    for state, template in zip(settings.states, simulation.templates(), strict=True):
        turned = align_to(template, volume, settings.voxel_size)
        fsc = shell_correlation(turned * mask, template * mask)
        in_state = (identities == state.identity) & (conformations == state.conformation)
        comparisons.append(
            StateComparison(
                identity=state.identity,
                conformation=state.conformation,
                share=round(float(np.mean(in_state)), 4),
                correlation=round(float(np.corrcoef(turned[mask > 0], template[mask > 0])[0, 1]), 4),
                resolution=round(resolution(fsc, len(volume), settings.voxel_size, TRUTH_THRESHOLD), 3),
                fsc=tuple(np.round(fsc, 5).tolist()),
            )
        )
    return tuple(comparisons)


def align_to(template: np.ndarray, volume: np.ndarray, voxel_size: float) -> np.ndarray:
    """Align a map to another one of the same box.

    Parameters
    ----------
    template, volume
        (N, N, N).
    voxel_size
        In Angstrom.
    """
    pose = pose_of_map(template, volume, cutoff=initial_cutoff(len(volume), voxel_size))
    return aligned(torch.from_numpy(volume)[None], *pose)[0].numpy()
