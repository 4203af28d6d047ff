"""A simulation: its settings, as in recipes, and the folder that holds it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dualcontrast.cryoet.ctf import CTFSettings
from dualcontrast.cryoet.mrc import read_map
from dualcontrast.errors import RecipeError, RunError
from dualcontrast.settings import SettingsMapping, merged, packaged, read_yaml, sentence


class State(BaseModel):
    """One identity in one conformation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: str
    conformation: str
    structure: str = Field(description="a file, or an entry of the Protein Data Bank such as 6vxx")
    share: int = Field(1, ge=1, description="number of subtomograms, in multiples of `per_state`")

    @property
    def name(self) -> str:
        """The state's name in file names."""
        return f"{self.identity}_{self.conformation}"


class SimulationSettings(BaseModel):
    """Settings of a simulation; the defaults are the paper's (appendix A.4.3)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("simulation", description="of the simulation; by default that of the recipe's file")
    states: tuple[State, ...] = Field(
        min_length=1, description="each with `identity`, `conformation`, `structure` and, if it is not 1, `share`"
    )
    per_state: int = Field(1000, ge=1, description="number of subtomograms of a state whose share is 1")
    box: int = Field(32, ge=8, description="box size in voxels")
    voxel_size: float = Field(10.0, gt=0, description="in Angstrom")
    resolution: float = Field(10.0, gt=0, description="in Angstrom, of density made from atoms")
    shift: float = Field(2.0, ge=0, description="largest shift along each axis, in voxels")
    snr: float = Field(
        0.1,
        gt=0,
        description="variance of the signal after the CTF, over the whole box, divided by that of the noise",
    )
    ctf: CTFSettings | None = Field(CTFSettings(), description="of the microscope; null: none")
    tilt_range: float | None = Field(
        None, gt=0, le=90, description="largest tilt in degrees, in either direction; null: no missing wedge"
    )
    seed: int = Field(0, ge=0, description="of poses and noise")

    @property
    def counts(self) -> list[int]:
        """Number of subtomograms of each state."""
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
        The settings it was made with.
    """

    path: Path
    settings: SimulationSettings

    @property
    def star(self) -> Path:
        """The STAR of all subtomograms, with true poses, identities and conformations."""
        return self.path / "particles.star"

    @property
    def transfer_path(self) -> Path:
        """The volume of CTF and wedge, C W, the same for all subtomograms."""
        return self.path / "ctf.mrc"

    def template_path(self, state: State) -> Path:
        """Return the file of a state's template V."""
        return self.path / "templates" / f"{state.name}.mrc"

    def templates(self) -> np.ndarray:
        """Read the templates of all states, (S, N, N, N), in units of the noise's standard deviation."""
        return np.stack([read_map(self.template_path(state))[0] for state in self.settings.states])

    @classmethod
    def open(cls, path: str | Path) -> Simulation:
        """Open the folder of a simulation.

        Raises
        ------
        RunError
            It is not a simulation, or simulation.yaml is damaged.
        """
        file = Path(path) / "simulation.yaml"
        try:
            stated = yaml.safe_load(file.read_text(encoding="utf-8"))["settings"]
            return cls(Path(path), SimulationSettings.model_validate(stated))
        except FileNotFoundError:
            raise RunError(f"{path}: not a simulation, because it has no simulation.yaml") from None
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValidationError):
            raise RunError(f"{file}: damaged; simulate again with `overwrite=True`") from None


def simulation_of(star: str | Path | None) -> Simulation | None:
    """Return the simulation that wrote a STAR file; None if there is none beside it."""
    path = Path(star) if star is not None else None
    if path is None or path.suffix != ".star" or not (path.parent / "simulation.yaml").is_file():
        return None
    simulation = Simulation.open(path.parent)
    return simulation if simulation.star.name == path.name else None


def packaged_simulations() -> dict[str, Path]:
    """Return the packaged simulation recipes by name."""
    return packaged("recipes/simulations")


def simulation_settings(
    recipe: str | Path | None = None,
    structures: Iterable[str] = (),
    changes: SettingsMapping | None = None,
) -> SimulationSettings:
    """Build the settings of a simulation from a recipe or from structures, with changes to either.

    Parameters
    ----------
    recipe
        The name of a packaged recipe, or a YAML file.
    structures
        Instead of a recipe: structures as `structures.structure_path` takes them, each an identity of its own,
        or IDENTITY=STRUCTURE for conformations of one identity.
    changes
        Settings that replace the recipe's or the defaults.

    Raises
    ------
    RecipeError
        There is no such recipe, an unknown key or a wrong value, two states with the same name, or nothing to
        simulate.
    """
    named = list(structures)
    if (recipe is None) == (not named):
        known = ", ".join(packaged_simulations())
        raise RecipeError(f"give either a recipe ({known}, or a file) or structures to simulate")
    base = {"states": [_state_of(structure) for structure in named]}
    if recipe is not None:
        base = read_yaml(recipe, packaged_simulations())
    try:
        settings = SimulationSettings.model_validate(merged(base, changes or {}))
    except ValidationError as error:
        raise RecipeError(f"simulation {recipe or ''}: {sentence(error, SimulationSettings)}") from None
    names = [state.name for state in settings.states]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise RecipeError(f"two states are called {repeated[0]}; give each its own identity or conformation")
    return settings


def _state_of(argument: str) -> dict[str, str]:
    """Parse STRUCTURE or IDENTITY=STRUCTURE into a state."""
    identity, sign, structure = argument.partition("=")
    structure = structure if sign else identity
    name = Path(structure).name.split(".")[0]
    return {"identity": identity if sign else name, "conformation": name, "structure": structure}
