"""RELION as a backend; its programs are replaced by a function that notes how they are called."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dualcontrast.cryoet.mrc import read_map, write_volume
from dualcontrast.cryoet.particles import read_particles
from dualcontrast.images.preparation import soft_sphere
from dualcontrast.maps import relion, relion_backend
from dualcontrast.maps.averaging import Sums
from dualcontrast.maps.backend import ClusterJob
from dualcontrast.maps.refinement import Search
from dualcontrast.maps.relion_backend import RelionBackend
from dualcontrast.poses import Poses
from dualcontrast.progress import silent


@pytest.fixture
def calls(job: ClusterJob, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """Write the results that RELION would write: unchanged poses, and the half's number as its map."""
    calls: list[tuple[list[str], Path]] = []

    def run_relion(words: list[str], project: Path) -> None:
        calls.append((words, project))
        out = Path(words[words.index("--o") + 1])
        if words[0] == relion.REFINE:
            shutil.copy(words[words.index("--i") + 1], f"{out}_it001_data.star")
        else:
            half = int(words[words.index("--subset") + 1]) if "--subset" in words else 0
            write_volume(out, 0 * job.particles.images.read([0])[0, 0].numpy() + half, 2.0)

    monkeypatch.setattr(relion, "run_relion", run_relion)
    return calls


def test_each_half_is_refined_from_one_coarse_reference(
    job: ClusterJob, calls: list[tuple[list[str], Path]], tmp_path: Path
) -> None:
    found = RelionBackend(tmp_path / "data").find_poses(job, silent)
    assert found.found_by == "relion_refine"
    assert [tuple(words) for words, _ in calls] == list(found.commands)
    assert [Path(words[words.index("--i") + 1]).name for words, _ in calls] == ["half1.star", "half2.star"]
    assert len({words[words.index("--ref") + 1] for words, _ in calls}) == 1
    assert {project for _, project in calls} == {tmp_path / "data"}
    first = job.particles.halves == 0
    assert not found.poses.shifts[first].any()  # the frame is that of the first half


def test_all_and_each_half_are_reconstructed(
    job: ClusterJob, calls: list[tuple[list[str], Path]], tmp_path: Path
) -> None:
    assert job.particles.poses is not None
    maps = RelionBackend(tmp_path / "data").reconstruct(job, job.particles.poses, silent)
    assert maps.made_by == "relion_reconstruct"
    assert [volume.mean() for volume in (maps.whole, *maps.halves)] == [0, 1, 2]
    assert len(maps.commands) == len(calls) == 3
    star = str(job.files.path(".star").resolve())
    assert all(words[words.index("--i") + 1] == star for words in maps.commands)


def of_ctf(job: ClusterJob, premultiplied: bool) -> ClusterJob:
    """Let the particles of a job have CTF volumes, and its search settings that are not the defaults."""
    assert job.particles.source is not None
    names = np.array(["ctf.mrc"] * 8, dtype=object)
    source = replace(job.particles.source, ctf_names=names, ctf_premultiplied=premultiplied)
    inputs = replace(job.inputs, search=Search(iterations=2, degrees=30, seed=5))
    return replace(job, particles=replace(job.particles, source=source), inputs=inputs)


