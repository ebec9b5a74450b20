"""The command line: parses, calls the library, renders. The only package that prints, exits or imports Typer.

`main.py` holds the program and its error handling, `group.py` the table of commands (each is imported only when you
call it), `context.py` finds the spool, `terminal/printing.py` prints, `exit_codes.py` maps errors to exit codes. Each
module in `commands/` is one command or one group of commands.
"""

from __future__ import annotations

import gc
import os
import sys

# Imports make many objects and no garbage. Collecting it would take a tenth of the time of a short command.
_GC_THRESHOLD = 50_000


def run() -> None:
    """Run the program `queuectl`; never return."""
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from queuectl.cli import main
        from queuectl.cli.terminal import printing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "queuectl":
            raise
        # A clone that is not installed: Python finds the package in its folder, but none of its libraries.
        sys.exit(
            f"error: queuectl is not installed: the library {error.name!r} is missing\n"
            "hint: run in the folder with pyproject.toml: python -m pip install ."
        )
    printing.prepare_streams()
    code = printing.close_streams(main.main(sys.argv[1:]))
    # All output is written, and the system closes all files. The normal end of the interpreter would take a tenth of
    # the time of a short command.
    os._exit(code)
