"""What `dualcontrast doctor` finds, and what it reports as broken."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from dualcontrast.doctor import Examination, Part, examine


def part(name: str) -> Part:
    return next(part for part in examine().parts if part.name == name)


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_programs_are_found_by_their_version(bare_path: Path) -> None:
    assert part("RELION").found is None
    assert "not found; would add average --with relion" in part("RELION").describe()
    write_program(
        bare_path, "relion_refine", "echo 'RELION version: 4.0.1-commit-abc'; echo 'Precision: BASE=double'"
    )
    assert part("RELION").found is None  # both programs are needed
    write_program(bare_path, "relion_reconstruct", "true")
    assert part("RELION") == Part(**{**vars(part("RELION")), "found": "4.0.1", "fault": None})
    write_program(bare_path, "chromium", "echo 'Chromium 120.0.1 built on Debian 12'")
    assert part("Chromium").found == "120.0.1"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo 'error while loading shared libraries: libmpi.so' >&2; exit 127", "libmpi.so"),
        ("echo 'RELION version: 3.1'; exit 1", "relion_refine prints no version"),
        ("true", "relion_refine prints no version"),
    ],
)
def test_a_program_that_does_not_run_is_broken(bare_path: Path, script: str, fault: str) -> None:
    for name in ("relion_refine", "relion_reconstruct"):
        write_program(bare_path, name, script)
    assert fault in str(part("RELION").fault)
    found = examine()
    assert [one for one in found.faults if fault in one] == [f"RELION: {part('RELION').fault}"]
    assert "RELION: broken (" in "\n".join(found.describe())


def test_a_package_that_does_not_import_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libcpab.py").write_text("raise OSError('undefined symbol: x')")
    (tmp_path / "libcpab-9.9.dist-info").mkdir()
    (tmp_path / "libcpab-9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: libcpab\nVersion: 9.9\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "libcpab", raising=False)
    found = part("libcpab")
    assert (found.found, found.fault) == ("9.9", "undefined symbol: x")


def test_required_packages_are_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=99", "no-such-package>=1", "libcpab>=99; extra == 'vitae'", "numpy>=1.26"]
    monkeypatch.setattr(metadata, "requires", lambda name: needed)
    found = examine()
    assert found.missing == [
        f"torch is {torch.__version__}; pip install 'torch>=99'",
        "no-such-package is missing; pip install 'no-such-package>=1'",
    ]
    assert found.faults == found.missing


def test_a_gpu_is_named_and_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: "Some GPU")
    if torch.version.cuda is None:  # this build of torch cannot use one: a real way to be broken
        assert part("GPU").found == "2 x Some GPU"
        assert part("GPU").fault


def test_lines_of_an_examination() -> None:
    parts = [Part("a", "x", "get it"), Part("b", "y", "get it", "1.2"), Part("c", "z", "get it", None, "no")]
    lines = Examination({"dualcontrast": "1"}, 4, 2, ["p is missing; pip install p"], parts).describe()
    assert lines == [
        "dualcontrast 1",
        "Processors: 4; torch uses 2 thread(s)",
        "Required: p is missing; pip install p",
        "Optional parts:",
        "  a: not found; would add x (get it)",
        "  b: 1.2; adds y",
        "  c: broken (no); would add z (get it)",
    ]
