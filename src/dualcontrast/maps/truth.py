"""How like an average is to what a simulation was made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps.alignment import pose_of_map
from dualcontrast.maps.averaging import aligned, resolution, shell_correlation
from dualcontrast.maps.refinement import initial_cutoff

THRESHOLD = 0.5  # of a map with half the noise of a pair of halves, that with the truth


def likeness_to_truth(volume: np.ndarray, simulation: Simulation, rows: np.ndarray) -> list[dict[str, Any]]:
    """Compare an average with the template of every state, each after an alignment of its own.

    Parameters
    ----------
    volume
        (N, N, N).
    simulation
        Where its subtomograms come from.
    rows
        Of its subtomograms, in the simulation's STAR file.

    Returns
    -------
    list of dict
        Of each state: `identity`, `conformation`, the `share` of the subtomograms that are of it, the
        `correlation` of the aligned average with the template within a soft sphere, the `resolution` in Angstrom
        to which they agree, by an FSC of 0.5, and that `fsc`.
    """
    settings = simulation.settings
    mask = soft_sphere(len(volume)).numpy()
    particles = read_particles(simulation.star)
    of, state_of = (particles.labels(column)[rows].astype(str) for column in (IDENTITY, CONFORMATION))
    found = []
    for state, template in zip(settings.states, simulation.templates(), strict=True):
        pose = pose_of_map(template, volume, cutoff=initial_cutoff(len(volume), settings.voxel_size))
        turned = aligned(torch.from_numpy(volume)[None], *pose)[0].numpy()
        fsc = shell_correlation(turned * mask, template * mask)
        found.append(
            {
                "identity": state.identity,
                "conformation": state.conformation,
                "share": round(float(np.mean((of == state.identity) & (state_of == state.conformation))), 4),
                "correlation": round(float(np.corrcoef(turned[mask > 0], template[mask > 0])[0, 1]), 4),
                "resolution": round(resolution(fsc, len(volume), settings.voxel_size, THRESHOLD), 3),
                "fsc": np.round(fsc, 5).tolist(),
            }
        )
    return found
