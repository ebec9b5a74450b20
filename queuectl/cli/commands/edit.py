"""`queuectl edit` and `queuectl drain`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
import time
from functools import partial
from typing import Annotated

import typer

from queuectl.api import Spool
from queuectl.cli import completion, context, exit_codes, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import count_of
from queuectl.cli.terminal.progress import Progress
from queuectl.errors import InvalidJobError, QueuectlError
from queuectl.jobs.edit import Draft, Editor
from queuectl.model import names
from queuectl.model.lifecycle import DLQ, PENDING, RUNNING
from queuectl.system import files

app, drain_app = group.new_app(), group.new_app()

_LOOK_S = 0.2
_ASKED_AT_MOST = 100


@app.command()
def edit(
    job_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            show_default=False,
            help="Id of a waiting or dead job.",
            autocompletion=completion.ids(PENDING, DLQ),
        ),
    ],
) -> None:
    """Edit a waiting or dead job in your editor.

    Example: queuectl edit job1

    $VISUAL or $EDITOR names the editor. The command checks what you save, then replaces the job in one step; its
    history stays. It changes nothing if you saved nothing, or if the job has started in the meantime.
    """
    spool = context.open_spool()
    editing = Editor(spool.session)
    draft = editing.draft(spool.resolve(job_id))
    text = draft.text
    while True:
        changed = _edited(text)
        if _is_same(changed, draft.text):
            printing.line("nothing changed")
            return
        try:
            job = editing.put_back(draft, changed)
            break
        except InvalidJobError as error:
            printing.error(error)
            if not printing.is_interactive() or not typer.confirm("edit it again?", default=True, err=True):
                raise typer.Exit(exit_codes.of(error)) from error
            text = changed
        except QueuectlError:
            _keep(draft, changed)
            raise
    for warning in editing.warnings:
        printing.warning(warning)
    hint = f"; to run it again: queuectl retry {job.id}" if job.state == DLQ else ""
    printing.line(f"changed {job.id}{hint}" if printing.is_terminal() else job.id)


def _edited(text: str) -> str:
    """Open a text in the person's editor and return the edited text."""
    program = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if os.name == "nt" else "vi")
    is_path = os.name == "nt" and os.path.exists(program)
    words = [program] if is_path else [word.strip('"') for word in shlex.split(program, posix=os.name != "nt")]
    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder:
        path = os.path.join(folder, "job.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            code = subprocess.run([*words, path], check=False).returncode
        except OSError as error:
            hint = "set the environment variable EDITOR to your editor"
            raise WrongUsageError(
                f"the editor {program!r} does not start", cause=error.strerror or "", hint=hint
            ) from error
        if code != 0:
            raise QueuectlError(f"the editor failed with exit code {code}; the job is unchanged")
        with open(path, encoding="utf-8-sig") as file:
            return file.read()


def _is_same(text: str, other: str) -> bool:
    """Return whether two texts hold the same JSON, whatever their white space."""
    try:
        same: bool = json.loads(text) == json.loads(other)
    except ValueError:
        return text == other
    return same


def _keep(draft: Draft, text: str) -> None:
    """Keep the edited text in a file and print its path."""
    fd, path = tempfile.mkstemp(prefix=f"{draft.stored.record.id}-", suffix=".json")
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    printing.message(f"your text is kept in {path}")


@drain_app.command()
def drain(
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Give up after this long: 30m, 2h.")] = None,
) -> None:
    """Wait until no job is waiting or running.

    Example: queuectl drain && echo all done

    It also waits for delayed jobs and retries, and while workers run for the files in inboxes. It does not start
    workers; `queuectl worker start --drain` starts some and stops when the queue is empty. The exit code is 124 when
    the time is up.
    """
    spool = context.open_spool()
    began_at = time.time()
    limit_s = None if timeout is None else rows.duration(timeout, "--timeout")
    has_told = False
    with Progress() as progress:
        while any(left := (_waiting(spool) + _in_inboxes(spool, began_at), len(spool.folder.job_names(RUNNING)))):
            if not has_told:
                has_told = True
                _tell_if_no_workers(spool)
            if limit_s is not None and progress.passed_s >= limit_s:
                progress.clear()
                printing.message(f"the time is up: {_left(left)}")
                raise typer.Exit(exit_codes.WAIT_TIMED_OUT)
            progress.tell(partial(_left, left))
            time.sleep(_LOOK_S)
    counts = spool.counts()
    printing.message(f"no job is waiting or running; {counts.done} done, {counts.dlq} in dlq/")


def _tell_if_no_workers(spool: Spool) -> None:
    from queuectl.monitor import live

    if not live.pools(spool.folder):
        printing.message(printing.NO_WORKERS)


def _left(left: tuple[int, int]) -> str:
    return f"{count_of(left[0], 'job')} waiting, {left[1]} running"


# An inbox process publishes its listing at least every 10 s.
_HANGS_S = 30.0


def _in_inboxes(spool: Spool, since_at: float) -> int:
    """Return how many files wait in inboxes, as published since then; 0 without workers.

    An inbox that was not listed since then counts as one file, unless it is unreachable or seems to hang.
    """
    from queuectl.inbox.state import read_all
    from queuectl.model import times
    from queuectl.monitor import live

    states = read_all(spool.folder)
    if not states or not live.pools(spool.folder):
        return 0
    count = 0
    for state in states:
        listed_at = times.instant(state.listed_at)
        is_old = (listed_at is None or listed_at < since_at) and time.time() < since_at + _HANGS_S
        count += 0 if state.trouble else state.waiting + state.arriving + is_old
    return count


def _waiting(spool: Spool) -> int:
    """Return the number of jobs in pending/ that are not held. If they are few, skip entries that are not files."""
    found = [name for name in spool.folder.waiting_names() if not names.is_held(name)]
    if len(found) <= _ASKED_AT_MOST:
        found = [name for name in found if files.is_regular(spool.folder.path(PENDING, name))]
    return len(found)
