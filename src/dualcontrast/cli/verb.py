"""Make verbs of functions, whose options may be declared in groups."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand

from dualcontrast.cli.translation import in_flags
from dualcontrast.errors import DualContrastError, DualContrastWarning

Function = Callable[..., None]


def verb(app: typer.Typer, *, hidden: bool = False) -> Callable[[Function], Function]:
    """Make a decorator that adds a function to a command line, as the verb of its name.

    A parameter whose type is a dataclass stands for a group of options: every field is an option of the verb, with
    the field's annotation and default. So options that several verbs have are declared once.
    """

    def added(function: Function) -> Function:
        app.command(cls=_Verb, hidden=hidden)(_without_groups(function))
        return function

    return added


class _Verb(TyperCommand):
    """A verb whose errors and warnings name flags where the library names keywords."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", DualContrastWarning)
            warnings.showwarning = _one_line(warnings.showwarning, ctx)
            try:
                return super().invoke(ctx)
            except DualContrastError as error:
                error.args = (in_flags(str(error), ctx),)
                raise


def _one_line(show: Callable[..., None], context: Any) -> Callable[..., None]:
    """Make a hook that prints a DualContrastWarning as one line, and leaves other warnings to `show`."""

    def show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, DualContrastWarning):
            print(f"dualcontrast: warning: {in_flags(str(message), context)}", file=sys.stderr)
        else:
            show(message, category, *place, **more)

    return show_warning


def _without_groups(function: Function) -> Function:
    """Wrap a function so that it takes every field of its groups as a parameter of its own."""
    parameters, groups = [], {}
    for parameter in _parameters(function):
        group = parameter.annotation
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            groups[parameter.name] = group
            parameters += _parameters(group)
        else:
            parameters.append(parameter)

    @functools.wraps(function)
    def wrapped(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
        function(**values)

    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


@functools.cache
def _parameters(of: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function or dataclass, as keywords with evaluated annotations."""
    hints = get_type_hints(of, include_extras=True)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(of).parameters.values()
    ]
