"""The program without a verb: its version and its help."""

from __future__ import annotations

import pytest
from tests.support.command import call

from dualcontrast import __version__


def test_the_version_is_printed_alone() -> None:
    ended = call("--version")
    assert (ended.status, ended.out, ended.err) == (0, f"{__version__}\n", "")


def test_the_version_goes_before_a_verb() -> None:
    assert call("--version", "doctor").out == f"{__version__}\n"


@pytest.mark.parametrize("verb", [(), ("benchmark",), ("train",)])
def test_help_has_a_short_option(verb: tuple[str, ...]) -> None:
    shown = call(*verb, "-h")
    assert shown.status == 0
    assert shown.out == call(*verb, "--help").out
    assert shown.out.startswith(" ".join(["Usage: dualcontrast", *verb]))


def test_the_help_lists_the_verbs_in_the_order_of_the_work() -> None:
    lines = [line.split()[0] for line in call("--help").out.splitlines() if line.startswith("  ")]
    verbs = ["demo", "simulate", "show", "train", "encode", "evaluate", "transfer", "embed"]
    verbs += ["cluster", "average", "export", "report", "doctor", "benchmark"]
    assert [line for line in lines if line in verbs] == verbs
    assert "--version" in lines
