"""The command line: parses, calls the library, renders. The only package that prints, exits or imports Typer.

`main.py` holds the program, `group.py` the table of commands (each is imported only when you call it), `failure.py`
prints errors, `context.py` finds the spool, `terminal/printing.py` prints, `exit_codes.py` maps errors to exit codes.
Each module in `commands/` is one command or one group of commands. `start_words.py` reads the usual `worker start`.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable

# Imports make many objects and no garbage. Collecting it would take a tenth of the time of a short command.
_GC_THRESHOLD = 50_000


def run() -> None:
    """Run the program `queuectl`; never return."""
    gc.set_threshold(_GC_THRESHOLD)
    words = sys.argv[1:]
    try:
        from queuectl.cli.terminal import printing

        command = _command(words)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "queuectl":
            raise
        # A clone that is not installed: Python finds the package in its folder, but none of its libraries.
        sys.exit(
            f"error: queuectl is not installed: the library {error.name!r} is missing\n"
            "hint: run in the folder with pyproject.toml: python -m pip install ."
        )
    printing.prepare_streams()
    code = printing.close_streams(command())
    # All output is written, and the system closes all files. The normal end of the interpreter would take a tenth of
    # the time of a short command.
    os._exit(code)


def _command(words: list[str]) -> Callable[[], int]:
    """Return what these words ask for, as a function that returns the exit code."""
    if "worker" in words and "start" in words:
        from queuectl.cli import start_words

        wanted = start_words.read(words)
        if wanted is not None:
            from queuectl.cli import failure, pool_start

            return lambda: failure.code_of(lambda: pool_start.run(wanted))
    from queuectl.cli import main

    return lambda: main.main(words)
