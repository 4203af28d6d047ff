"""RELION as a backend; its programs are replaced by a function that notes how they are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dualcontrast.cryoet.mrc import write_volume
from dualcontrast.maps import relion
from dualcontrast.maps.backend import ClusterJob
from dualcontrast.maps.relion_backend import RelionBackend
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
