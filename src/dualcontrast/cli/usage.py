"""Errors of typing: one sentence that suggests the nearest verb or option."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from dualcontrast.errors import UsageError, nearest

# The base of typer's errors of usage. Of these, only BadParameter is public in every version.
TYPER_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


class VerbGroup(TyperGroup):
    """Verbs that suggest the nearest one for an unknown one, and print the help if none is given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the help if there are no arguments: without an error, and with status 0."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb.

        Raises
        ------
        UsageError
            There is no such verb.
        """
        if args[0] not in self.commands and not ctx.resilient_parsing:
            listed = [name for name, command in self.commands.items() if not command.hidden]
            raise UsageError(f"no command is called {_path(ctx, args[0])}; {nearest(args[0], listed)}")
        return super().resolve_command(ctx, args)


def sentence(error: Any) -> str:
    """Turn typer's error into one sentence that says which word is wrong, and where to find help.

    Parameters
    ----------
    error
        An exception of the class TYPER_USAGE_ERROR.
    """
    context = error.ctx
    if hasattr(error, "possibilities"):  # an unknown option
        known = [*context.help_option_names, *(name for one in context.command.params for name in one.opts)]
        options = {name for name in known if name.startswith("--")}
        verb = "" if context.parent is None else f" of {_path(context)}"
        return f"no option{verb} is called {error.option_name}; {nearest(error.option_name, options)}"
    reason = error.format_message().rstrip(".")
    return f"{_path(context)}: {reason[0].lower()}{reason[1:]}; see {context.command_path} --help"


def _path(context: Any, *words: str) -> str:
    """Return the words that call a verb, without the program's name."""
    return " ".join([*context.command_path.split()[1:], *words])
