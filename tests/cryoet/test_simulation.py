from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dualcontrast.cryoet.ctf import CTFSettings
from dualcontrast.cryoet.mrc import write_volume
from dualcontrast.cryoet.simulation import Simulation, packaged_simulations, simulation_of, simulation_settings
from dualcontrast.cryoet.structures import template_of
from dualcontrast.errors import RecipeError, RunError


def written(folder: Path) -> Simulation:
    """Write a simulation's settings and templates, without subtomograms."""
    settings = simulation_settings(structures=["a=6vxx", "a=6vyb"], changes={"box": 8})
    simulation = Simulation(folder, settings)
    (folder / "templates").mkdir(parents=True)
    for number, state in enumerate(settings.states):
        write_volume(simulation.template_path(state), np.full((8, 8, 8), number), 10.0)
    text = yaml.safe_dump({"settings": settings.model_dump(mode="json")})
    (folder / "simulation.yaml").write_text(text)
    return simulation


def test_a_simulation_is_opened_as_it_was_written(tmp_path: Path) -> None:
    simulation = written(tmp_path / "sim")
    again = Simulation.open(tmp_path / "sim")
    assert again == simulation
    assert [path.name for path in sorted((tmp_path / "sim" / "templates").iterdir())] == [
        "a_6vxx.mrc",
        "a_6vyb.mrc",
    ]
    np.testing.assert_array_equal(again.templates().mean(axis=(1, 2, 3)), [0, 1])


def test_a_simulation_is_found_by_its_star_file_alone(tmp_path: Path) -> None:
    simulation = written(tmp_path / "sim")
    assert simulation_of(simulation.star) == simulation
    assert simulation_of(simulation.path / "other.star") is None
    assert simulation_of(simulation.path / "particles.mrc") is None
    assert simulation_of(tmp_path / "particles.star") is None
    assert simulation_of(None) is None


def test_what_is_no_simulation_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no simulation.yaml"):
        Simulation.open(tmp_path)
    (tmp_path / "simulation.yaml").write_text("settings: [")
    with pytest.raises(RunError, match="damaged"):
        Simulation.open(tmp_path)


# ---- settings


def test_packaged_simulations_are_the_papers_and_the_local_ones() -> None:
    assert set(packaged_simulations()) == {"demo", "protein18", "protein-local", "protein-local-hard"}
    paper = simulation_settings("protein18")
    assert sum(paper.counts) == 18_000
    assert (paper.box, paper.voxel_size, paper.snr, paper.tilt_range) == (32, 10.0, 0.1, None)
    assert paper.ctf == CTFSettings(defocus=50_000, spherical_aberration=1.7, voltage=300, amplitude_contrast=0.1)
    local = simulation_settings("protein-local")
    by_identity = {state.identity: 0 for state in local.states}
    for state, count in zip(local.states, local.counts, strict=True):
        by_identity[state.identity] += count
    assert by_identity == {"nucleosome": 3000, "spike": 3000, "fas": 3000}


@pytest.mark.parametrize("name", ["protein-local", "protein-local-hard"])
def test_local_structures_are_there_and_fit_the_box(name: str, shared_data: Path) -> None:
    settings = simulation_settings(name)
    for state in settings.states:
        template = template_of(
            shared_data / state.structure, settings.box, settings.voxel_size, settings.resolution
        )
        assert template.max() > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bix": 4}, r"no setting is called bix; did you mean box\?"),
        ({"box": 2}, r"box = 2 is not accepted"),
        ({"snr": 0}, r"snr = 0 is not accepted"),
        ({"voxel_size": 0}, r"voxel_size = 0 is not accepted"),
        ({"ctf": {"defocos": 1}}, r"no setting is called ctf.defocos; did you mean defocus\?"),
        ({"states": [{"identity": "a", "structure": "b"}]}, r"states.0.conformation"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        simulation_settings("protein-local", changes=changes)


def test_nothing_or_both_or_two_of_one_name_are_refused() -> None:
    for arguments in ({}, {"recipe": "protein18", "structures": ["6vxx"]}):
        with pytest.raises(RecipeError, match="either a recipe"):
            simulation_settings(**arguments)
    with pytest.raises(RecipeError, match="two states are called a_6vxx"):
        simulation_settings(structures=["a=6vxx", "a=6vxx"])
    with pytest.raises(RecipeError, match="no recipe is called protein-lokal"):
        simulation_settings("protein-lokal")
