"""Simulated subtomograms, after the paper's appendix A.4.3: X = W (C R V + N).

V is a template, R a rotation and shift, C the contrast transfer function, N white noise of variance 1 and W the
missing wedge. A template's amplitude is such that C V has the wanted signal-to-noise ratio.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.spatial.transform import Rotation
from torch import Tensor

from dualcontrast import __version__
from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume, filtered, wedge_volume
from dualcontrast.cryoet.geometry import angles_of_matrices
from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY, write_particles
from dualcontrast.cryoet.structures import structure_path, template_of
from dualcontrast.errors import RecipeError, RunError
from dualcontrast.files import write_text, written_whole
from dualcontrast.progress import Progress, silent
from dualcontrast.settings import merged, read_yaml, sentence

IN_FOLDER = 500  # subtomograms a folder; a folder is there whole, or not at all
AT_ONCE = 50
LARGEST_GRID = 256  # voxels a side of an oversampled template


class State(BaseModel):
    """One identity in one conformation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    conformation: str
    structure: str = Field(description="a file, or an entry of the Protein Data Bank such as 6vxx")
    share: int = Field(1, ge=1, description="how many times as many subtomograms as `per_state`")

    @property
    def name(self) -> str:
        """The state's name, as files have it."""
        return f"{self.identity}_{self.conformation}"


class SimulationSettings(BaseModel):
    """What to simulate; the defaults are the paper's (appendix A.4.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "simulation"
    states: tuple[State, ...] = Field(min_length=1)
    per_state: int = Field(1000, ge=1, description="subtomograms of a state whose share is 1")
    box: int = Field(32, ge=8, description="voxels a side")
    voxel_size: float = Field(10.0, gt=0, description="in Angstrom")
    resolution: float = Field(10.0, gt=0, description="in Angstrom, of density made from atoms")
    shift: float = Field(2.0, ge=0, description="largest shift along each axis, in voxels")
    snr: float = Field(
        0.1, gt=0, description="variance of the signal after the CTF over the whole box, by that of the noise"
    )
    ctf: CTFSettings | None = CTFSettings()
    tilt_range: float | None = Field(
        None, gt=0, le=90, description="tilts reach from minus to plus so many degrees; null: no missing wedge"
    )
    seed: int = Field(0, ge=0)

    @property
    def counts(self) -> list[int]:
        """Subtomograms of each state."""
        return [state.share * self.per_state for state in self.states]


@dataclass(frozen=True)
class Simulation:
    """A folder of simulated subtomograms.

    Attributes
    ----------
    path : pathlib.Path
        Holds simulation.yaml, particles.star, ctf.mrc (the CTF and the wedge, zero frequency in the middle),
        templates/STATE.mrc (V, without CTF and noise) and subtomograms/.
    settings : SimulationSettings
        What was simulated.
    """

    path: Path
    settings: SimulationSettings

    @property
    def star(self) -> Path:
        """The STAR of all subtomograms, with true poses, identities and conformations."""
        return self.path / "particles.star"

    @property
    def transfer_path(self) -> Path:
        """The volume of C W, the same for all subtomograms."""
        return self.path / "ctf.mrc"

    def template_path(self, state: State) -> Path:
        """Return the file of a state's template V."""
        return self.path / "templates" / f"{state.name}.mrc"

    def templates(self) -> np.ndarray:
        """Return the templates of all states, (S, N, N, N), in the unit of the noise's standard deviation."""
        return np.stack([read_map(self.template_path(state))[0] for state in self.settings.states])

    @classmethod
    def open(cls, path: str | Path) -> Simulation:
        """Open the folder of a simulation.

        Raises
        ------
        RunError
            It is none, or simulation.yaml is damaged.
        """
        file = Path(path) / "simulation.yaml"
        try:
            stated = yaml.safe_load(file.read_text(encoding="utf-8"))["settings"]
            return cls(Path(path), SimulationSettings.model_validate(stated))
        except FileNotFoundError:
            raise RunError(f"{path}: not a simulation, since it has no simulation.yaml") from None
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValidationError):
            raise RunError(f"{file}: damaged; simulate again with --overwrite") from None


