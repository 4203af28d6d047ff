"""Averages of the clusters of a simulated set, whose truth is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.support.maps import CodedRun, simulated_run, untrained_run
from tests.support.particles import PIXEL_SIZE, angles_and_origins, write_mrc, write_particles_of
from tests.support.runs import small_run

from dualcontrast.analysis.clusters import cluster
from dualcontrast.api import Run
from dualcontrast.cryoet.mrc import read_header, read_map
from dualcontrast.cryoet.simulation import Simulation
from dualcontrast.cryoet.star import read_particles
from dualcontrast.errors import DualContrastWarning, RunError, SourceError
from dualcontrast.maps import average as module
from dualcontrast.maps import relion
from dualcontrast.maps.average import average
from dualcontrast.maps.averaging import shell_correlation
from dualcontrast.maps.backend import ClusterJob
from dualcontrast.maps.cluster_average import ClusterAverage
from dualcontrast.maps.refinement import Search

UNITS = ["content1_transformation1", "content1_transformation2", "content2_transformation1"]
TRUTH = ["6vxx", "6xra", "2pyo"]


@pytest.fixture(scope="module")
def simulated(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CodedRun, Simulation]:
    run, simulation = simulated_run(tmp_path_factory.mktemp("averages"), shared_data / "proteins")
    cluster(run)
    average(run, by="builtin")
    return run, simulation


@pytest.fixture
def folder(simulated: tuple[CodedRun, Simulation]) -> Path:
    return simulated[0].path / "averages" / "main"


def test_every_cluster_has_its_maps(folder: Path) -> None:
    for unit in UNITS:
        for kind in ("", "_half1", "_half2"):
            header = read_header(folder / f"{unit}{kind}.mrc")
            assert (header.shape, header.voxel_size) == ((16, 16, 16), 21)  # not binned as in the run
        told = json.loads((folder / f"{unit}.json").read_text())
        assert (told["particles"], told["poses"], told["averaged_by"]) == (12, "stated", "builtin")
        halves = [read_map(folder / f"{unit}_half{half}.mrc")[0] for half in (1, 2)]
        assert np.mean(shell_correlation(*halves)[1:7]) > 0.8
        assert 42 <= told["resolution"] < 60
    with Image.open(folder.parent.parent / "figures" / "averages_main.png") as picture:
        assert min(picture.size) > 300


def test_an_average_is_most_like_its_own_truth(folder: Path) -> None:
    table = pd.read_csv(folder / "correlations.csv")
    assert len(table) == 9
    for unit, state in zip(UNITS, TRUTH, strict=True):
        own = table[table["cluster"] == unit].set_index("conformation")
        assert own["correlation"].idxmax() == state
        assert own["correlation"][state] > 0.97
        assert own["correlation"].drop(state).max() < 0.9
        assert own["share"].to_dict() == {other: float(other == state) for other in TRUTH}
        assert own["resolution"].idxmin() == state


def test_curves_of_halves_and_of_the_truth(folder: Path) -> None:
    table = pd.read_csv(folder / "fsc.csv")
    assert set(table["cluster"]) == set(UNITS)
    assert set(table["between"]) == {"halves", "nucleosome 2pyo", "spike 6vxx", "spike 6xra"}
    own = table[(table["cluster"] == UNITS[0]) & (table["between"] == "halves")]
    np.testing.assert_allclose(own["frequency"], np.arange(9) / (16 * 21), atol=1e-6)
    assert own["fsc"].to_list() == json.loads((folder / f"{UNITS[0]}.json").read_text())["fsc"]


def test_the_particles_of_each_are_written_with_their_poses(
    folder: Path, simulated: tuple[CodedRun, Simulation]
) -> None:
    _, simulation = simulated
    given, written = read_particles(simulation.star), read_particles(folder / f"{UNITS[1]}.star")
    rows = np.flatnonzero(given.labels("dualcontrastConformation") == "6xra")
    assert written.image_names.tolist() == given.image_names[rows].tolist()
    matrices, stated = written.matrices(), given.matrices()
    assert matrices is not None
    assert stated is not None
    np.testing.assert_allclose(matrices, stated[rows], atol=1e-5)
    np.testing.assert_allclose(written.origins, given.origins[rows], atol=1e-4)
    assert written.labels("rlnRandomSubset").tolist() == given.labels("rlnRandomSubset")[rows].tolist()


def test_what_was_made_stays_and_what_is_missing_is_made(
    simulated: tuple[CodedRun, Simulation], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was stopped within the second cluster leaves its maps, perhaps, but not its JSON."""
    run, _ = simulated
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("content*")}
    whole = read_map(folder / f"{UNITS[1]}.mrc")[0]
    (folder / f"{UNITS[1]}.json").unlink()
    made: list[str] = []
    make = module.average_cluster

    def noted(job: ClusterJob, *rest: Any) -> ClusterAverage:
        made.append(job.files.cluster.name)
        return make(job, *rest)

    monkeypatch.setattr(module, "average_cluster", noted)
    done = average(run, by="builtin")
    assert made == [UNITS[1]]
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("content*")}
    assert {name for name in before if before[name] != after[name]} == {n for n in before if UNITS[1] in n}
    np.testing.assert_array_equal(read_map(folder / f"{UNITS[1]}.mrc")[0], whole)
    assert [unit.name for unit in done.clusters] == UNITS
    assert len(done.describe()) == 3


