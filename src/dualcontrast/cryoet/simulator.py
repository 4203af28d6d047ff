"""Simulated subtomograms, after the paper's appendix A.4.3: X = W (C R V + N).

V is a template, R a rotation and shift, C the contrast transfer function, N white noise of variance 1 and W the
missing wedge. A template's amplitude is such that C V has the wanted signal-to-noise ratio.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume, wedge_volume
from dualcontrast.cryoet.geometry import angles_of_matrices
from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.simulation import Simulation, SimulationSettings
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY, write_particles
from dualcontrast.cryoet.structures import structure_path, template_of
from dualcontrast.errors import RunError, refuse_both
from dualcontrast.files import write_text, written_whole
from dualcontrast.progress import Progress, silent
from dualcontrast.transforms.fourier import filtered
from dualcontrast.version import __version__

IN_FOLDER = 500  # subtomograms a folder; a folder is there whole, or not at all
AT_ONCE = 50
LARGEST_GRID = 256  # voxels a side of an oversampled template


def simulate(
    settings: SimulationSettings,
    out: str | Path,
    *,
    data: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Simulation:
    """Simulate subtomograms, and write them with a RELION 3.1 STAR.

    Every random number follows from the seed and the subtomogram's place, so a simulation that was stopped
    goes on to the same volumes. Memory holds the templates and a few subtomograms at a time.

    Parameters
    ----------
    settings
        What to simulate.
    out
        The folder to make.
    data
        Folder in which the states' files are looked for.
    resume
        Go on with the simulation that is there.
    overwrite
        Replace it.
    progress
        Told of the templates made and the subtomograms written.

    Raises
    ------
    RunError
        The folder holds something else, or another simulation.
    UsageError
        It is to be both gone on with and replaced.
    SourceError
        A structure is missing or damaged, or does not fit into the box.
    """
    refuse_both(resume, overwrite)
    simulation = Simulation(Path(out), settings)
    _check_free(simulation, resume, overwrite)
    contrast, wedge = _contrast(settings), _wedge(settings)
    templates = _make_templates(simulation, contrast, resume, Path(data) if data else None, progress)
    if overwrite:
        _remove(simulation)
    write_text(simulation.path / "simulation.yaml", _described(settings))
    transfer = contrast if wedge is None else contrast * wedge
    _write_whole(simulation.transfer_path, transfer, settings.voxel_size)
    for state, template in zip(settings.states, templates, strict=True):
        _write_whole(simulation.template_path(state), template, settings.voxel_size)
    poses = draw_poses(settings)
    filters = torch.from_numpy(transfer).float(), None if wedge is None else torch.from_numpy(wedge).float()
    _write_subtomograms(simulation, templates, filters, poses, progress)
    write_particles(simulation.star, _particles(simulation, poses), _optics(settings))
    return simulation


@dataclass(frozen=True)
class Poses:
    """Where the subtomograms' particles are: particle(p) = template(A^-1 (p - shift)).

    Attributes
    ----------
    states : numpy.ndarray
        (N,), places in the settings' states.
    matrices : numpy.ndarray
        A, (N, 3, 3), uniform on SO(3).
    shifts : numpy.ndarray
        (N, 3), x first, in voxels.
    """

    states: np.ndarray
    matrices: np.ndarray
    shifts: np.ndarray


def draw_poses(settings: SimulationSettings) -> Poses:
    """Draw the pose of every subtomogram."""
    states = np.repeat(np.arange(len(settings.states)), settings.counts)
    rng = np.random.default_rng((settings.seed, 0))
    matrices = Rotation.random(len(states), random_state=rng).as_matrix()
    shifts = rng.uniform(-settings.shift, settings.shift, (len(states), 3))
    return Poses(states, matrices, shifts)


class Oversampled:
    """A band-limited volume on a finer grid, from which turned and shifted copies are interpolated.

    A volume that holds nothing beyond the sphere of its Nyquist frequency is known everywhere between its
    voxels; padding its Fourier transform with zeros makes a grid so fine that trilinear interpolation does
    it little harm.

    Parameters
    ----------
    volume
        (N, N, N).
    """

    def __init__(self, volume: Tensor) -> None:
        self.box = volume.shape[-1]
        self.finer = 4 if 4 * self.box <= LARGEST_GRID else 2
        self.volume = _padded_in_fourier_space(volume, self.finer).float()

    def turned(self, matrices: Tensor, shifts: Tensor) -> Tensor:
        """Return copies turned about the voxel N // 2, then shifted; zeros come in from outside.

        Parameters
        ----------
        matrices
            (B, 3, 3), acting on (x, y, z).
        shifts
            (B, 3), x first, in voxels.

        Returns
        -------
        Tensor
            (B, N, N, N).
        """
        centre, fine = self.box // 2, self.finer * self.box
        axis = torch.arange(self.box, dtype=torch.float32) - centre
        positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).reshape(-1, 3)
        sources = (positions - shifts[:, None].float()) @ matrices.float()  # A^-1 p, as rows
        grid = (2 * self.finer * (sources + centre) + 1) / fine - 1
        grid = grid.reshape(1, -1, self.box, self.box, 3)
        copies = F.grid_sample(self.volume[None, None], grid, padding_mode="zeros", align_corners=False)
        return copies.reshape(-1, self.box, self.box, self.box)


def _padded_in_fourier_space(volume: Tensor, factor: int) -> Tensor:
    box = volume.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fftn(volume.double()))
    before = factor * box // 2 - box // 2
    after = factor * box - box - before
    padded = torch.fft.ifftshift(F.pad(spectrum, (before, after) * 3))
    larger: Tensor = torch.fft.ifftn(padded).real * factor**3
    return larger


def _check_free(simulation: Simulation, resume: bool, overwrite: bool) -> None:
    folder = simulation.path
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another `out`")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not there or overwrite:
        return
    if not resume:
        raise RunError(
            f"{folder}: already holds {there[0]}; continue with `resume=True`, replace it with `overwrite=True`, "
            "or choose another `out`"
        )
    if Simulation.open(folder).settings != simulation.settings:
        raise RunError(f"{folder}: holds another simulation; repeat its settings, or choose another `out`")


def _remove(simulation: Simulation) -> None:
    """Remove the files of an earlier simulation; those that are no simulation's stay."""
    for name in ("simulation.yaml", "particles.star", "ctf.mrc"):
        (simulation.path / name).unlink(missing_ok=True)
    for name in ("subtomograms", "templates", "figures"):
        shutil.rmtree(simulation.path / name, ignore_errors=True)


