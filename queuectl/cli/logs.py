"""`queuectl logs`: what a job printed. Raw bytes in a pipe; on a terminal nothing in them can act on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Annotated, BinaryIO

import typer

from queuectl import fsops
from queuectl.api import Job, Spool
from queuectl.cli import context, group, jobs, output
from queuectl.errors import QueuectlError
from queuectl.lifecycle import RUNNING

app = group.new_app()

_CHUNK = 64 * 1024
# Longer lines are shown in parts: one line may be all that a command printed for hours.
_LINE_BYTES = 1024 * 1024


@app.command()
def logs(
    job_id: Annotated[str, typer.Argument(metavar="ID", show_default=False, help=jobs.ID_HELP)],
    lines: Annotated[
        int | None, typer.Option("-n", "--lines", metavar="N", min=0, help="Only the last N lines.")
    ] = None,
    attempt: Annotated[int | None, typer.Option(metavar="K", min=1, help="Of run K. Default: the newest run.")] = None,
) -> None:
    """Example: queuectl logs job1 -n 20

    Print what a job printed. Of a job that runs, the output so far. A run that printed nothing has no log.
    """
    spool = context.open_spool()
    job = spool.get(spool.resolve(job_id))
    kept = {_attempt_of(path): path for path in spool.logs(job.id)}
    running = _running_output(spool, job)
    if running is not None:
        kept[running[0]] = running[1]
    started = [event["attempt"] for event in job.history if event.get("event") == "started" and "attempt" in event]
    wanted = attempt if attempt is not None else max(running[0] if running else 0, *started, *kept, 0)
    if attempt is not None and attempt not in kept and attempt not in started:
        raise QueuectlError(f"job {job.id!r} has no run {attempt}", hint=f"queuectl show {job.id}")
    path = kept.get(wanted, "")
    if not path or not _print(path, lines):
        still = " so far" if running is not None and wanted == running[0] else ""
        shown = output.safe(job.id)
        output.message(f"run {wanted} of {shown} printed nothing{still}" if wanted else f"{shown} has not run yet")
        if earlier := [number for number in sorted(kept) if number != wanted]:
            output.message(f"earlier output: queuectl logs {shown} --attempt {earlier[-1]}")


def _attempt_of(path: str) -> int:
    return int(path.rsplit(".", 2)[1])


def _running_output(spool: Spool, job: Job) -> tuple[int, str] | None:
    """The run that is going on and the file it prints to."""
    if job.state != RUNNING:
        return None
    start = next((event for event in reversed(job.history) if event.get("event") == "started"), None)
    if start is None or not isinstance(start.get("attempt"), int):
        return None
    return start["attempt"], spool.folder.output_path(str(start.get("lease", "")))


def _print(path: str, lines: int | None) -> bool:
    """Print a file or its end; False where there is nothing in it."""
    try:
        # logs/ may be open to others: what lies there is not followed anywhere and not waited for.
        with open(fsops.open_to_read(path), "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return False
            if lines is not None:
                file.seek(_start_of_last(file, lines))
            if output.is_terminal():
                for text in _readable(file):
                    output.line(text)
            else:
                while chunk := file.read(_CHUNK):
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
    except FileNotFoundError:
        return False
    except fsops.NotRegularError as error:
        raise QueuectlError(f"{path} is no log: it is no regular file") from error
    return True


def _readable(file: BinaryIO) -> Iterator[str]:
    while raw := file.readline(_LINE_BYTES):
        text = raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
        yield "\t".join(output.safe(part) for part in text.split("\t"))


def _start_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin; the file is read from its end, only as far as needed."""
    end = file.seek(0, os.SEEK_END)
    position, needed = end, lines
    if end:
        file.seek(end - 1)
        needed += file.read(1) == b"\n"  # the break at the very end ends the last line, it begins none
    while position > 0 and needed > 0:
        step = min(_CHUNK, position)
        position -= step
        file.seek(position)
        chunk = file.read(step)
        at = len(chunk)
        while needed > 0:
            at = chunk.rfind(b"\n", 0, at)
            if at < 0:
                break
            needed -= 1
            if needed == 0:
                return position + at + 1
    return 0 if lines else end
