"""Every command block of the README and the documentation is run, as a reader would type it, on small data.

The blocks are those that a reader copies: fenced as `sh` and `python`. They run one after the other, page by page,
in a folder that has small data under the names the pages use. What a page tells the reader to write, a YAML or
Python block that begins with its file's name as a comment, is written. Blocks of `text` are not run: they are
outputs, and commands that take hours, such as those of the results.

Four things differ from what a reader sees. A training has one epoch of few images, and of subtomograms few
clusters, each of which takes seconds to begin; a simulation has few subtomograms, a sorting few clusters, a table
a moment a cell: the options in SHORTER are added to what is printed, and nothing is taken away. The classifier
that judges hybrids learns for a moment. `make` is asked what it would do (-n), since it makes an environment of
its own. And a call of `dualcontrast` runs in this process, as the tests of the verbs do, unless it is more than a
call: so torch is imported once.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.support.command import call
from tests.support.runs import DIGITS

import dualcontrast
from dualcontrast.evaluation import swap

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SHORTER = {
    "train": ["--epochs", "1", "--limit", "200", "--set", "training.batch_size=20", "--device", "cpu"],
    "train project/particles.star": [
        *("--epochs", "1", "--set", "training.batch_size=20", "--set", "method.clusters=2", "--device", "cpu")
    ],
    "simulate": ["--per-state", "12"],
    "cluster": ["--content", "2", "--transformation", "1"],
    "benchmark table1": ["--budget", "0.01", "--limit", "300", "--device", "cpu", "--jobs", "1"],
}
SHORTER_IN_PYTHON = {"training": {"epochs": 1, "batch_size": 20, "limit": 200}}
TAKES = {"docs/tutorials/cryo-et.md": (), "docs/tutorials/images.md": ("mnist",)}  # and they make the rest
LAUNCHER = "#!{python}\nimport sys\nsys.argv[0] = 'dualcontrast'\nfrom dualcontrast.cli import main\nmain()\n"


class Block(NamedTuple):
    """A fenced block: its language, its text, and where it stands."""

    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(one[1], one[2], one.string[: one.start()].count("\n") + 1) for one in found]


def runs_something(page: Path) -> bool:
    return any(block.language in ("sh", "python") for block in blocks_of(page))


NAMES = [str(page.relative_to(ROOT)) for page in PAGES if runs_something(page)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of all that pages take for granted: small data, and a run on either kind."""
    folder = tmp_path_factory.mktemp("docs") / "data"
    folder.mkdir()
    with np.load(DIGITS) as digits:
        images, content = digits["images"][:300], digits["content"][:300]
    np.savez(folder / "images.npz", images=images, content=content)
    write_mnist(folder / "mnist", images, content)
    here = Path.cwd()
    os.chdir(folder)
    try:
        run_script("dualcontrast simulate --recipe demo --box 32 --voxel-size 10.5 --out project", "data")
        shutil.copy("project/templates/spike_closed.mrc", "map.mrc")
        Path("project/simulation.yaml").unlink()  # a user's project knows no truth to compare with
        run_script("dualcontrast train images.npz --out runs/digits --recipe mnist", "data")
        run_script("dualcontrast train project/particles.star --bin 2 --out runs/a", "data")
    finally:
        os.chdir(here)
    return folder


def write_mnist(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write pictures and labels as MNIST's four IDX files."""
    folder.mkdir()
    for kind, some in (("train", slice(0, 200)), ("t10k", slice(200, None))):
        pixels, names = images[some], labels[some].astype(np.uint8)
        header = struct.pack(">4B3I", 0, 0, 8, 3, *pixels.shape)
        (folder / f"{kind}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (folder / f"{kind}-labels-idx1-ubyte").write_bytes(
            struct.pack(">4BI", 0, 0, 8, 1, len(names)) + names.tobytes()
        )


@pytest.fixture
def folder(data: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder that a page's commands run in, with `dualcontrast` on the path and shorter training."""
    place = tmp_path / "work"
    place.mkdir()
    for name in TAKES.get(request.getfixturevalue("name"), [path.name for path in data.iterdir()]):
        (shutil.copytree if (data / name).is_dir() else shutil.copy)(data / name, place / name)
    for config in place.glob("runs/*/config.yaml"):  # which names its source by an absolute path
        config.write_text(config.read_text().replace(str(data), str(place)))
    program = tmp_path / "bin" / "dualcontrast"
    program.parent.mkdir()
    program.write_text(LAUNCHER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(place), *sys.path])
    monkeypatch.setattr(dualcontrast, "train", shorter_training, raising=False)
    monkeypatch.setattr(swap, "CLASSIFIER_STEPS", 20)
    monkeypatch.chdir(place)
    return place


def shorter_training(images: Any, *, settings: Mapping[str, Any] | None = None, **options: Any) -> Any:
    from dualcontrast.api import train
    from dualcontrast.settings import merged

    return train(images, settings=merged(settings or {}, SHORTER_IN_PYTHON), device="cpu", **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(900)
def test_every_command_of_a_page_runs(name: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks_of(ROOT / name):
        where = f"{name}, line {block.line}"
        file = re.match(r"# ([\w.-]+\.(?:yaml|py))\n", block.text)
        if file:
            (folder / file[1]).write_text(block.text)
        elif block.language == "sh":
            for script in scripts_of(block.text):
                run_script(script, where)
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), names)


def scripts_of(text: str) -> Iterator[str]:
    """Yield what of a block can be run apart: each of its calls of verbs, and what lies between, together."""
    between: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        if is_plain_call(line):
            if between:
                yield "\n".join(between)
            between = []
            yield line
        else:
            between.append(line)
    if between:
        yield "\n".join(between)


def is_plain_call(line: str) -> bool:
    return line.startswith("dualcontrast ") and not re.search(r"[|&;<>$*]|--install-completion", line)


def run_script(script: str, where: str) -> None:
    if is_plain_call(script):
        done(*shlex.split(script, comments=True)[1:], where=where)
        return
    missing = [word for word in re.findall(r"\brelion_\w+", script) if shutil.which(word) is None]
    if missing and os.environ.get("CI") != "true":
        return  # a page needs it for its last step alone
    words = re.sub(r"^make ", f"make -n -C {ROOT} ", script, flags=re.MULTILINE)
    words += (
        "\n:"  # a last command of its own: bash stays, and a program that asks which shell called it is told so
    )
    ended = subprocess.run(["bash", "-e", "-c", words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{where}: {script}\n{ended.stdout}{ended.stderr}"


def done(*words: str, where: str = "") -> None:
    begun = [start for start in SHORTER if words[: len(start.split())] == tuple(start.split())]
    ended = call(*words, *SHORTER.get(max(begun, key=len, default=""), []))
    assert ended.status == 0, f"{where}: {shlex.join(words)}\n{ended.err}"


def test_no_command_hides_from_the_test() -> None:
    """Indented blocks, and fences of another language, would not be run."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"^ {4,}(dualcontrast|make|pip|relion_)", text, re.MULTILINE), page
        known = {"sh", "python", "yaml", "text"}
        assert {block.language for block in blocks_of(page)} <= known, page


def test_the_extras_that_pages_name_are_there() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for page in PAGES:
        for extra in re.findall(r"\.\[(\w+)\]|dualcontrast\[(\w+)\]", page.read_text(encoding="utf-8")):
            assert re.search(rf"^{extra[0] or extra[1]} = \[", project, re.MULTILINE), page
