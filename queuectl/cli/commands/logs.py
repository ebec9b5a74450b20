"""`queuectl logs`: print the output of a job. Raw bytes in a pipe; on a terminal control characters are escaped."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated, BinaryIO

import typer

from queuectl.api import Spool
from queuectl.cli import context, exit_codes, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import PENDING, RUNNING, STARTED
from queuectl.monitor.logs import Piece, Tail, start_of_last
from queuectl.monitor.results import id_at_end
from queuectl.monitor.wait import Wait
from queuectl.spool.lookup import Job
from queuectl.system import files

app = group.new_app()

_CHUNK = 64 * 1024
_LOOK_EVERY_S = 0.1
# Longer lines are shown in parts: a command may print a single line for hours.
_LINE_BYTES = 1024 * 1024


@app.command()
def logs(
    job_id: rows.JobId,
    lines: Annotated[
        int | None, typer.Option("-n", "--lines", metavar="N", min=0, help="Print only the last N lines.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="Number of the attempt. Default: the newest.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Continue through all attempts until the job has ended.")
    ] = False,
) -> None:
    """Print the output of a job.

    \b
    Examples:
      queuectl logs job1 -n 20
      queuectl logs -f job1
      queuectl logs job1 --attempt 1

    For a running job, this is the output so far. An attempt that printed nothing has no log. With --follow, the exit
    code is the same as for `queuectl wait`.
    """
    if follow and attempt is not None:
        raise WrongUsageError("--attempt and --follow cannot be combined", hint="remove one of them")
    spool = context.open_anyway()
    job = spool.pick(job_id)
    if follow:
        raise typer.Exit(
            _follow(spool, job, job.id if job.state != PENDING else id_at_end(spool.session, job.id), lines)
        )
    kept = {_attempt_of(path): path for path in spool.logs(job.id)}
    running = _running_output(spool, job)
    if running is not None:
        kept[running[0]] = running[1]
    started = [event["attempt"] for event in job.history if event.get("event") == STARTED and "attempt" in event]
    wanted = attempt if attempt is not None else max(running[0] if running else 0, *started, *kept, 0)
    if attempt is not None and attempt not in kept and not 1 <= attempt <= max(started, default=0):
        raise QueuectlError(
            f"job {job.id!r} has no attempt {attempt}", hint=f"to list its attempts: queuectl show {job.id}"
        )
    path = kept.get(wanted, "")
    if not path or not print_file(path, lines):
        still = " so far" if running is not None and wanted == running[0] else ""
        shown = printing.safe(job.id)
        printing.message(
            f"attempt {wanted} of {shown} printed nothing{still}" if wanted else f"{shown} has not started yet"
        )
        if earlier := [number for number in sorted(kept) if number != wanted]:
            printing.message(f"earlier output: queuectl logs {shown} --attempt {earlier[-1]}")


def _follow(spool: Spool, job: Job, id_in_the_end: str, lines: int | None) -> int:
    """Print the output of a job until it has ended permanently; return the exit code."""
    screen, tail, ends = _Screen(job.id), Tail(spool.session, job, lines=lines), Wait(spool.session, [id_in_the_end])
    if job.state == PENDING:
        printing.message(f"{printing.safe(job.id)} is waiting; to see why: queuectl why {printing.safe(job.id)}")
    while True:
        found = ends.poll()
        for piece in tail.take():
            screen.show(piece)
        if found:
            break
        time.sleep(_LOOK_EVERY_S)
    screen.close()
    (ending,) = found
    printing.message(rows.ending_text(ending))
    return exit_codes.of_job(ending.exit_code, succeeded=ending.succeeded)


class _Screen:
    """Prints followed output: raw bytes in a pipe, escaped control characters on a terminal."""

    def __init__(self, job_id: str) -> None:
        self._id = job_id
        self._attempt = 0
        self._decoder = _new_decoder()
        self._held = ""
        self._in_line = False

    def show(self, piece: Piece) -> None:
        """Print a piece of output at once, also without the end of its line."""
        if piece.attempt != self._attempt:
            if self._attempt:
                self.close()
                printing.message(f"attempt {piece.attempt} of {printing.safe(self._id)}:")
            self._attempt = piece.attempt
        if printing.is_terminal():
            self._write(self._decoder.decode(piece.data))
            return
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Print the rest of an attempt that is over, and end its line."""
        if printing.is_terminal():
            self._write(self._decoder.decode(b"", final=True) + ("\n" if self._in_line else ""))
        self._decoder, self._held, self._in_line = _new_decoder(), "", False

    def _write(self, text: str) -> None:
        text = (self._held + text).replace("\r\n", "\n")
        # A final \r may be half of a line end: wait for the next piece.
        self._held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r")
        if text:
            self._in_line = not text.endswith("\n")
            sys.stdout.write("\n".join(_shown(part) for part in text.split("\n")))
            sys.stdout.flush()


def _new_decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")


def _attempt_of(path: str) -> int:
    return int(path.rsplit(".", 2)[1])


def _running_output(spool: Spool, job: Job) -> tuple[int, str] | None:
    """Return the number of the running attempt and the file that it prints to."""
    if job.state != RUNNING:
        return None
    start = next((event for event in reversed(job.history) if event.get("event") == STARTED), None)
    if start is None or not isinstance(start.get("attempt"), int):
        return None
    return start["attempt"], spool.folder.output_path(str(start.get("lease", "")))


def print_file(path: str, lines: int | None) -> bool:
    """Print a file or its last lines; return False if it is empty or missing."""
    try:
        # Others may be able to write to logs/: never follow a link there, and never wait for a pipe.
        with open(files.open_to_read(path), "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return False
            if lines is not None:
                file.seek(start_of_last(file, lines))
            if printing.is_terminal():
                for text in _readable(file):
                    printing.exact_line(text)
            else:
                while chunk := file.read(_CHUNK):
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
    except FileNotFoundError:
        return False
    except files.NotRegularError as error:
        raise QueuectlError(f"cannot read {path}", cause="it is not a regular file") from error
    return True


def _readable(file: BinaryIO) -> Iterator[str]:
    while raw := file.readline(_LINE_BYTES):
        text = raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
        yield _shown(text)


def _shown(text: str) -> str:
    return "\t".join(printing.safe(part) for part in text.split("\t"))
