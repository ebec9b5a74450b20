"""Ask a person at the terminal whether to go on."""

from __future__ import annotations

import typer

from queuectl.cli import exit_codes
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing


def confirm(question: str, *, hint: str) -> None:
    """Return if the person says yes; exit with FAILURE otherwise.

    Raises:
        WrongUsageError: there is no terminal to ask on; `hint` names the options that need none.
    """
    if not printing.is_interactive():
        what = "this needs a confirmation, and there is no terminal to ask on"
        raise WrongUsageError(what, cause=question, hint=hint)
    if not typer.confirm(question, err=True):
        raise typer.Exit(exit_codes.FAILURE)
