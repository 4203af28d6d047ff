"""The command line: arguments, progress and messages. The work itself is done elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

STOPPED_BY_CTRL_C = 130


def main() -> None:
    """Run `dualcontrast VERB` and exit.

    Exit status 0: done. 2: an error that the user can fix, printed as one sentence. 1: a bug in the program, with
    its traceback. 130 and 143: stopped by Ctrl-C or SIGTERM.
    """
    from dualcontrast.cli.usage import TYPER_USAGE_ERROR, sentence
    from dualcontrast.errors import DualContrastError

    try:
        status = command_line()(prog_name="dualcontrast", standalone_mode=False)
    except DualContrastError as error:
        print(f"dualcontrast: {error}", file=sys.stderr)
        sys.exit(2)
    except TYPER_USAGE_ERROR as error:
        print(f"dualcontrast: {sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output is gone
    if status == STOPPED_BY_CTRL_C:  # typer caught the KeyboardInterrupt
        print("dualcontrast: stopped by Ctrl-C; the work done so far is saved", file=sys.stderr)
    sys.exit(status)


def command_line() -> typer.Typer:
    """Return the command line with all its verbs, in the order of the work."""
    # isort: off
    import dualcontrast.cli.demo
    import dualcontrast.cli.images
    import dualcontrast.cli.train
    import dualcontrast.cli.codes
    import dualcontrast.cli.maps
    import dualcontrast.cli.report
    import dualcontrast.cli.doctor
    import dualcontrast.cli.benchmark  # noqa: F401 - each module adds its verbs to the app

    # isort: on
    from dualcontrast.cli.app import app

    return app