@pytest.mark.parametrize("premultiplied", [False, True])
def test_a_refinement_step_by_step(
    job: ClusterJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, premultiplied: bool
) -> None:
    """RELION is replaced by a program that returns known poses."""
    job = of_ctf(job, premultiplied)
    particles, folder = job.particles, tmp_path / "out" / "content1_transformation1_relion"
    rng = np.random.default_rng(0)
    found = Poses(
        torch.from_numpy(Rotation.random(8, random_state=rng).as_matrix()).float(),
        torch.from_numpy(rng.uniform(-1, 1, (8, 3))).float(),
    )
    coarse = rng.normal(size=(12, 12, 12)).astype(np.float32)
    events: list[Any] = []
    expected_pose = Poses(torch.eye(3)[None], torch.zeros(1, 3))

    def first_reference(*words: Any) -> np.ndarray:
        events.append(words)
        return coarse

    def run_relion(words: list[str], project: Path) -> None:
        reference, voxel_size = read_map(words[words.index("--ref") + 1])
        assert (project, voxel_size) == (tmp_path / "data", 2.0)
        np.testing.assert_array_equal(reference, coarse)
        events.append(words)
        star = Path(words[words.index("--i") + 1])
        chosen = particles.halves == int(star.stem.removeprefix("half")) - 1
        listed = read_particles(star)
        assert listed.image_names.tolist() == [f"sub/{row:03}.mrc" for row in np.flatnonzero(chosen)]
        assert listed.angles is not None
        assert not listed.angles.any()
        assert not listed.origins.any()
        particles.write_star(Path(f"{words[words.index('--o') + 1]}_it002_data.star"), found, chosen)

    def joined(poses: Poses, halves: np.ndarray, maps: list[np.ndarray], cutoff: float) -> Poses:
        events.append((Poses(*(values.clone() for values in poses)), halves, maps, cutoff))
        poses.shifts[halves == 1] = 9.0
        return expected_pose

    def progress(what: str, done: int, total: int | None, /, **numbers: float) -> None:
        events.append((what, done, total))

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(relion, "_help_of", lambda program: "--ctf3d_not_squared")
    monkeypatch.setattr(relion, "run_relion", run_relion)
    monkeypatch.setattr(relion_backend, "first_reference", first_reference)
    monkeypatch.setattr(relion_backend, "joined", joined)
    result = RelionBackend(tmp_path / "data").find_poses(job, progress)

    (read, count, mask, *rest), start, first, middle, second, end, (poses, halves, maps, cutoff) = events
    assert (read, count, rest) == (particles.read, 8, [2.0, job.inputs.search, progress])
    assert torch.equal(mask, soft_sphere(12))
    assert [start, middle, end] == [("aligning by RELION", done, 2) for done in (0, 1, 2)]
    for number, words in ((1, first), (2, second)):
        assert words == [
            "relion_refine", "--i", f"{folder}/half{number}.star", "--o", f"{folder}/half{number}",
            "--ref", f"{folder}/reference.mrc", "--ini_high", "60", "--K", "1", "--iter", "2", "--tau2_fudge", "4",
            "--particle_diameter", "20", "--healpix_order", "1", "--oversampling", "1", "--offset_range", "2",
            "--offset_step", "1", "--pad", "1", "--j", "3", "--random_seed", "5", "--firstiter_cc",
            "--flatten_solvent", "--zero_mask", "--ctf", *([] if premultiplied else ["--ctf3d_not_squared"]),
        ]  # fmt: skip
    assert result.commands == (tuple(first), tuple(second))
    assert result.found_by == "relion_refine"
    # The maps of both halves are compared at the poses that RELION found, up to 3 cycles a box.
    torch.testing.assert_close(poses.rotations, found.rotations, atol=1e-5, rtol=0)
    torch.testing.assert_close(poses.shifts, found.shifts, atol=1e-5, rtol=0)
    assert halves is particles.halves
    assert cutoff == 3.0
    for half, volume in zip((0, 1), maps, strict=True):
        chosen, sums = np.flatnonzero(halves == half), Sums(12)
        sums.add(particles.read(chosen), poses.select(torch.from_numpy(chosen)))
        np.testing.assert_allclose(volume, sums.volume(), atol=1e-6)
    assert (result.poses.shifts[halves == 1] == 9).all()
    torch.testing.assert_close(result.poses.shifts[halves == 0], found.shifts[halves == 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("premultiplied", [False, True])
def test_the_commands_of_reconstructions(
    job: ClusterJob,
    calls: list[tuple[list[str], Path]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    premultiplied: bool,
) -> None:
    monkeypatch.setattr(relion, "_help_of", lambda program: "--ctf3d_not_squared")
    job = of_ctf(job, premultiplied)
    maps = RelionBackend(tmp_path / "data").reconstruct(job, Poses.identity(8), silent)
    stem, options = tmp_path / "out" / "content1_transformation1", [] if premultiplied else ["--ctf3d_not_squared"]
    assert [project for _, project in calls] == 3 * [tmp_path / "data"]
    assert [words for words, _ in calls] == [
        [
            "relion_reconstruct", "--i", f"{stem}.star", "--o", f"{stem}_relion/average{half}.mrc", "--3d_rot",
            *(["--subset", half] if half else []), "--ctf", *options,
        ]
        for half in ("", "1", "2")
    ]  # fmt: skip
    assert maps.commands == tuple(tuple(words) for words, _ in calls)
