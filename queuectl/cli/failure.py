"""Runs the work of a command, prints its error instead of raising it, and returns the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from queuectl.cli import context, exit_codes
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError, SpoolUnavailableError


def code_of(work: Callable[[], object]) -> int:
    """Do the work and return its exit code: its result if that is a number. Raise bugs only."""
    try:
        result = work()
    except QueuectlError as error:
        return _failed(error, exit_codes.of(error))
    except KeyboardInterrupt:
        printing.message("interrupted")
        return exit_codes.INTERRUPTED
    except OSError as error:
        if printing.is_cut_off():
            printing.silence()
            return exit_codes.FAILURE
        path, why = str(error.filename or ""), error.strerror or str(error)
        what = SpoolUnavailableError(f"{path}: {why}" if path else why, path=path)
        return _failed(what, exit_codes.UNAVAILABLE)
    return result if isinstance(result, int) and not isinstance(result, bool) else exit_codes.OK


def _failed(error: QueuectlError, code: int) -> int:
    if context.options.debug:
        import traceback

        traceback.print_exception(*sys.exc_info())
    printing.error(error)
    return code
