"""Words that the command line does not know, told in one sentence that suggests the nearest right one."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from dualcontrast.errors import UsageError, nearest

# What typer raises of words that do not fit; of its classes BadParameter alone is public in every version.
NOT_UNDERSTOOD: type[Exception] = typer.BadParameter.__mro__[1]


class Verbs(TyperGroup):
    """Verbs of which an unknown one is told with the nearest; without any verb, all of them are shown."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Ask for help where nothing is asked for: that is an answer, not a fault."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb that is called.

        Raises
        ------
        UsageError
            There is no such verb.
        """
        if args[0] not in self.commands and not ctx.resilient_parsing:
            shown = [name for name, command in self.commands.items() if not command.hidden]
            raise UsageError(f"no verb is called {_within(ctx, args[0])}; {nearest(args[0], shown)}")
        return super().resolve_command(ctx, args)


def sentence(error: Any) -> str:
    """Say in one sentence which words do not fit, and where help is.

    Parameters
    ----------
    error
        An exception of the class NOT_UNDERSTOOD.
    """
    context = error.ctx
    if hasattr(error, "possibilities"):  # an option that there is not
        there = [*context.help_option_names, *(name for one in context.command.params for name in one.opts)]
        options = {name for name in there if name.startswith("--")}
        verb = "" if context.parent is None else f" of {_within(context)}"
        return f"no option{verb} is called {error.option_name}; {nearest(error.option_name, options)}"
    said = error.format_message().rstrip(".")
    return f"{_within(context)}: {said[0].lower()}{said[1:]}; see {context.command_path} --help"


def _within(context: Any, *words: str) -> str:
    """Return the words that a verb is called by, without the program's name."""
    return " ".join([*context.command_path.split()[1:], *words])
