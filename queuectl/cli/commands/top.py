"""`queuectl top`: the queue live on the whole screen, and keys that act on it.

An app of Textual (`top_app`), which is imported only if there is a screen to draw on.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from queuectl.cli import context, exit_codes, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing

app = group.new_app()

_LEAST_EVERY_S = 0.1


@app.command()
def top(
    every: Annotated[str, typer.Option(metavar="TIME", help="Look again this often: 500ms, 5s.")] = "1s",
) -> None:
    """Watch the queue live and control it with single-key commands.

    Example: queuectl top

    It shows the state of the queue in one sentence, then the jobs: running, waiting in the order in which
    they will run, dead, finished; then the workers and rejected files.

    Keys: arrows select a job, Enter follows its output, / filters, c cancels the job, r retries it, h holds it, p
    pauses and resumes the spool, ? shows all keys, q quits. In a pipe, it prints the output of `queuectl status` once.
    """
    every_s = rows.duration(every, "--every")
    if every_s < _LEAST_EVERY_S:
        raise WrongUsageError(f"--every: {every} is too often", hint="write 1s, or 100ms at least")
    spool = context.open_dir()
    if not _is_screen():
        from queuectl.cli.commands.status import print_text
        from queuectl.monitor.status import collect

        print_text(collect(spool, now_at=time.time()))
        return
    from queuectl.cli.commands.top_app import TopApp
    from queuectl.cli.terminal import stage

    shown = TopApp(spool, every_s, stage.driver())
    with stage.ended_by(shown.end_by):
        code = shown.run()
    if shown.killed:
        stage.take_effect(shown.killed)
    if shown.failed is not None:
        raise shown.failed
    if code:  # the terminal was closed
        printing.silence()
        raise typer.Exit(exit_codes.FAILURE)


def _is_screen() -> bool:
    """Whether there is a screen to draw on and a person with keys."""
    return printing.is_terminal() and printing.is_terminal(sys.stdin) and os.environ.get("TERM") != "dumb"
