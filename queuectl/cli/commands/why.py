"""`queuectl why`: explain why a job is not running, and name the command or file move that changes it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.rows import JobId
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import line, paint, safe
from queuectl.monitor.why import explain

app = group.new_app()


@app.command()
def why(
    job_id: JobId,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Explain why a job is not running and how to change that.

    Example: queuectl why job1

    If several reasons apply, the most important one comes first. In a pipe, each line is a reason: its name, the
    reason, and the command or file move that changes it, separated by tabs.
    """
    answer = explain(context.open_anyway().session, job_id, now_at=time.time())
    if as_json:
        rows = [reason._asdict() for reason in answer.reasons]
        printing.print_json({"version": 1, "id": answer.id, "state": answer.state, "reasons": rows})
        return
    if not printing.is_terminal():
        for reason in answer.reasons:
            line("\t".join(safe(cell) for cell in reason))
        return
    line(f"{paint(safe(answer.id), 'bold')} is in {answer.state}/")
    for reason in answer.reasons:
        line()
        line(safe(reason.text))
        if reason.change:
            line(f"  {safe(reason.change)}")
