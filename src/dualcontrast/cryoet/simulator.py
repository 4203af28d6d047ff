"""Simulated subtomograms, after the paper's appendix A.4.3: X = W (C R V + N).

V is a template, R a rotation and shift, C the contrast transfer function, N white noise of variance 1 and W the
missing wedge. Templates are scaled so that C V has the requested signal-to-noise ratio.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
from dualcontrast.files import atomic_write, write_text
from dualcontrast.progress import Progress, silent
from dualcontrast.transforms.fourier import filtered
from dualcontrast.version import __version__

PER_FOLDER = 500  # subtomograms; a folder is complete or absent
AT_ONCE = 50
LARGEST_GRID = 256  # box size of an oversampled template


def simulate(
    settings: SimulationSettings,
    out: str | Path,
    *,
    data: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Simulation:
    """Simulate subtomograms, and write them with a RELION 3.1 STAR file.

    All random numbers follow from the seed and the subtomogram's index, so a resumed simulation gives the same
    volumes. Memory holds the templates and a few subtomograms at a time.

    Parameters
    ----------
    settings
        What to simulate.
    out
        The folder to make.
    data
        Folder to look for the states' files in.
    resume
        Continue the simulation in the folder.
    overwrite
        Replace it.
    progress
        Called with the templates made and the subtomograms written.

    Raises
    ------
    RunError
        The folder holds something else, or another simulation.
    UsageError
        Both `resume` and `overwrite` are given.
    SourceError
        A structure is missing or damaged, or does not fit into the box.
    """
    refuse_both(resume, overwrite)
    simulation = Simulation(Path(out), settings)
    _check_folder(simulation, resume, overwrite)
    ctf, wedge = _ctf(settings), _wedge(settings)
    templates = _make_templates(simulation, ctf, resume, Path(data) if data else None, progress)
    if overwrite:
        _remove(simulation)
    write_text(simulation.path / "simulation.yaml", _described(settings))
    transfer = ctf if wedge is None else ctf * wedge
    _write_whole(simulation.transfer_path, transfer, settings.voxel_size)
    for state, template in zip(settings.states, templates, strict=True):
        _write_whole(simulation.template_path(state), template, settings.voxel_size)
    poses = draw_poses(settings)
    filters = torch.from_numpy(transfer).float(), None if wedge is None else torch.from_numpy(wedge).float()
    _write_subtomograms(simulation, templates, filters, poses, progress)
    write_particles(simulation.star, _particles(simulation, poses), _optics(settings))
    return simulation


@dataclass(frozen=True)
class SimulatedPoses:
    """The poses of simulated particles: particle(p) = template(A^-1 (p - shift)).

    Attributes
    ----------
    states : numpy.ndarray
        (N,), indices into the settings' states.
    matrices : numpy.ndarray
        A, (N, 3, 3), uniform on SO(3).
    shifts : numpy.ndarray
        (N, 3), x first, in voxels.
    """

    states: np.ndarray
    matrices: np.ndarray
    shifts: np.ndarray


def draw_poses(settings: SimulationSettings) -> SimulatedPoses:
    """Draw the pose of every subtomogram."""
    states = np.repeat(np.arange(len(settings.states)), settings.counts)
    rng = np.random.default_rng((settings.seed, 0))
    matrices = Rotation.random(len(states), random_state=rng).as_matrix()
    shifts = rng.uniform(-settings.shift, settings.shift, (len(states), 3))
    return SimulatedPoses(states, matrices, shifts)


class Oversampled:
    """A band-limited volume on a finer grid, from which rotated and shifted copies are interpolated.

    A volume that is band-limited to the sphere of its Nyquist frequency is known everywhere between its voxels;
    zero-padding its Fourier transform gives a grid fine enough for trilinear interpolation.

    Parameters
    ----------
    volume
        (N, N, N).
    """

    def __init__(self, volume: Tensor) -> None:
        self.box = volume.shape[-1]
        self.factor = 4 if 4 * self.box <= LARGEST_GRID else 2
        self.volume = _zero_padded_in_fourier_space(volume, self.factor).float()

    def transformed(self, matrices: Tensor, shifts: Tensor) -> Tensor:
        """Return copies rotated about the voxel N // 2, then shifted; outside the volume is zero.

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
        centre, fine = self.box // 2, self.factor * self.box
        axis = torch.arange(self.box, dtype=torch.float32) - centre
        positions = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], dim=-1).reshape(-1, 3)
        sources = (positions - shifts[:, None].float()) @ matrices.float()  # A^-1 p, as rows
        grid = (2 * self.factor * (sources + centre) + 1) / fine - 1
        grid = grid.reshape(1, -1, self.box, self.box, 3)
        copies = F.grid_sample(self.volume[None, None], grid, padding_mode="zeros", align_corners=False)
        return copies.reshape(-1, self.box, self.box, self.box)


def _zero_padded_in_fourier_space(volume: Tensor, factor: int) -> Tensor:
    box = volume.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fftn(volume.double()))
    before = factor * box // 2 - box // 2
    after = factor * box - box - before
    padded = torch.fft.ifftshift(F.pad(spectrum, (before, after) * 3))
    larger: Tensor = torch.fft.ifftn(padded).real * factor**3
    return larger