def test_averages_made_otherwise_are_kept_unless_it_is_said(
    simulated: tuple[CodedRun, Simulation], folder: Path
) -> None:
    run, _ = simulated
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(RunError, match="from other images or poses, or with other settings; replace all averages"):
        average(run, by="builtin", align=True)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_averages_are_replaced_by_whole_ones_and_a_stopped_call_goes_on(
    simulated: tuple[CodedRun, Simulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = simulated
    cluster(run, name="replaced")
    average(run, clusters="replaced", by="builtin")
    folder, make = run.averages_folder("replaced"), module.average_cluster
    (folder / "of another clustering").write_text("")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    made: list[str] = []

    def stopped_at_the_third(job: ClusterJob, *rest: Any) -> ClusterAverage:
        made.append(job.files.cluster.name)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make(job, *rest)

    monkeypatch.setattr(module, "average_cluster", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        average(run, clusters="replaced", by="builtin", search=Search(seed=1), overwrite=True)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    average(run, clusters="replaced", by="builtin", search=Search(seed=1), overwrite=True)
    assert made == [*UNITS, UNITS[2]]
    assert {path.name for path in folder.iterdir()} == set(before) - {"of another clustering"}
    assert json.loads((folder / f"{UNITS[0]}.json").read_text())["made_from"]["search"]["seed"] == 1
    assert not list(folder.parent.glob(".replaced*"))


def test_poses_are_found_where_they_are_not_to_be_known(simulated: tuple[CodedRun, Simulation]) -> None:
    run, simulation = simulated
    cluster(run, within=2, transformation=1, content=1)
    done = average(run, clusters="main-2", by="builtin", align=True, search=Search(iterations=4, degrees=30))
    (unit,) = done.clusters
    assert unit.how == "poses by builtin, average by builtin"
    best = max(unit.truth, key=lambda state: state.correlation)
    assert best.conformation == "2pyo"
    assert best.correlation > 0.9
    found = read_particles(done.folder / "content1_transformation1.star").matrices()
    stated = read_particles(simulation.star).matrices()
    assert found is not None
    assert stated is not None
    assert not np.allclose(found, stated[:12], atol=0.1)


def test_volumes_without_a_star_are_aligned_and_listed_in_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bar = np.zeros((12, 12, 12))
    bar[5:8, 4:9, 2:10] = 4
    for place in range(6):
        write_mrc(tmp_path / "data" / f"{place}.mrc", bar + rng.normal(size=bar.shape))
    run = untrained_run(tmp_path / "run", tmp_path / "data")
    run.keep_codes(rng.normal(size=(6, 2)), rng.normal(size=(6, 2)))
    cluster(run, content=1, transformation=1)
    done = average(run, search=Search(iterations=1, degrees=60))
    table = pd.read_csv(done.folder / "content1_transformation1.csv")
    assert table["row"].tolist() == list(range(6))
    assert sorted(table["half"]) == [1, 1, 1, 2, 2, 2]
    assert read_header(done.folder / "content1_transformation1.mrc").voxel_size == PIXEL_SIZE
    assert not (done.folder / "correlations.csv").exists()
    assert done.clusters[0].truth == ()
    if relion.installed():
        with pytest.raises(RunError, match="RELION averages only the particles of a STAR file"):
            average(run, by="relion", overwrite=True)
        assert (done.folder / "content1_transformation1.mrc").exists()


def test_averages_of_poses_that_have_changed_since_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    angles, volumes = rng.uniform(-90, 90, (6, 3)), rng.normal(size=(6, 8, 8, 8))
    star = write_particles_of(volumes, tmp_path, **angles_and_origins(angles, np.zeros((6, 3))))
    run = untrained_run(tmp_path / "run", star)
    run.keep_codes(np.zeros((6, 2)), np.zeros((6, 2)))
    cluster(run)
    before = average(run, by="builtin").folder / "content1_transformation1.mrc"
    first = read_map(before)[0]
    write_particles_of(volumes, tmp_path, **angles_and_origins(angles[::-1], np.zeros((6, 3))))
    with pytest.raises(RunError, match=r"content1_transformation1\.json: made from other images or poses"):
        average(Run(run.path), by="builtin")
    np.testing.assert_array_equal(read_map(before)[0], first)
    average(Run(run.path), by="builtin", overwrite=True)
    assert np.abs(read_map(before)[0] - first).max() > 0.1


def test_a_cluster_of_one_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = angles_and_origins(rng.uniform(-90, 90, (7, 3)), np.zeros((7, 3)))
    star = write_particles_of(rng.normal(size=(7, 8, 8, 8)), tmp_path, **columns)
    run = untrained_run(tmp_path / "run", star)
    run.keep_codes(np.array([[0.0], [9], [0.1], [0.2], [0.05], [0.15], [0.12]]), np.zeros((7, 1)))
    cluster(run, content=2, transformation=1)
    with pytest.warns(DualContrastWarning, match="content2_transformation1 has a single image, which cannot"):
        done = average(run, by="builtin")
    assert [unit.particles for unit in done.clusters] == [6]
    path = run.clusters_path("main")
    pd.read_csv(path).assign(content_cluster=range(1, 8)).to_csv(run.clusters_path("ones"), index=False)
    shutil.copy(path.with_suffix(".json"), path.with_name("ones.json"))
    with pytest.warns(DualContrastWarning), pytest.raises(RunError, match="no cluster of ones has two images"):
        average(run, clusters="ones")


def test_what_cannot_be_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = small_run(tmp_path / "pictures", {"training": {"epochs": 1}})
    with pytest.raises(RunError, match="trained on pictures, and only volumes can be averaged"):
        average(pictures)
    star = write_particles_of(np.random.default_rng(0).normal(size=(6, 8, 8, 8)), tmp_path / "data")
    run = untrained_run(tmp_path / "run", star)
    run.keep_codes(np.zeros((6, 2)), np.zeros((6, 2)))
    with pytest.raises(RunError, match="has no clusters called main"):
        average(run)
    with pytest.raises(RunError, match="unknown program eman; choose relion, builtin or auto"):
        average(run, by="eman")  # type: ignore[arg-type]
    cluster(run)
    with monkeypatch.context() as patched:
        patched.setattr(relion, "installed", lambda: False)
        with pytest.raises(RunError, match="not installed; install RELION, or leave out --with"):
            average(run, by="relion")
    (tmp_path / "data").rename(tmp_path / "away")
    with pytest.raises(SourceError, match=r"no longer there, looked for at .*particles\.star"):
        average(Run(run.path))
    assert not (run.path / "averages").exists()