def _described(settings: SimulationSettings) -> str:
    described = {"settings": settings.model_dump(mode="json"), "made_by": {"dualcontrast": __version__}}
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True)


def _contrast(settings: SimulationSettings) -> np.ndarray:
    """Return C, (N, N, N)."""
    if settings.ctf is None:
        return np.ones((settings.box,) * 3)
    return ctf_volume(settings.box, settings.voxel_size, settings.ctf)


def _wedge(settings: SimulationSettings) -> np.ndarray | None:
    """Return W, (N, N, N), or None where nothing is missing."""
    return None if settings.tilt_range is None else wedge_volume(settings.box, settings.tilt_range)


def _make_templates(
    simulation: Simulation, contrast: np.ndarray, resume: bool, data: Path | None, progress: Progress
) -> list[np.ndarray]:
    """Return the templates of all states as files hold them, each with the amplitude that makes the SNR."""
    settings = simulation.settings
    templates = []
    for done, state in enumerate(settings.states):
        progress("making templates", done, len(settings.states))
        path = simulation.template_path(state)
        if resume and path.is_file():
            templates.append(read_map(path)[0])
            continue
        structure = structure_path(state.structure, data)
        template = template_of(structure, settings.box, settings.voxel_size, settings.resolution)
        signal = filtered(torch.from_numpy(template), torch.from_numpy(contrast))
        scaled = template * float((settings.snr / signal.var(correction=0)).sqrt())
        templates.append(scaled.astype(np.float32))
    progress("making templates", len(settings.states), len(settings.states))
    return templates


def _write_whole(path: Path, volume: np.ndarray, voxel_size: float) -> None:
    with written_whole(path) as temporary:
        write_volume(temporary, volume, voxel_size)


