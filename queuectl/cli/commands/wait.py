"""`queuectl wait`: wait until jobs have ended. Looks at two names per job, less often the longer it takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from queuectl.api import Spool
from queuectl.cli import context, exit_codes, group
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.rows import JobIds, duration, ending_text
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.progress import Progress
from queuectl.errors import UnknownGroupError
from queuectl.monitor.progress import of_job
from queuectl.monitor.results import Ending, id_at_end
from queuectl.monitor.wait import Wait
from queuectl.spool import groups

app = group.new_app()

_NAMED = 3


@app.command()
def wait(
    ids: JobIds = None,
    first: Annotated[bool, typer.Option("--any", help="Stop waiting when any of the jobs has ended.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Give up after this long, with exit code 124: 30s, 10m.")
    ] = None,
    of_group: Annotated[str | None, typer.Option("--group", metavar="TOKEN", help=group.GROUP_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Wait until jobs have ended.

    \b
    Examples:
      queuectl wait job1 --timeout 10m
      queuectl wait job1 job2 && echo both succeeded
      queuectl wait --any job1 job2
      queuectl wait --group build-20261124T031500-x2k9

    A job has ended when it is done or dead. A job that waits for a retry has not ended.

    The exit code is 0 if all jobs succeeded. For a single job that failed, it is the job's own exit code, or 4 if that
    is not from 1 to 255; the same holds with --any for the job that ended. For several jobs, it is 4 if any job failed.
    It is 124 when the time is up.

    In a pipe, the columns are id, state, exit code and error, separated by tabs.
    """
    limit_s = None if timeout is None else duration(timeout, "--timeout")
    spool = context.open_anyway()
    waiting = Wait(spool.session, _ids(spool, ids or [], of_group))
    with Progress() as progress:
        in_time = waiting.until_ended(
            first=first,
            limit_s=limit_s,
            on_wait=lambda passed_s: progress.tell(lambda: _so_far(spool, waiting, passed_s)),
        )
    ended = list(waiting.ended.values())
    if as_json:
        printing.print_json(_as_json(ended, waiting.left, timed_out=not in_time))
    else:
        for ending in ended:
            _print(ending)
    if not in_time:
        printing.message(f"the time is up: {_named(waiting.left)} not ended")
        raise typer.Exit(exit_codes.WAIT_TIMED_OUT)
    raise typer.Exit(_code(ended[:1] if first else ended))


def _ids(spool: Spool, ids: list[str], of_group: str | None) -> list[str]:
    """Return the ids to wait for: those that were typed, and those of a group."""
    if not ids and of_group is None:
        raise WrongUsageError("no jobs are selected", hint="give ids, or --group TOKEN")
    found = [id_at_end(spool.session, spool.resolve(job_id)) for job_id in ids]
    if of_group is not None:
        members = groups.ids(spool.folder, of_group)
        if not members:
            raise UnknownGroupError(of_group)
        found += members
    return found


def _so_far(spool: Spool, waiting: Wait, passed_s: float) -> str:
    failed = sum(not ending.succeeded for ending in waiting.ended.values())
    total = len(waiting.ended) + len(waiting.left)
    text = f"{len(waiting.ended)} of {total} ended" + (f", {failed} failed" if failed else "")
    said = of_job(spool.folder, waiting.left[0]) if len(waiting.left) == 1 else None
    at = f", at {said}" if said is not None else ""
    return f"{text}; waiting for {_named(waiting.left)} since {printing.age(passed_s)}{at}"


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(printing.safe(job_id) for job_id in ids[:_NAMED]) + more


def _code(ended: list[Ending]) -> int:
    if len(ended) == 1:
        return exit_codes.of_job(ended[0].exit_code, succeeded=ended[0].succeeded)
    return exit_codes.OK if all(ending.succeeded for ending in ended) else exit_codes.JOB_FAILED


def _print(ending: Ending) -> None:
    if printing.is_terminal():
        printing.line(printing.paint(ending_text(ending), "green" if ending.succeeded else "red"))
        return
    code = "" if ending.exit_code is None else str(ending.exit_code)
    printing.line("\t".join(printing.safe(cell) for cell in (ending.id, ending.state, code, ending.why)))


def _as_json(ended: list[Ending], left: list[str], *, timed_out: bool) -> dict[str, Any]:
    rows = [{**ending._asdict(), "succeeded": ending.succeeded} for ending in ended]
    return {"version": 1, "timed_out": timed_out, "ended": rows, "left": left}
