"""The command line: arguments, progress and messages; the work is done elsewhere."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

STOPPED_BY_CTRL_C = 130


def main() -> None:
    """Run `dualcontrast VERB`, and end with the exit status of the contract.

    0: done. 2: something the user can mend, told in one sentence. 1: a fault of the program, with its traceback.
    130 and 143: after Ctrl-C and SIGTERM. Warnings of this package are a line each on the standard error.
    """
    from dualcontrast.cli.words import NOT_UNDERSTOOD, sentence
    from dualcontrast.errors import DualContrastError, DualContrastWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DualContrastWarning)
            warnings.showwarning = _one_line(warnings.showwarning)
            status = with_all_verbs()(prog_name="dualcontrast", standalone_mode=False)
    except DualContrastError as error:
        print(f"dualcontrast: {error}", file=sys.stderr)
        sys.exit(2)
    except NOT_UNDERSTOOD as error:
        print(f"dualcontrast: {sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)  # whoever read our output has left
    if status == STOPPED_BY_CTRL_C:  # typer has caught the KeyboardInterrupt itself
        print("dualcontrast: stopped by Ctrl-C; what was done is saved", file=sys.stderr)
    sys.exit(status)


def with_all_verbs() -> typer.Typer:
    """Return the command line, with the verbs of all its modules."""
    import dualcontrast.cli.doctor
    import dualcontrast.cli.maps
    import dualcontrast.cli.report  # noqa: F401 - their verbs join the app
    from dualcontrast.cli.verbs import app

    return app


def _one_line(show: Callable[..., None]) -> Callable[..., None]:
    """Return a way to show warnings that tells this package's own in one line, and others as `show` does."""
    from dualcontrast.errors import DualContrastWarning

    def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, DualContrastWarning):
            print(f"dualcontrast: warning: {message}", file=sys.stderr)
        else:
            show(message, category, *place, **more)

    return shown