def _write_subtomograms(
    simulation: Simulation,
    templates: list[np.ndarray],
    filters: tuple[Tensor, Tensor | None],
    poses: Poses,
    progress: Progress,
) -> None:
    """Write the folders of subtomograms that are not there yet; `filters` are W C, and W if any."""
    settings, count = simulation.settings, len(poses.states)
    folder = simulation.path / "subtomograms"
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[int, Oversampled] = {}
    for start in range(0, count, IN_FOLDER):
        places = np.arange(start, min(start + IN_FOLDER, count))
        whole = folder / f"{start // IN_FOLDER:04d}"
        if not whole.is_dir():
            partial = folder / f".{whole.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            noise = torch.Generator().manual_seed(_seed_of(settings.seed, start))
            for batch in _batches_of_one_state(places, poses.states):
                state = int(poses.states[batch[0]])
                if state not in known:
                    known = {state: Oversampled(torch.from_numpy(templates[state]))}
                volumes = _observed(known[state], poses, batch, filters, noise)
                for place, volume in zip(batch, volumes.numpy(), strict=True):
                    write_volume(partial / f"{place + 1:06d}.mrc", volume, settings.voxel_size)
                progress("simulating", int(batch[-1]) + 1, count)
            partial.rename(whole)
        progress("simulating", int(places[-1]) + 1, count)


def _observed(
    template: Oversampled,
    poses: Poses,
    batch: np.ndarray,
    filters: tuple[Tensor, Tensor | None],
    noise: torch.Generator,
) -> Tensor:
    """Return subtomograms of one state, (B, N, N, N): X = W (C R V + N)."""
    transfer, wedge = filters
    matrices, shifts = torch.from_numpy(poses.matrices[batch]), torch.from_numpy(poses.shifts[batch])
    signal = filtered(template.turned(matrices, shifts), transfer)
    added = torch.randn(signal.shape, generator=noise)
    if wedge is not None:
        added = filtered(added, wedge)
    return signal + added


def _batches_of_one_state(places: np.ndarray, states: np.ndarray) -> Iterable[np.ndarray]:
    for state in np.unique(states[places]):
        own = places[states[places] == state]
        yield from np.array_split(own, -(-len(own) // AT_ONCE))


def _seed_of(seed: int, start: int) -> int:
    return int(np.random.SeedSequence((seed, 1, start)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _particles(simulation: Simulation, poses: Poses) -> pd.DataFrame:
    """Return the block of particles of the STAR."""
    settings = simulation.settings
    count = len(poses.states)
    angles = angles_of_matrices(poses.matrices)
    origins = -poses.shifts * settings.voxel_size
    states = [settings.states[state] for state in poses.states]
    folders = [f"subtomograms/{place // IN_FOLDER:04d}" for place in range(count)]
    half = np.random.default_rng((settings.seed, 2)).permutation(count) % 2
    columns: dict[str, Any] = {
        "rlnMicrographName": [f"simulated_{state.name}" for state in states],
        "rlnImageName": [f"{folder}/{place + 1:06d}.mrc" for place, folder in enumerate(folders)],
        "rlnCtfImage": simulation.transfer_path.name,
        "rlnOpticsGroup": 1,
        **{f"rlnAngle{name}": angles[:, axis] for axis, name in enumerate(("Rot", "Tilt", "Psi"))},
        **{f"rlnOrigin{name}Angst": origins[:, axis] for axis, name in enumerate("XYZ")},
        "rlnClassNumber": poses.states + 1,
        "rlnGroupName": "simulated",
        "rlnRandomSubset": half + 1,
        IDENTITY: [state.identity for state in states],
        CONFORMATION: [state.conformation for state in states],
    }
    block: pd.DataFrame = pd.DataFrame(columns)
    return block


def _optics(settings: SimulationSettings) -> pd.DataFrame:
    ctf = settings.ctf or CTFSettings()
    block: pd.DataFrame = pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["simulated"],
            "rlnImagePixelSize": [settings.voxel_size],
            "rlnImageSize": [settings.box],
            "rlnImageDimensionality": [3],
            "rlnVoltage": [ctf.voltage],
            "rlnSphericalAberration": [ctf.spherical_aberration],
            "rlnAmplitudeContrast": [ctf.amplitude_contrast],
        }
    )
    return block