def simulation_of(star: str | Path | None) -> Simulation | None:
    """Return the simulation that a STAR file was written by; None where it was not, or has been moved away."""
    path = Path(star) if star is not None else None
    if path is None or path.suffix != ".star" or not (path.parent / "simulation.yaml").is_file():
        return None
    simulation = Simulation.open(path.parent)
    return simulation if simulation.star.name == path.name else None


def packaged_simulations() -> dict[str, Path]:
    """Return the packaged recipes of simulations by name."""
    folder = Path(str(resources.files("dualcontrast"))) / "recipes" / "simulations"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def simulation_settings(
    recipe: str | Path | None = None,
    structures: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> SimulationSettings:
    """Return the settings of a simulation: of a recipe, or of structures, with changes to either.

    Parameters
    ----------
    recipe
        The name of a packaged recipe, or a YAML file.
    structures
        In place of a recipe: structures as `structures.structure_path` takes them, each an identity of its
        own, or IDENTITY=STRUCTURE for conformations of one identity.
    changes
        Settings that replace the recipe's or the defaults.

    Raises
    ------
    RecipeError
        There is no such recipe, an unknown key or a wrong value, two states of one name, or nothing to
        simulate.
    """
    stated = list(structures)
    if (recipe is None) == (not stated):
        known = ", ".join(packaged_simulations())
        raise RecipeError(f"give either a recipe ({known}, or a file) or structures to simulate")
    base = {"states": [_state_of(one) for one in stated]}
    if recipe is not None:
        base = read_yaml(recipe, packaged_simulations())
    try:
        settings = SimulationSettings.model_validate(merged(base, changes or {}))
    except ValidationError as error:
        raise RecipeError(f"simulation {recipe or ''}: {sentence(error, SimulationSettings)}") from None
    names = [state.name for state in settings.states]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RecipeError(f"two states are called {twice[0]}; give each its own identity or conformation")
    return settings


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
    goes on to the same volumes. Memory holds one template and a few subtomograms at a time.

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
    SourceError
        A structure is missing or damaged, or does not fit into the box.
    """
    simulation = Simulation(Path(out), settings)
    _make_way(simulation, resume, overwrite)
    write_text(simulation.path / "simulation.yaml", _described(settings))
    transfer = _write_transfer(simulation)
    _write_templates(simulation, transfer, Path(data) if data else None, progress)
    poses = draw_poses(settings)
    _write_subtomograms(simulation, transfer, poses, progress)
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
        self.volume = _padded_in_fourier_space(volume, self.finer)

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
        copies = F.grid_sample(self.volume.float()[None, None], grid, padding_mode="zeros", align_corners=False)
        return copies.reshape(-1, self.box, self.box, self.box)


def _padded_in_fourier_space(volume: Tensor, factor: int) -> Tensor:
    box = volume.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fftn(volume.double()))
    before = factor * box // 2 - box // 2
    after = factor * box - box - before
    padded = torch.fft.ifftshift(F.pad(spectrum, (before, after) * 3))
    return torch.fft.ifftn(padded).real * factor**3


def _make_way(simulation: Simulation, resume: bool, overwrite: bool) -> None:
    folder = simulation.path
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; choose another --out")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not there:
        return
    if resume:
        if Simulation.open(folder).settings != simulation.settings:
            raise RunError(f"{folder}: holds another simulation; repeat its settings, or choose another --out")
    elif not overwrite:
        raise RunError(
            f"{folder}: already holds {there[0]}; go on with --resume, replace it with --overwrite, or choose "
            "another --out"
        )
    else:
        for name in ("simulation.yaml", "particles.star", "ctf.mrc"):
            (folder / name).unlink(missing_ok=True)
        for name in ("subtomograms", "templates", "figures"):
            shutil.rmtree(folder / name, ignore_errors=True)


def _described(settings: SimulationSettings) -> str:
    described = {"settings": settings.model_dump(mode="json"), "made_by": {"dualcontrast": __version__}}
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True)


def _write_transfer(simulation: Simulation) -> Tensor:
    """Write C W, and return it."""
    settings = simulation.settings
    transfer = np.ones((settings.box,) * 3)
    if settings.ctf is not None:
        transfer *= ctf_volume(settings.box, settings.voxel_size, settings.ctf)
    if settings.tilt_range is not None:
        transfer *= wedge_volume(settings.box, settings.tilt_range)
    _write_whole(simulation.transfer_path, transfer, settings.voxel_size)
    return torch.from_numpy(transfer)


def _write_templates(simulation: Simulation, transfer: Tensor, data: Path | None, progress: Progress) -> None:
    """Write the templates that are not there yet, each with the amplitude that makes the SNR."""
    settings = simulation.settings
    contrast = torch.ones_like(transfer)
    if settings.ctf is not None:
        contrast = torch.from_numpy(ctf_volume(settings.box, settings.voxel_size, settings.ctf))
    for done, state in enumerate(settings.states):
        progress("making templates", done, len(settings.states))
        path = simulation.template_path(state)
        if path.is_file():
            continue
        structure = structure_path(state.structure, data)
        template = template_of(structure, settings.box, settings.voxel_size, settings.resolution)
        signal = filtered(torch.from_numpy(template), contrast)
        _write_whole(path, template * float((settings.snr / signal.var(correction=0)).sqrt()), settings.voxel_size)
    progress("making templates", len(settings.states), len(settings.states))


def _write_whole(path: Path, volume: np.ndarray, voxel_size: float) -> None:
    with written_whole(path) as temporary:
        write_volume(temporary, volume, voxel_size)


def _write_subtomograms(simulation: Simulation, transfer: Tensor, poses: Poses, progress: Progress) -> None:
    """Write the folders of subtomograms that are not there yet."""
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
                    known = {state: Oversampled(_template(simulation, state))}
                volumes = _observed(known[state], poses, batch, settings, transfer, noise)
                for place, volume in zip(batch, volumes.numpy(), strict=True):
                    write_volume(partial / f"{place + 1:06d}.mrc", volume, settings.voxel_size)
                progress("simulating", int(batch[-1]) + 1, count)
            partial.rename(whole)
        progress("simulating", int(places[-1]) + 1, count)


def _template(simulation: Simulation, state: int) -> Tensor:
    return torch.from_numpy(read_map(simulation.template_path(simulation.settings.states[state]))[0])


def _observed(
    template: Oversampled,
    poses: Poses,
    batch: np.ndarray,
    settings: SimulationSettings,
    transfer: Tensor,
    noise: torch.Generator,
) -> Tensor:
    """Return subtomograms of one state, (B, N, N, N): X = W (C R V + N)."""
    matrices, shifts = torch.from_numpy(poses.matrices[batch]), torch.from_numpy(poses.shifts[batch])
    signal = filtered(template.turned(matrices, shifts), transfer.float())
    added = torch.randn(signal.shape, generator=noise)
    if settings.tilt_range is not None:
        added = filtered(added, torch.from_numpy(wedge_volume(settings.box, settings.tilt_range)).float())
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
    return pd.DataFrame(columns)


def _optics(settings: SimulationSettings) -> pd.DataFrame:
    ctf = settings.ctf or CTFSettings()
    return pd.DataFrame(
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


def _state_of(stated: str) -> dict[str, Any]:
    """Turn STRUCTURE or IDENTITY=STRUCTURE into a state."""
    identity, sign, structure = stated.partition("=")
    structure = structure if sign else identity
    name = Path(structure).name.split(".")[0]
    return {"identity": identity if sign else name, "conformation": name, "structure": structure}
