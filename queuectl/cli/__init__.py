"""The command line: parses, calls the library, renders. The only package that prints, exits or imports Typer.

`main.py` holds the program and its error handling, `group.py` the table of commands (each is imported only when it is
called), `context.py` which spool is meant, `terminal/printing.py` everything that prints, `exit_codes.py` what a script
gets to see. Each module in `commands/` is one command or one group of them.
"""

from __future__ import annotations

import gc
import os
import sys

# Imports make many objects and no garbage: looking for some takes a tenth of the time of a short command.
_GC_THRESHOLD = 50_000


def run() -> None:
    """The program `queuectl`: never returns."""
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from queuectl.cli import main
        from queuectl.cli.terminal import printing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "queuectl":
            raise
        # A clone that nobody has installed: Python finds the package in its folder, and none of its libraries.
        sys.exit(
            f"error: queuectl is not installed here: the library {error.name!r} is missing\n"
            "hint: in the folder with pyproject.toml:  python -m pip install ."
        )
    printing.prepare_streams()
    code = printing.close_streams(main.main(sys.argv[1:]))
    # All is written and nothing is open that the system would not close: taking the interpreter apart object by object
    # would be a tenth of the time of a short command.
    os._exit(code)
