"""RELION itself takes what the simulator writes, and agrees on what a pose means."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import starfile

from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.cryoet.simulation import Simulation, simulation_settings
from dualcontrast.cryoet.simulator import simulate
from dualcontrast.cryoet.star import CONFORMATION, IDENTITY

PROGRAMS = ("relion_reconstruct", "relion_refine")


@pytest.fixture(scope="module", autouse=True)
def _relion() -> None:
    """Skip where RELION is not installed; but where all is to be tested, that is a failure."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{missing[0]} is not installed; on Debian: apt-get install relion")
    if missing:
        pytest.skip(f"{missing[0]} is not installed")


@pytest.fixture(scope="module")
def simulated(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Sixty subtomograms of a spike, turned and shifted, with a CTF and a missing wedge."""
    settings = simulation_settings(
        structures=["spike=spike/6vyb.pdb.gz"],
        changes={"per_state": 60, "box": 16, "voxel_size": 16.0, "resolution": 32.0, "snr": 2.0, "tilt_range": 60},
    )
    return simulate(settings, tmp_path_factory.mktemp("relion") / "sim", data=shared_data / "proteins")


def relion(simulation: Simulation, *words: object) -> str:
    """Run a program of RELION in the folder of a simulation, as in a project of its own."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=simulation.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def likeness(simulation: Simulation, star: Path, *options: object) -> float:
    """Return the correlation of RELION's reconstruction with the template."""
    average = simulation.path / f"{star.stem}.mrc"
    relion(simulation, "relion_reconstruct", "--i", star.name, "--3d_rot", "--o", average.name, *options)
    (template,) = simulation.templates()
    return float(np.corrcoef(read_map(average)[0].ravel(), template.ravel())[0, 1])


def changed(simulation: Simulation, name: str, **factors: float) -> Path:
    """Write the STAR anew, with columns multiplied."""
    blocks = starfile.read(simulation.star)
    for column, factor in factors.items():
        blocks["particles"][column] *= factor
    path = simulation.path / f"{name}.star"
    starfile.write(blocks, path)
    return path


def test_reconstruct_takes_the_star_and_tells_the_right_rotation_sense_and_shift(simulated: Simulation) -> None:
    right = likeness(simulated, simulated.star, "--ctf")
    assert right > 0.97
    # The inverse of (rot, tilt, psi) is (-psi, -tilt, -rot).
    blocks = starfile.read(simulated.star)
    angles = blocks["particles"][["rlnAnglePsi", "rlnAngleTilt", "rlnAngleRot"]].to_numpy()
    blocks["particles"][["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]] = -angles
    starfile.write(blocks, simulated.path / "inverse.star")
    assert likeness(simulated, simulated.path / "inverse.star", "--ctf") < right - 0.1
    back = changed(simulated, "back", rlnOriginXAngst=-1, rlnOriginYAngst=-1, rlnOriginZAngst=-1)
    assert likeness(simulated, back, "--ctf") < right - 0.1


def test_reconstruct_corrects_the_ctf_and_the_wedge(simulated: Simulation) -> None:
    corrected = likeness(simulated, simulated.star, "--ctf")
    assert corrected > likeness(simulated, simulated.star) + 0.05


def test_reconstruct_makes_one_average_a_class(simulated: Simulation) -> None:
    assert likeness(simulated, simulated.star, "--ctf", "--class", 1) > 0.97


def test_refine_takes_the_star_and_keeps_our_columns(simulated: Simulation) -> None:
    (template,) = simulated.templates()
    write_volume(simulated.path / "reference.mrc", template, simulated.settings.voxel_size)
    (simulated.path / "out").mkdir()
    options = (
        "--ref reference.mrc --ini_high 60 --firstiter_cc --ctf --K 1 --iter 3 --tau2_fudge 4 --flatten_solvent "
        "--healpix_order 1 --offset_range 3 --offset_step 2 --particle_diameter 240 --pad 1 --j 1 --random_seed 1"
    )
    relion(simulated, "relion_refine", "--i", simulated.star.name, "--o", "out/run", *options.split())
    refined = read_particles(simulated.path / "out" / "run_it003_data.star")
    given = read_particles(simulated.star)
    order = [given.image_names.tolist().index(name) for name in refined.image_names]
    assert sorted(order) == list(range(60))
    for column in (IDENTITY, CONFORMATION):
        assert refined.labels(column).tolist() == given.labels(column)[order].tolist()
    average = read_map(simulated.path / "out" / "run_it003_class001.mrc")[0]
    assert np.corrcoef(average.ravel(), template.ravel())[0, 1] > 0.7
