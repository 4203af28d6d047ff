"""Messages of the library are written for Python, and the command line can translate all of them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from dualcontrast import api
from dualcontrast.cli import command_line
from dualcontrast.cli.translation import in_flags

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "dualcontrast"
COMMAND: Any = typer.main.get_command(command_line())
FLAG = re.compile(r"(?<![\w-])--[a-z]")
IN_BACKTICKS = re.compile("`([^`]+)`")


class Context:
    """What typer knows of the verb that is running."""

    def __init__(self, *verb: str, **params: Any) -> None:
        self.command, self.params = COMMAND, params
        for name in verb:
            self.command = self.command.commands[name]

    def find_root(self) -> Any:
        return SimpleNamespace(command=COMMAND)


@pytest.mark.parametrize(
    ("verb", "python", "translated"),
    [
        ("train", "`overwrite=True`", "--overwrite"),
        ("train", "`show_pairs=True`", "--show-pairs"),
        ("train", "give `overwrite=True`, or another `out`", "give --overwrite, or another --out"),
        ("train", "`resume=True, overwrite=True`", "--resume --overwrite"),
        ("train", '`settings={"a": {"b": "c", "d": 3}}`', "--set a.b=c --set a.d=3"),
        ("train", "`bin=2`", "--bin 2"),
        ("average", '`by="builtin"`', "--with builtin"),
        ("average", "`by`", "--with"),
        ("embed", '`by="content"`', "--by content"),
        ("embed", '`only="a b"`', "--only 'a b'"),
        ("evaluate", "`datadir=...`", "--datadir DIR"),
        ("evaluate", "`run.encode()`", "dualcontrast encode runs/a"),
        ("evaluate", '`run.encode(images, weights="last")`', "dualcontrast encode runs/a SOURCE --weights last"),
        ("demo", "`run.encode(images, out=...)`", "dualcontrast encode RUN SOURCE --out DIR"),
        ("demo", "`dualcontrast.train(images, out='a b')`", "dualcontrast train SOURCE --out 'a b'"),
        ("demo", "`dualcontrast.simulate()`", "dualcontrast simulate"),
        ("show", "one of `sources`", "one of SOURCE"),
    ],
)  # fmt: skip
def test_python_becomes_flags_and_verbs(verb: str, python: str, translated: str) -> None:
    params = {"run": Path("runs/a")} if verb == "evaluate" else {}
    assert in_flags(python, Context(verb, **params)) == translated


def test_flags_are_those_of_the_running_verb() -> None:
    assert in_flags("give `tables_only=True`", Context("benchmark", "table1")) == "give --tables-only"


@pytest.mark.parametrize(
    "message",
    [
        "no backticks: overwrite=True, by",
        "the verb has no such option: `surface=True`",
        "no verb: `run.sharpen()`",
        "no option of that verb: `run.encode(surface=True)`",
        "other text: `a b`, `(`, `a) + (b`, `1`, `numpy.save`, `open(path)`, `out=path`",
    ],
)
def test_all_else_stays_as_it_is(message: str) -> None:
    assert in_flags(message, Context("train")) == message


# ---- the messages in the source


def is_message(node: ast.AST) -> bool:
    """Whether a statement raises an error or warns."""
    raises = isinstance(node, ast.Raise) and node.exc is not None
    return raises or (isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn")


def text_of(node: ast.AST) -> str | None:
    """Return a string with placeholders in place of values; None for what is no string."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "'value'" if node.conversion == ord("r") else "value"
    return None


def strings_in(function: ast.AST) -> Iterator[str]:
    """Yield the strings of a function that raises or warns: its messages, and what they are put together from."""
    docstring = ast.get_docstring(function, clean=False) if isinstance(function, ast.FunctionDef) else None
    whole = [node for node in ast.walk(function) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in whole for part in ast.walk(node) if part is not node}
    for node in ast.walk(function):
        text = None if id(node) in parts else text_of(node)
        if text is not None and text != docstring:
            yield text


def messages() -> Iterator[tuple[str, str]]:
    """Yield all strings in the library's functions that raise or warn, with the place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent.name == "cli":
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and any(map(is_message, ast.walk(function))):
                for text in strings_in(function):
                    yield f"{path.relative_to(PACKAGE)}:{function.lineno}", text


NOTE = "no images given (--value)"  # in a table, which the command line makes; it is part of stored files
MESSAGES = sorted(one for one in set(messages()) if one[1] != NOTE)


def test_no_message_of_the_library_names_a_flag_or_a_verb() -> None:
    assert len(MESSAGES) > 300
    assert [one for one in MESSAGES if FLAG.search(one[1])] == []
    verbs = "|".join(COMMAND.commands)
    assert [one for one in MESSAGES if re.search(rf"\bdualcontrast ({verbs})\b", one[1])] == []


def verbs_of(group: Any, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs_of(command, *before, name)
        else:
            yield (*before, name)


CODE = sorted(
    {(place, code) for place, text in MESSAGES for code in IN_BACKTICKS.findall(text) if code != "value"}
)


@pytest.mark.parametrize(("place", "code"), CODE)
def test_what_a_message_says_in_python_can_be_said_on_the_command_line(place: str, code: str) -> None:
    contexts = [Context(*verb) for verb in verbs_of(COMMAND)]
    assert any(in_flags(f"`{code}`", context) != f"`{code}`" for context in contexts)


@pytest.mark.parametrize(("place", "code"), [one for one in CODE if "(" in one[1]])
def test_calls_in_messages_are_calls_of_the_library(place: str, code: str) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    owner, name = ast.unparse(call.func).split(".")
    function = getattr(api.Run if owner == "run" else api, name)
    positional = [None] * (len(call.args) + (owner == "run"))
    keywords = {keyword.arg or "": None for keyword in call.keywords}
    inspect.signature(function).bind_partial(*positional, **keywords)
