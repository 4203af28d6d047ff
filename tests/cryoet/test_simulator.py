"""Simulated subtomograms against slow references, and what a simulation that was stopped leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import torch
from scipy import ndimage

from dualcontrast.cryoet import simulator as module
from dualcontrast.cryoet.ctf import CTFSettings, ctf_volume, wedge_volume
from dualcontrast.cryoet.geometry import matrices_of_angles
from dualcontrast.cryoet.mrc import read_header, read_map, read_volume
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.simulation import Simulation, simulation_settings
from dualcontrast.cryoet.simulator import Oversampled, draw_poses, simulate
from dualcontrast.cryoet.structures import template_of
from dualcontrast.errors import RunError, SourceError, UsageError

NUCLEOSOMES = ["nucleosome=nucleosome/2pyo.pdb.gz", "nucleosome=nucleosome/1kx5.pdb.gz"]
SMALL: dict[str, Any] = {"box": 16, "voxel_size": 20.0, "resolution": 40.0, "per_state": 6, "shift": 1.0}


@pytest.fixture(scope="module")
def proteins(shared_data: Path) -> Path:
    return shared_data / "proteins"


@pytest.fixture
def small(proteins: Path, tmp_path: Path) -> Callable[..., Simulation]:
    """Simulate a few subtomograms of 16 voxels a side into the folder `sim`."""

    def simulated(changes: dict[str, Any] | None = None, out: str = "sim", **options: Any) -> Simulation:
        settings = simulation_settings(structures=NUCLEOSOMES, changes={**SMALL, **(changes or {})})
        return simulate(settings, tmp_path / out, data=proteins, **options)

    return simulated


def volumes_of(simulation: Simulation) -> np.ndarray:
    names = read_particles(simulation.star).image_names
    return np.stack([read_volume(read_header(simulation.path / name)) for name in names])


def filtered_slowly(volume: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    return np.asarray(np.fft.ifftn(np.fft.fftn(volume) * np.fft.ifftshift(transfer)).real)


# ---- the forward model


def test_a_turned_template_is_the_density_of_turned_atoms(proteins: Path, tmp_path: Path) -> None:
    path = proteins / "spike" / "6vyb.pdb.gz"
    box, voxel = 24, 12.0
    settings = simulation_settings(structures=[str(path)], changes={"per_state": 3, "shift": 2.0})
    poses = draw_poses(settings)
    template = torch.from_numpy(template_of(path, box, voxel, 20.0))
    turned = Oversampled(template).transformed(torch.from_numpy(poses.matrices), torch.from_numpy(poses.shifts))
    for matrix, shift, volume in zip(poses.matrices, poses.shifts, turned.numpy(), strict=True):
        structure = gemmi.read_structure(str(path))
        for site in structure[0].all():
            site.atom.pos = gemmi.Position(*(matrix @ site.atom.pos.tolist()))
        structure.write_pdb(str(tmp_path / "turned.pdb"))
        expected = template_of(tmp_path / "turned.pdb", box, voxel, 20.0)
        expected = ndimage.fourier_shift(np.fft.fftn(expected), shift[::-1])
        expected = np.fft.ifftn(expected).real
        assert np.corrcoef(expected.ravel(), volume.ravel())[0, 1] > 0.999
        assert np.abs(volume - expected).max() < 0.05 * expected.max()


@pytest.mark.parametrize("box", [16, 17])
def test_an_unturned_template_is_itself(box: int) -> None:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(box,) * 3), 2, mode="wrap")
    turned = Oversampled(torch.from_numpy(smooth)).transformed(torch.eye(3)[None], torch.zeros(1, 3))
    np.testing.assert_allclose(turned[0], smooth, atol=1e-6)


def test_a_subtomogram_is_the_filtered_template_and_noise_of_variance_one(
    small: Callable[..., Simulation],
) -> None:
    simulation = small({"snr": 0.5, "per_state": 40})
    poses = draw_poses(simulation.settings)
    contrast = ctf_volume(16, 20.0, CTFSettings())
    np.testing.assert_allclose(read_map(simulation.transfer_path)[0], contrast, atol=1e-6)
    templates = simulation.templates()
    for template in templates:  # the definition of the signal-to-noise ratio
        assert filtered_slowly(template, contrast).var() == pytest.approx(0.5, rel=1e-4)
    noise = []
    for place, volume in enumerate(volumes_of(simulation)):
        inverse = np.linalg.inv(poses.matrices[place])[::-1, ::-1]
        offset = 8 - inverse @ (8 + poses.shifts[place][::-1])
        turned = ndimage.affine_transform(templates[poses.states[place]].astype(float), inverse, offset, order=3)
        noise.append(volume - filtered_slowly(turned, contrast))
    assert np.std(noise) == pytest.approx(1, abs=0.02)
    assert np.mean(noise) == pytest.approx(0, abs=0.02)
    spectrum = np.mean(np.abs(np.fft.fftn(noise, axes=(1, 2, 3))) ** 2, axis=0) / 16**3
    assert spectrum[1:, 1:, 1:].min() > 0.4  # white: the lowest of 3,375 means over 80 draws of an exponential
    assert spectrum.max() < 2.2


def test_the_wedge_takes_the_noise_too(small: Callable[..., Simulation]) -> None:
    simulation = small({"tilt_range": 50})
    missing = np.fft.ifftshift(wedge_volume(16, 50)) == 0
    missing[8], missing[:, 8], missing[:, :, 8] = False, False, False  # Nyquist planes mix k with -k
    for volume in volumes_of(simulation):
        spectrum = np.abs(np.fft.fftn(volume))
        assert spectrum[missing].max() < 1e-3 * np.median(spectrum[~missing])


def test_poses_are_uniform_on_so3_and_shifts_within_bounds() -> None:
    settings = simulation_settings(structures=["6vxx"], changes={"per_state": 4000, "shift": 1.5})
    poses = draw_poses(settings)
    products = poses.matrices @ poses.matrices.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-9)
    # of a uniform rotation, every matrix element is uniform on [-1, 1], and the trace has mean 0
    for element in poses.matrices.reshape(-1, 9).T:
        np.testing.assert_allclose(np.quantile(element, [0.1, 0.5, 0.9]), [-0.8, 0, 0.8], atol=0.08)
    assert abs(np.trace(poses.matrices, axis1=1, axis2=2).mean()) < 0.08
    assert np.abs(poses.shifts).max() <= 1.5
    assert poses.shifts.std() == pytest.approx(1.5 / np.sqrt(3), rel=0.05)


# ---- files


def test_the_star_says_what_was_simulated(small: Callable[..., Simulation]) -> None:
    simulation = small()
    particles, poses = read_particles(simulation.star), draw_poses(simulation.settings)
    assert particles.pixel_size == 20
    np.testing.assert_allclose(particles.matrices(), poses.matrices, atol=1e-6)
    np.testing.assert_allclose(particles.shifts(), 20 * poses.shifts, atol=1e-4)
    assert particles.labels("dualcontrastIdentity").tolist() == ["nucleosome"] * 12
    assert particles.labels("dualcontrastConformation").tolist() == ["2pyo"] * 6 + ["1kx5"] * 6
    assert set(particles.table["rlnRandomSubset"]) == {1, 2}
    matrices = matrices_of_angles(particles.table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy())
    np.testing.assert_allclose(matrices, poses.matrices, atol=1e-6)


def test_the_same_seed_gives_the_same_subtomograms_and_another_others(small: Callable[..., Simulation]) -> None:
    first, again, other = small(), small(out="again"), small({"seed": 1}, out="other")
    np.testing.assert_array_equal(volumes_of(first), volumes_of(again))
    assert first.star.read_text().splitlines()[3:] == again.star.read_text().splitlines()[3:]
    assert np.abs(volumes_of(first) - volumes_of(other)).min(axis=(1, 2, 3)).max() < 0.1
    assert np.corrcoef(volumes_of(first).ravel(), volumes_of(other).ravel())[0, 1] < 0.2


def test_a_stopped_simulation_goes_on_to_the_same_volumes(
    small: Callable[..., Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PER_FOLDER", 4)
    whole = small(out="whole")

    def stop_after_five(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        if what == "simulating" and done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(progress=stop_after_five)
    folder = whole.path.parent / "sim"
    assert not (folder / "particles.star").exists()
    written = sorted(path.name for path in (folder / "subtomograms").iterdir() if path.name[0] != ".")
    assert written == ["0000"]
    kept = (folder / "subtomograms" / "0000" / "000001.mrc").stat().st_mtime_ns
    resumed = small(resume=True)
    np.testing.assert_array_equal(volumes_of(resumed), volumes_of(whole))
    assert (folder / "subtomograms" / "0000" / "000001.mrc").stat().st_mtime_ns == kept
    assert not list((folder / "subtomograms").glob(".*"))


def test_a_folder_with_something_in_it_is_refused(small: Callable[..., Simulation]) -> None:
    done = small()
    (done.path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="already holds"):
        small()
    with pytest.raises(RunError, match="holds another simulation"):
        small({"snr": 0.3}, resume=True)
    with pytest.raises(UsageError, match="`resume=True` continues and `overwrite=True` starts over"):
        small({"snr": 0.3}, resume=True, overwrite=True)
    again = small({"snr": 0.3}, overwrite=True)
    assert (again.path / "notes.txt").read_text() == "mine"
    assert Simulation.open(again.path).settings.snr == 0.3


def test_a_missing_structure_is_named(tmp_path: Path) -> None:
    settings = simulation_settings(structures=["nothing.pdb"])
    with pytest.raises(SourceError, match=r"nothing.pdb: no such structure"):
        simulate(settings, tmp_path / "sim")
