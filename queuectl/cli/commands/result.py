"""`queuectl result`: print what a job gave back. Raw bytes in a pipe; on a terminal control characters are escaped."""

from __future__ import annotations

from typing import Annotated

import typer

from queuectl.cli import context, group, rows
from queuectl.cli.commands.logs import print_file
from queuectl.errors import QueuectlError
from queuectl.monitor import results
from queuectl.system import files

app = group.new_app()


@app.command()
def result(
    job_id: rows.JobId,
    attempt: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="Number of the attempt. Default: the newest.")
    ] = None,
) -> None:
    """Print the result of a job.

    \b
    Examples:
      queuectl result job1
      queuectl result job1 --attempt 1

    A command gives a result back if it writes to the file that the variable QUEUECTL_RESULT names. The command fails
    if the attempt has no result.
    """
    spool = context.open_anyway()
    job = spool.pick(job_id)
    number = results.newest_attempt(job) if attempt is None else attempt
    path = spool.folder.result_path(job.id, number)
    if files.sig_of(path) is None:
        kept = [each for each in results.attempts_with_result(spool.session, job.id) if each != number]
        why = f"attempt {number} of job {job.id!r} has no result" if number else f"job {job.id!r} has not started yet"
        hint = f"an earlier one: queuectl result {job.id} --attempt {kept[-1]}" if kept else ""
        raise QueuectlError(why, hint=hint)
    print_file(path, None)
