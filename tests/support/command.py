"""The command line as a user calls it, in this process or in one of its own."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from dualcontrast.cli import main


@dataclass
class Ended:
    """How a call ended."""

    status: int
    out: str
    err: str


def call(*words: object) -> Ended:
    """Call a verb in this process; a fault of the program, status 1, is raised as what it is."""
    out, err = StringIO(), StringIO()
    with patch.object(sys, "argv", ["dualcontrast", *map(str, words)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())


def command(*words: object) -> list[str]:
    """Return what calls a verb in a process of its own."""
    return [sys.executable, "-m", "dualcontrast", *map(str, words)]


def assert_refused(ended: Ended, sentence: str, out: Path | None = None) -> None:
    """Make sure that a call ended in that one sentence, and left no run or codes behind."""
    assert ended.status == 2, ended
    assert ended.out == ""
    assert sentence in ended.err
    assert ended.err.startswith("dualcontrast: ")
    assert ended.err.count("\n") == 1
    if out is not None:
        assert not list(out.glob("**/*.safetensors")) + list(out.glob("**/*.npy")) + list(out.glob("*.yaml"))
