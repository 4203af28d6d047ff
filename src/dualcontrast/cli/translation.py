"""Say in flags and verbs what the library's messages say in Python.

In a message of the library, Python stands in backticks, in one of these forms:

- a keyword of the function that was called: `overwrite=True`, `by="builtin"`, `datadir`;
- a call: `run.encode(weights="last")`, `dualcontrast.train(images, out=...)`.

The command line shows --overwrite, --with builtin, --datadir, and dualcontrast encode RUN --weights last. A verb's
parameters have the names of the keywords, so the flags are looked up there.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from typing import Any

_IN_BACKTICKS = re.compile("`([^`]+)`")


def in_flags(message: str, context: Any) -> str:
    """Translate what a message says in Python.

    Parameters
    ----------
    message
        A message of the library.
    context
        The context of the verb that is running, as typer gives it.

    Returns
    -------
    str
        The message. Python that the verb has no flag for stays as it is.
    """

    def translated(found: re.Match[str]) -> str:
        try:
            return " ".join(_words(found[1], context))
        except (LookupError, SyntaxError, ValueError):
            return found[0]

    return _IN_BACKTICKS.sub(translated, message)


def _words(code: str, context: Any) -> Iterator[str]:
    """Yield the words of a command line for keywords or a call."""
    stated = ast.parse(f"_({code})", mode="eval").body
    if not isinstance(stated, ast.Call):
        raise ValueError(code)
    for node in stated.args:
        if isinstance(node, ast.Name):
            yield _flag(_parameter(context.command, node.id))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield from _command(node, node.func, context)
        else:
            raise ValueError(code)
    for keyword in stated.keywords:
        yield from _option(keyword, context.command)


def _command(call: ast.Call, function: ast.Attribute, context: Any) -> Iterator[str]:
    """Yield the words of `run.verb(...)` or `dualcontrast.verb(...)`."""
    command = context.find_root().command.commands[function.attr]
    yield from ("dualcontrast", function.attr)
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    stated = len(call.args) + (ast.unparse(function.value) == "run")
    for parameter in arguments[:stated]:
        present = context.params.get("run") if parameter.name == "run" else None
        yield parameter.metavar.strip("[]") if present is None else shlex.quote(str(present))
    for keyword in call.keywords:
        yield from _option(keyword, command)


def _option(keyword: ast.keyword, command: Any) -> Iterator[str]:
    """Yield the words of a keyword argument; its value is a placeholder where it is `...`."""
    parameter = _parameter(command, keyword.arg)
    value = ast.literal_eval(keyword.value)
    if value is True:
        yield _flag(parameter)
    elif isinstance(value, dict):
        for name, setting in _settings(value):
            yield from (_flag(parameter), shlex.quote(f"{name}={setting}"))
    else:
        yield from (_flag(parameter), parameter.metavar if value is ... else shlex.quote(str(value)))


def _settings(nested: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and the values of nested settings."""
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _parameter(command: Any, name: str | None) -> Any:
    """Find a parameter of a verb by its name in Python.

    Raises
    ------
    LookupError
        The verb has no such parameter.
    """
    for parameter in command.params:
        if parameter.name == name:
            return parameter
    raise LookupError(name)


def _flag(parameter: Any) -> str:
    """Return the flag of an option, or what stands for an argument in the help."""
    return str(parameter.metavar if parameter.param_type_name == "argument" else max(parameter.opts, key=len))