def _check_folder(simulation: Simulation, resume: bool, overwrite: bool) -> None:
    folder = simulation.path
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another `out`")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names or overwrite:
        return
    if not resume:
        raise RunError(
            f"{folder}: already holds {names[0]}; continue it with `resume=True`, replace it with "
            "`overwrite=True`, or choose another `out`"
        )
    if Simulation.open(folder).settings != simulation.settings:
        raise RunError(f"{folder}: holds another simulation; repeat its settings, or choose another `out`")


def _remove(simulation: Simulation) -> None:
    """Remove the files of an earlier simulation, and nothing else."""
    for name in ("simulation.yaml", "particles.star", "ctf.mrc"):
        (simulation.path / name).unlink(missing_ok=True)
    for name in ("subtomograms", "templates", "figures"):
        shutil.rmtree(simulation.path / name, ignore_errors=True)


def _described(settings: SimulationSettings) -> str:
    described = {"settings": settings.model_dump(mode="json"), "made_by": {"dualcontrast": __version__}}
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True)


def _ctf(settings: SimulationSettings) -> np.ndarray:
    """Return C, (N, N, N)."""
    if settings.ctf is None:
        return np.ones((settings.box,) * 3)
    return ctf_volume(settings.box, settings.voxel_size, settings.ctf)


def _wedge(settings: SimulationSettings) -> np.ndarray | None:
    """Return W, (N, N, N), or None without a missing wedge."""
    return None if settings.tilt_range is None else wedge_volume(settings.box, settings.tilt_range)


def _make_templates(
    simulation: Simulation, ctf: np.ndarray, resume: bool, data: Path | None, progress: Progress
) -> list[np.ndarray]:
    """Make the templates of all states as stored in their files, each scaled to the requested SNR."""
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
        signal = filtered(torch.from_numpy(template), torch.from_numpy(ctf))
        scaled = template * float((settings.snr / signal.var(correction=0)).sqrt())
        templates.append(scaled.astype(np.float32))
    progress("making templates", len(settings.states), len(settings.states))
    return templates


def _write_whole(path: Path, volume: np.ndarray, voxel_size: float) -> None:
    with atomic_write(path) as temporary:
        write_volume(temporary, volume, voxel_size)


def _write_subtomograms(
    simulation: Simulation,
    templates: list[np.ndarray],
    filters: tuple[Tensor, Tensor | None],
    poses: SimulatedPoses,
    progress: Progress,
) -> None:
    """Write the missing folders of subtomograms; `filters` are W C, and W if there is a wedge."""
    settings, count = simulation.settings, len(poses.states)
    folder = simulation.path / "subtomograms"
    folder.mkdir(parents=True, exist_ok=True)
    oversampled: dict[int, Oversampled] = {}
    for start in range(0, count, PER_FOLDER):
        indices = np.arange(start, min(start + PER_FOLDER, count))
        whole = folder / f"{start // PER_FOLDER:04d}"
        if not whole.is_dir():
            partial = folder / f".{whole.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            noise = torch.Generator().manual_seed(_seed_of(settings.seed, start))
            for batch in _batches_of_one_state(indices, poses.states):
                state = int(poses.states[batch[0]])
                if state not in oversampled:
                    oversampled = {state: Oversampled(torch.from_numpy(templates[state]))}
                volumes = _subtomograms(oversampled[state], poses, batch, filters, noise)
                for index, volume in zip(batch, volumes.numpy(), strict=True):
                    write_volume(partial / f"{index + 1:06d}.mrc", volume, settings.voxel_size)
                progress("simulating", int(batch[-1]) + 1, count)
            partial.rename(whole)
        progress("simulating", int(indices[-1]) + 1, count)


def _subtomograms(
    template: Oversampled,
    poses: SimulatedPoses,
    batch: np.ndarray,
    filters: tuple[Tensor, Tensor | None],
    noise: torch.Generator,
) -> Tensor:
    """Simulate subtomograms of one state, (B, N, N, N): X = W (C R V + N)."""
    transfer, wedge = filters
    matrices, shifts = torch.from_numpy(poses.matrices[batch]), torch.from_numpy(poses.shifts[batch])
    signal = filtered(template.transformed(matrices, shifts), transfer)
    white = torch.randn(signal.shape, generator=noise)
    return signal + (white if wedge is None else filtered(white, wedge))


def _batches_of_one_state(indices: np.ndarray, states: np.ndarray) -> Iterable[np.ndarray]:
    for state in np.unique(states[indices]):
        of_state = indices[states[indices] == state]
        yield from np.array_split(of_state, -(-len(of_state) // AT_ONCE))


def _seed_of(seed: int, start: int) -> int:
    return int(np.random.SeedSequence((seed, 1, start)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _particles(simulation: Simulation, poses: SimulatedPoses) -> pd.DataFrame:
    """Make the particle block of the STAR file."""
    settings = simulation.settings
    count = len(poses.states)
    angles = angles_of_matrices(poses.matrices)
    origins = -poses.shifts * settings.voxel_size
    states = [settings.states[state] for state in poses.states]
    folders = [f"subtomograms/{index // PER_FOLDER:04d}" for index in range(count)]
    half = np.random.default_rng((settings.seed, 2)).permutation(count) % 2
    columns: dict[str, object] = {
        "rlnMicrographName": [f"simulated_{state.name}" for state in states],
        "rlnImageName": [f"{folder}/{index + 1:06d}.mrc" for index, folder in enumerate(folders)],
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
