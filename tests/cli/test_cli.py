"""What holds for every verb: it can be silent, answer in JSON, and be completed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.support.command import call, command
from tests.support.runs import DIGITS

from dualcontrast.cli import command_line

LAUNCHER = "#!{python}\nimport sys\nsys.argv[0] = 'dualcontrast'\nfrom dualcontrast.cli import main\nmain()\n"
TRAIN = ("train", DIGITS, "--recipe", "mnist", "--limit", 300, "--epochs", 2, "--device", "cpu")


def verbs(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    """Yield all verbs that are shown, by the words they are called by."""
    for name, verb in group.commands.items():
        if hasattr(verb, "commands"):
            yield from verbs(verb, *before, name)
        elif not verb.hidden:
            yield " ".join([*before, name]), verb


VERBS = dict(verbs(typer.main.get_command(command_line())))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_can_be_silent_answer_in_json_and_says_what_it_is_for(name: str) -> None:
    options = {option for parameter in VERBS[name].params for option in parameter.opts}
    assert {"--quiet", "--json"} <= options
    assert all(getattr(parameter, "help", None) for parameter in VERBS[name].params), name
    ended = call(*name.split(), "--help")
    assert ended.status == 0
    assert "--quiet" in ended.out


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Give a program `dualcontrast` of this interpreter, in a folder of its own."""
    path = tmp_path / "bin" / "dualcontrast"
    path.parent.mkdir()
    path.write_text(LAUNCHER.format(python=sys.executable))
    path.chmod(0o755)
    return path


def in_bash(script: str, program: Path, home: Path) -> str:
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(home), "PATH": path}
    words = ["bash", "--norc", "-c", f"{script}\ntrue"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_completion_is_installed_and_completes(program: Path, tmp_path: Path) -> None:
    told = in_bash("dualcontrast --install-completion", program, tmp_path)
    assert "bash completion installed in" in told
    assert "\x1b" not in told
    assert "completion" in (tmp_path / ".bashrc").read_text()

    def completed(*words: str) -> list[str]:
        typed = " ".join(f"'{word}'" for word in ("dualcontrast", *words))
        script = (
            f"source ~/.bashrc\nCOMP_WORDS=({typed})\nCOMP_CWORD={len(words)}\n"
            'set -- $(complete -p dualcontrast)\nwhile [ "$1" != -F ]; do shift; done\n'
            '$2 dualcontrast\nprintf "%s\\n" "${COMPREPLY[@]}"'
        )
        return in_bash(script, program, tmp_path).split()

    assert completed("tra") == ["train", "transfer"]
    assert completed("train", "--show") == ["--show-pairs"]
    assert completed("benchmark", "ta") == ["table1", "table2"]
    assert completed("train", "x.npy", "--recipe", "linemod") == ["linemod", "linemod-plus"]
    assert completed("simulate", "--recipe", "protein1") == ["protein18"]
    assert completed("embed", "run", "--how", "u") == ["umap"]
    assert completed("train", "x") == []  # which leaves it to bash to complete a file


def test_completion_can_be_shown(program: Path, tmp_path: Path) -> None:
    shown = in_bash("dualcontrast --show-completion", program, tmp_path)
    assert "complete -o default -F _dualcontrast_completion dualcontrast" in shown


def test_nothing_is_coloured_or_redrawn_where_there_is_no_terminal(tmp_path: Path) -> None:
    wishes = {"TERM": "xterm-256color", "CLICOLOR_FORCE": "1", "COLORTERM": "truecolor"}
    words = command(*TRAIN, "--out", tmp_path / "run")
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **wishes})
    for told in (done.stdout, done.stderr):
        assert told
        assert not [character for character in told if ord(character) < 32 and character != "\n"]


def test_a_terminal_shows_a_bar_with_its_rate_and_the_time(tmp_path: Path) -> None:
    shown, status = in_a_terminal(command(*TRAIN, "--out", tmp_path / "run"), TERM="xterm-256color")
    assert status == 0
    assert "training" in shown
    assert "100 %" in shown
    assert "/s" in shown
    assert "0:00:" in shown  # hours, minutes and seconds
    assert "\x1b[" in shown


def in_a_terminal(words: list[str], **variables: str) -> tuple[str, int]:
    """Return what a program wrote to a terminal, and its exit status."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env={**os.environ, **variables}) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                parts.append(os.read(ours, 65536))
            except OSError:  # the other end was closed
                break
            if not parts[-1]:
                break
    os.close(ours)
    return b"".join(parts).decode(), process.returncode
