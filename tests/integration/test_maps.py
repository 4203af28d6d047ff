"""From codes to maps by the command line, and the way back into RELION, whose programs take what is exported."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
from tests.support.command import assert_refused, call, command
from tests.support.maps import simulated_run, untrained_run
from tests.support.particles import write_particles_of

from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.maps import relion

# What relion_refine finds, and so may change.
REFINED = {"rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnClassNumber", "rlnGroupNumber"}
REFINED |= {f"rlnOrigin{axis}Angst" for axis in "XYZ"}
UNITS = ["content1_transformation1", "content1_transformation2", "content2_transformation1"]
RELION_OPTIONS = (
    "--ini_high 60 --firstiter_cc --ctf --K 1 --iter 1 --flatten_solvent --zero_mask --healpix_order 1 "
    "--offset_range 2 --offset_step 2 --particle_diameter 290 --pad 1 --j 1 --random_seed 1"
)


@pytest.fixture(scope="module")
def run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, _ = simulated_run(tmp_path_factory.mktemp("maps"), shared_data / "proteins")
    return made.path


@pytest.fixture(scope="module")
def clustered(run: Path) -> Path:
    ended = call("cluster", run, "--json", "--quiet")
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert told["sizes"] == {"1": [12, 12], "2": [12]}
    assert told["agreement"]["content"]["ari"] == 1
    return run


@pytest.fixture(scope="module")
def exported(clustered: Path) -> Path:
    ended = call("export", clustered, "--per-class", "--overwrite", "--json", "--quiet")
    assert ended.status == 0, ended.err
    return clustered / "export" / "main"


needs_relion = pytest.mark.skipif(
    not relion.installed() and os.environ.get("CI") != "true", reason="RELION is not installed"
)


def likeness(average: Path, simulation: Simulation, state: int) -> float:
    return float(np.corrcoef(read_map(average)[0].ravel(), simulation.templates()[state].ravel())[0, 1])


@needs_relion
def test_reconstruct_takes_an_exported_class(exported: Path) -> None:
    """The whole file by its class, and the class's own file, give the same map: that of the class's protein."""
    simulation = Simulation.open(exported.parents[2] / "sim")
    by_class, own = exported / "by_class.mrc", exported / "own.mrc"
    words = relion.reconstruct_command(exported / "particles.star", by_class, ctf=True)
    relion.run_relion([*words, "--class", "2"], simulation.path)
    relion.run_relion(relion.reconstruct_command(exported / "class002.star", own, ctf=True), simulation.path)
    np.testing.assert_allclose(read_map(own)[0], read_map(by_class)[0], atol=1e-5)
    assert read_map(own)[1] == pytest.approx(21)
    assert likeness(own, simulation, 0) > 0.95
    assert likeness(own, simulation, 1) < 0.9


@needs_relion
def test_refine_takes_an_exported_class_and_keeps_its_rows(exported: Path, tmp_path: Path) -> None:
    simulation = Simulation.open(exported.parents[2] / "sim")
    write_volume(tmp_path / "reference.mrc", simulation.templates()[1], 21)
    star = exported / "class001_transformation1.star"
    words = f"relion_refine --i {star} --o {tmp_path}/run --ref {tmp_path}/reference.mrc {RELION_OPTIONS}"
    relion.run_relion(words.split(), simulation.path)
    given = starfile.read(star)["particles"].set_index("rlnImageName")
    refined = starfile.read(tmp_path / "run_it001_data.star")["particles"].set_index("rlnImageName")
    assert sorted(refined.index) == sorted(given.index)
    refined = refined.loc[given.index]
    assert len([name for name in given if name.startswith("dualcontrast")]) == 2 + 4 + 3 + 4 + 1
    for name in set(given) - REFINED:
        if pd.api.types.is_numeric_dtype(given[name]):
            np.testing.assert_allclose(refined[name].astype(float), given[name], rtol=1e-5, atol=1e-5)
        else:
            assert refined[name].tolist() == given[name].tolist()


@needs_relion
def test_relion_and_the_built_in_averager_agree(clustered: Path) -> None:
    simulation = Simulation.open(clustered.parent / "sim")
    folder = clustered / "averages" / "main"
    ended = call("average", clustered, "--with", "relion", "--overwrite")
    assert ended.status == 0, ended.err
    assert f"RELION was called with: {folder / 'commands.txt'}" in ended.out
    assert "content1_transformation1: 12 particles, 42.0 A (relion_reconstruct); most like spike 6vxx" in ended.out
    by_relion = [read_map(folder / f"{unit}.mrc")[0] for unit in UNITS]
    commands = (folder / "commands.txt").read_text()
    assert commands.count("relion_reconstruct --i ") == 9
    assert commands.count("--subset 2") == 3
    assert commands.count(f"--i {folder}/content") == 9  # where they lie now, not where they were written
    refused = call("average", clustered, "--with", "builtin")
    assert_refused(refused, "with other settings; replace all averages with --overwrite")
    assert call("average", clustered, "--with", "builtin", "--overwrite", "--quiet").status == 0
    for unit, volume, state in zip(UNITS, by_relion, (1, 2, 0), strict=True):
        built_in = read_map(folder / f"{unit}.mrc")[0]
        assert np.corrcoef(volume.ravel(), built_in.ravel())[0, 1] > 0.97
        assert likeness(folder / f"{unit}.mrc", simulation, state) > 0.95


@needs_relion
def test_relion_finds_poses_of_halves_apart(clustered: Path) -> None:
    words = ("--within", 1, "--content", 1, "--transformation", 1, "--name", "spike", "--quiet")
    assert call("cluster", clustered, *words).status == 0
    options = ("--clusters", "spike", "--with", "relion", "--align", "--degrees", 30, "--iterations", 2)
    ended = call("average", clustered, *options, "--json", "--quiet")
    assert ended.status == 0, ended.err
    (unit,) = json.loads(ended.out)["clusters"]
    assert unit["how"] == "poses by relion_refine, average by relion_reconstruct"
    refined = [words for words in unit["commands"] if words.startswith("relion_refine")]
    assert ["half1.star" in words for words in refined] == [True, False]
    folder = clustered / "averages" / "spike"
    place = folder / "content1_transformation1_relion"
    halves = [set(starfile.read(place / f"half{half}.star")["particles"]["rlnImageName"]) for half in (1, 2)]
    assert len(halves[0] | halves[1]) == 24
    assert not halves[0] & halves[1]
    reference = read_map(place / "reference.mrc")[0]
    k = np.arange(16) - 8
    frequency = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2) / (16 * 21)
    power = np.abs(np.fft.fftshift(np.fft.fftn(reference))) ** 2
    assert power[frequency > 1 / 60].max() < 1e-6 * power.max()
    assert max(unit["truth"], key=lambda state: state["correlation"])["identity"] == "spike"


def test_a_killed_average_goes_on(clustered: Path) -> None:
    shutil.copy(clustered / "clusters" / "main.csv", clustered / "clusters" / "killed.csv")
    shutil.copy(clustered / "clusters" / "main.json", clustered / "clusters" / "killed.json")
    words = ("average", clustered, "--clusters", "killed", "--with", "builtin", "--quiet")
    folder = clustered / "averages" / "killed"
    process = subprocess.Popen(command(*words))
    for _ in range(2400):
        if (folder / f"{UNITS[0]}.json").is_file():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "fsc.csv").exists()
    kept = (folder / f"{UNITS[0]}.mrc").stat().st_mtime_ns
    ended = call(*words)
    assert ended.status == 0, ended.err
    assert (folder / f"{UNITS[0]}.mrc").stat().st_mtime_ns == kept
    assert set(pd.read_csv(folder / "fsc.csv")["cluster"]) == set(UNITS)


def test_a_killed_search_for_poses_goes_on_to_the_same_average(clustered: Path) -> None:
    options = ("--with", "builtin", "--align", "--degrees", 30, "--iterations", 3, "--quiet")
    for name in ("stopped", "unstopped"):
        words = ("--within", 1, "--content", 1, "--transformation", 1, "--name", name, "--quiet")
        assert call("cluster", clustered, *words).status == 0
    folder, unit = clustered / "averages" / "stopped", UNITS[0]
    process = subprocess.Popen(command("average", clustered, "--clusters", "stopped", *options))
    for _ in range(2400):
        if (folder / f"{unit}_search.safetensors").is_file():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / f"{unit}.json").exists()
    for name in ("stopped", "unstopped"):
        ended = call("average", clustered, "--clusters", name, *options)
        assert ended.status == 0, ended.err
    assert not (folder / f"{unit}_search.safetensors").exists()
    maps = [read_map(clustered / "averages" / name / f"{unit}.mrc")[0] for name in ("stopped", "unstopped")]
    np.testing.assert_allclose(*maps, atol=1e-3)  # sums of float32 differ by how memory lies, and poses by those


def test_a_source_that_was_moved_is_found_by_its_folder(tmp_path: Path) -> None:
    """Where codes are still to be made, and where the particles themselves are needed."""
    volumes = np.random.default_rng(0).normal(size=(20, 8, 8, 8))
    run = untrained_run(tmp_path / "run", write_particles_of(volumes, tmp_path / "before")).path
    (tmp_path / "before").rename(tmp_path / "after")
    there = ("--datadir", tmp_path / "after")
    looked = f"looked for at {tmp_path}/before/particles.star; put them back"
    for verb in ("cluster", "average", "export"):
        if verb != "cluster":
            assert call("cluster", run, *there, "--content", 1, "--transformation", 1, "--quiet").status == 0
        assert_refused(call(verb, run), looked)
        assert not (run / {"cluster": "clusters", "average": "averages", "export": "export"}[verb]).exists()
    for verb, *options in (("encode",), ("evaluate",), ("transfer", "--count", 2), ("embed", "--how", "pca")):
        (run / "codes" / "table.csv").unlink()
        assert_refused(call(verb, run, *options), looked)
        ended = call(verb, run, *options, *there, "--quiet")
        assert ended.status == 0, ended.err
        assert call("encode", run, *there, "--quiet").status == 0
    options = ("--with", "builtin", "--iterations", 1, "--degrees", 60, "--quiet")
    assert call("average", run, *there, *options).status == 0
    assert call("export", run, *there, "--quiet").status == 0
    assert len(starfile.read(run / "export" / "main" / "particles.star")["particles"]) == 20
