"""How RELION's programs are called; that they do what is meant is tested in tests/integration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dualcontrast.errors import RunError
from dualcontrast.maps import relion


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder on the path for programs that stand for RELION's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    relion._help_of.cache_clear()
    yield folder
    relion._help_of.cache_clear()


def write_program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_words_of_a_reconstruction(programs: Path) -> None:
    write_program(programs, "relion_reconstruct", "echo --ctf")
    star, out = Path("p.star"), Path("x.mrc")
    words = relion.reconstruct_command(star, out, ctf=False)
    assert words == ["relion_reconstruct", "--i", "p.star", "--o", "x.mrc", "--3d_rot"]
    assert relion.reconstruct_command(star, out, ctf=True, half=2) == [*words, "--subset", "2", "--ctf"]


def test_newer_versions_are_told_that_the_ctf_is_not_squared(programs: Path) -> None:
    write_program(programs, "relion_reconstruct", "echo --ctf3d_not_squared")
    words = relion.reconstruct_command(Path("p.star"), Path("x.mrc"), ctf=True)
    assert words[-2:] == ["--ctf", "--ctf3d_not_squared"]


def test_premultiplied_particles_have_squared_ctfs(programs: Path) -> None:
    for name in ("relion_reconstruct", "relion_refine"):
        write_program(programs, name, "echo --ctf3d_not_squared")
    words = relion.reconstruct_command(Path("p.star"), Path("x.mrc"), ctf=True, premultiplied=True)
    assert words[-1] == "--ctf"
    words = relion.refine_command(
        Path("p.star"), Path("out"), Path("ref.mrc"), ctf=True, premultiplied=True, box=32, voxel_size=10.0,
        iterations=5, degrees=30,
    )  # fmt: skip
    assert words[-1] == "--ctf"
    assert relion.takes_premultiplied()
    relion._help_of.cache_clear()
    write_program(programs, "relion_reconstruct", "echo --ctf")
    assert not relion.takes_premultiplied()


@pytest.mark.parametrize(("degrees", "order"), [(60, 0), (30, 1), (20, 2), (15, 2), (7.5, 3)])
def test_the_words_of_a_refinement(programs: Path, degrees: float, order: int) -> None:
    write_program(programs, "relion_refine", "echo --ctf")
    words = relion.refine_command(
        Path("p.star"), Path("out/half1"), Path("ref.mrc"), ctf=True, box=32, voxel_size=10.0, iterations=5,
        degrees=degrees, threads=3, seed=7,
    )  # fmt: skip
    given = dict(pairwise(words))
    assert given["--healpix_order"] == str(order)
    assert (given["--i"], given["--o"], given["--ref"]) == ("p.star", "out/half1", "ref.mrc")
    assert (given["--particle_diameter"], given["--iter"], given["--j"], given["--random_seed"]) == (
        "300", "5", "3", "7",
    )  # fmt: skip


def test_a_program_runs_in_the_project(programs: Path, tmp_path: Path) -> None:
    write_program(programs, "relion_reconstruct", 'echo "$@" > here')
    relion.run_relion(["relion_reconstruct", "--i", "p.star"], tmp_path)
    assert (tmp_path / "here").read_text() == "--i p.star\n"


def test_a_failure_is_one_sentence_with_its_reason(programs: Path, tmp_path: Path) -> None:
    write_program(
        programs, "relion_refine", "echo starts; echo 'ERROR: no such label' >&2; echo a.cpp >&2; exit 3"
    )
    with pytest.raises(RunError) as error:
        relion.run_relion(["relion_refine", "--i", "p.star"], tmp_path)
    assert "relion_refine failed (ERROR: no such label); call it again in" in str(error.value)
    assert "relion_refine --i p.star" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_program_ends_with_ours(programs: Path, tmp_path: Path) -> None:
    write_program(programs, "relion_refine", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    ours = subprocess.Popen(
        [
            sys.executable, "-c",
            "from pathlib import Path; from dualcontrast.maps.relion import run_relion; "
            f"run_relion(['relion_refine'], Path({str(tmp_path)!r}))",
        ]
    )  # fmt: skip
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert ours.poll() is None
        time.sleep(0.05)
    theirs = int((tmp_path / "pid").read_text())
    ours.send_signal(signal.SIGTERM)
    assert ours.wait(timeout=60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(theirs, 0)


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert relion.thread_count() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert relion.thread_count() == os.cpu_count()
