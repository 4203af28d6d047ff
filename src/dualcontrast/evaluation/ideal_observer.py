"""What only a simulation can tell: pictures of its templates, and how much an ideal observer would see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualcontrast.cryoet.mrc import read_header, read_map, read_volume
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.cryoet.simulator import Oversampled
from dualcontrast.evaluation.probes import is_test
from dualcontrast.figures.volumes import draw_slices, draw_surfaces
from dualcontrast.progress import Progress, silent
from dualcontrast.transforms.fourier import filtered

OBSERVED_AT_MOST = 500
AT_ONCE = 50


def draw_simulation(simulation: Simulation) -> list[Path]:
    """Draw the templates as surfaces (figure 14 of the paper), and a subtomogram of each state (13, 15, 16).

    Returns
    -------
    list of pathlib.Path
        figures/templates.png and figures/subtomograms.png in the simulation's folder.
    """
    settings = simulation.settings
    names = [f"{state.identity} {state.conformation}" for state in settings.states]
    surfaces, slices = (simulation.path / "figures" / f"{name}.png" for name in ("templates", "subtomograms"))
    templates = list(simulation.templates())
    draw_surfaces(templates, names, surfaces, "Templates of the simulation", voxel_size=settings.voxel_size)
    particles = read_particles(simulation.star)
    firsts = np.cumsum([0, *settings.counts[:-1]])
    volumes = torch.stack([_volume(simulation, particles.image_names[first]) for first in firsts])
    title = f"Subtomograms at a signal-to-noise ratio of {settings.snr:g}, slices along z"
    draw_slices(volumes[:, None], names, slices, title)
    return [surfaces, slices]


def ideal_observer(
    simulation: Simulation, table: pd.DataFrame, *, seed: int = 0, progress: Progress = silent
) -> dict[str, Any] | None:
    """Tell identity and conformation with everything known but them: an upper bound for any code.

    The observer knows the templates V, each subtomogram's pose R and the transfer function W C. Noise being
    white within the measured region, the likelihood of a state is exp(-|X - W C R V|^2 / 2); an identity's is
    the sum over its states, weighted by their shares.

    Parameters
    ----------
    simulation
        Where the subtomograms come from.
    table
        Of a set of its images: `row`, `split`, `content` and `transformation`.
    seed
        Of the choice of at most 500 test images.
    progress
        Told of the subtomograms looked at.

    Returns
    -------
    dict or None
        Accuracies on test images: of `content`; of `transformation` with the identity known, averaged over
        identities of several conformations; of `transformation_pooled`, the two together; and their number,
        `test_images`. None where there are no test images.
    """
    order = np.random.default_rng(seed).permutation(np.flatnonzero(is_test(table)))
    chosen = table.iloc[np.sort(order[:OBSERVED_AT_MOST])]
    if not len(chosen):
        return None
    posterior = _log_posterior(simulation, chosen["row"].to_numpy(), progress)
    states = simulation.settings.states
    identities = np.array([state.identity for state in states])
    names = np.unique(identities)
    by_identity = np.stack([np.logaddexp.reduce(posterior[:, identities == n], axis=1) for n in names], axis=1)
    true_identity = chosen["content"].to_numpy().astype(str)
    true_state = np.char.add(np.char.add(true_identity, "_"), chosen["transformation"].to_numpy().astype(str))
    state_names = np.array([state.name for state in states])
    within = []
    for name in names:
        own, own_states = true_identity == name, identities == name
        if own_states.sum() > 1 and own.any():
            told = state_names[own_states][posterior[np.ix_(own, own_states)].argmax(axis=1)]
            within.append(np.mean(told == true_state[own]))
    return {
        "content": round(float(np.mean(names[by_identity.argmax(axis=1)] == true_identity)), 4),
        "transformation": round(float(np.mean(within)), 4) if within else None,
        "transformation_pooled": round(float(np.mean(state_names[posterior.argmax(axis=1)] == true_state)), 4),
        "test_images": len(chosen),
    }


def _log_posterior(simulation: Simulation, rows: np.ndarray, progress: Progress) -> np.ndarray:
    """Return log(share) - |X - W C R V|^2 / 2 of subtomograms under every state, (n, S)."""
    settings = simulation.settings
    particles = read_particles(simulation.star)
    matrices, shifts = particles.matrices(), particles.shifts() / settings.voxel_size
    assert matrices is not None  # the simulator writes them
    transfer = torch.from_numpy(read_map(simulation.transfer_path)[0])
    templates = [Oversampled(torch.from_numpy(template)) for template in simulation.templates()]
    result = np.empty((len(rows), len(templates)))
    for start in range(0, len(rows), AT_ONCE):
        batch = rows[start : start + AT_ONCE]
        images = torch.stack([_volume(simulation, particles.image_names[row]) for row in batch])
        poses = torch.from_numpy(matrices[batch]), torch.from_numpy(shifts[batch])
        for state, template in enumerate(templates):
            errors = images - filtered(template.transformed(*poses), transfer)
            likelihood = -0.5 * errors.square().sum(dim=(1, 2, 3)).double().numpy()
            result[start : start + len(batch), state] = likelihood + np.log(settings.counts[state])
        progress("asking the ideal observer", start + len(batch), len(rows))
    return result


def _volume(simulation: Simulation, name: str) -> Tensor:
    return torch.from_numpy(read_volume(read_header(simulation.path / name)))
