"""The command line: arguments, progress and messages; the work is done elsewhere."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `dualcontrast VERB`, and end with the exit status of the contract.

    0: done. 2: something the user can mend, told in one sentence. 1: a fault of the program, with its traceback.
    130 and 143: after Ctrl-C and SIGTERM.
    """
    from dualcontrast.cli.verbs import app
    from dualcontrast.errors import DualContrastError

    try:
        app()
    except DualContrastError as error:
        print(f"dualcontrast: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("dualcontrast: stopped by Ctrl-C; what was done is saved", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)  # whoever read our output has left
