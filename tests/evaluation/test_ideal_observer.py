"""What only a simulation can tell: the ideal observer, and the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dualcontrast import api
from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume
from dualcontrast.cryoet.mrc import read_header, read_volume
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.simulation import Simulation, simulation_of
from dualcontrast.cryoet.simulator import draw_poses
from dualcontrast.cryoet.structures import template_of
from dualcontrast.evaluation import ideal_observer as simulated
from dualcontrast.evaluation.ideal_observer import ideal_observer

STATES = [
    "nucleosome=nucleosome/2pyo.pdb.gz",
    "nucleosome=nucleosome/unwrapped_nucl.pdb.gz",
    "spike=spike/6vxx.pdb.gz",
]
SMALL: dict[str, Any] = {"box": 16, "voxel_size": 21.0, "resolution": 40.0, "per_state": 20, "shift": 1.0}


def simulation(folder: Path, shared_data: Path, **changes: Any) -> Simulation:
    return api.simulate(
        folder, structures=STATES, settings={**SMALL, **changes}, data=shared_data / "proteins", overwrite=True
    )


def table_of(done: Simulation, test: slice = slice(None, None, 2)) -> pd.DataFrame:
    particles = read_particles(done.star)
    table = pd.DataFrame(
        {
            "row": np.arange(len(particles)),
            "split": "train",
            "content": particles.labels("dualcontrastIdentity"),
            "transformation": particles.labels("dualcontrastConformation"),
        }
    )
    table.loc[table.index[test], "split"] = "test"
    return table


@pytest.fixture(scope="module")
def clear(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulation(tmp_path_factory.mktemp("clear") / "sim", shared_data, snr=1.0)


def test_with_little_noise_the_observer_tells_everything(clear: Simulation) -> None:
    expected = {"content": 1.0, "transformation": 1.0, "transformation_pooled": 1.0, "test_images": 30}
    assert ideal_observer(clear, table_of(clear)) == expected


def test_with_nothing_but_noise_the_observer_guesses(shared_data: Path, tmp_path: Path) -> None:
    told = ideal_observer(drowned := simulation(tmp_path, shared_data, snr=1e-9), table_of(drowned))
    assert told is not None
    # the priors decide: two states in three are nucleosomes; its two conformations look alike
    assert told["content"] == pytest.approx(2 / 3, abs=0.15)
    assert told["transformation"] == pytest.approx(1 / 2, abs=0.25)


def test_the_posterior_is_that_of_turned_atoms(shared_data: Path, tmp_path: Path) -> None:
    """Slow reference: turn the atoms themselves, filter by numpy, and compare squared errors."""
    import gemmi
    from scipy import ndimage

    done = simulation(tmp_path / "sim", shared_data, snr=0.05, per_state=2)
    poses = draw_poses(done.settings)
    posterior = simulated._log_posterior(done, np.arange(6), simulated.silent)
    transfer = np.fft.ifftshift(ctf_volume(16, 21.0, CTFSettings()))
    names = read_particles(done.star).image_names
    for place in (0, 3, 5):
        image = read_volume(read_header(done.path / names[place]))
        slow = []
        for state, template in zip(done.settings.states, done.templates(), strict=True):
            path = shared_data / "proteins" / state.structure
            structure = gemmi.read_structure(str(path))
            for site in structure[0].all():
                site.atom.pos = gemmi.Position(*(poses.matrices[place] @ site.atom.pos.tolist()))
            structure.write_pdb(str(tmp_path / "turned.pdb"))
            turned = template_of(tmp_path / "turned.pdb", 16, 21.0, 40.0)
            turned *= template.sum() / turned.sum()
            moved = ndimage.fourier_shift(np.fft.fftn(turned), poses.shifts[place][::-1])
            model = np.fft.ifftn(moved * transfer).real
            slow.append(-0.5 * np.square(image - model).sum())
        differences = np.subtract(slow, slow[0])
        np.testing.assert_allclose(posterior[place] - posterior[place][0], differences, rtol=0.05, atol=4.0)


def test_the_observer_looks_at_test_images_alone_and_not_at_too_many(
    clear: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ideal_observer(clear, table_of(clear, slice(0, 0))) is None
    monkeypatch.setattr(simulated, "OBSERVED_AT_MOST", 7)
    told = ideal_observer(clear, table_of(clear))
    assert told is not None
    assert told["test_images"] == 7


def test_a_simulation_is_known_by_its_star(clear: Simulation, tmp_path: Path) -> None:
    found = simulation_of(str(clear.star))
    assert found is not None
    assert found.settings == clear.settings
    other = clear.path / "other.star"
    other.write_text(clear.star.read_text())
    for source in (None, other, clear.path / "ctf.mrc", tmp_path / "particles.star"):
        assert simulation_of(source) is None
    other.unlink()


def test_a_simulation_leaves_pictures_of_its_templates_and_subtomograms(clear: Simulation) -> None:
    for name in ("templates", "subtomograms"):
        with Image.open(clear.path / "figures" / f"{name}.png") as picture:
            assert picture.width > 300
            assert np.asarray(picture.convert("L")).std() > 5
