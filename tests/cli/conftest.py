"""Fixtures of the tests of the command line."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.command import call

from dualcontrast import api
from dualcontrast.benchmarks import figure5, figure6, table

ArgumentsOf = Callable[..., dict[str, Any]]


class CalledError(Exception):
    """Ends a verb where it has called the library."""


@pytest.fixture
def arguments_of(monkeypatch: pytest.MonkeyPatch) -> ArgumentsOf:
    """Call a verb; return the keywords that it calls the library with, and the rest as "arguments"."""
    calls: list[dict[str, Any]] = []

    def called(*arguments: Any, **keywords: Any) -> None:
        calls.append({**keywords, "arguments": arguments})
        raise CalledError

    for name in ("train", "show", "simulate"):
        monkeypatch.setattr(api, name, called)
    verbs = ("encode", "evaluate", "transfer", "embed", "cluster", "average", "export", "report")
    monkeypatch.setattr(api, "load", lambda path: SimpleNamespace(path=path, **dict.fromkeys(verbs, called)))
    monkeypatch.setattr(table, "make_table", called)
    monkeypatch.setattr(figure5, "make_figure5", called)
    monkeypatch.setattr(figure6, "make_figure6", called)

    def arguments_of(*words: object) -> dict[str, Any]:
        with pytest.raises(CalledError):
            call(*words, "--quiet")
        return calls.pop()

    return arguments_of
