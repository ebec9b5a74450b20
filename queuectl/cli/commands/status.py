"""`queuectl status`: show the queue at a glance, and the next sensible command."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import age, ago, count_of, line, paint, safe
from queuectl.errors import InvalidSettingsError, os_words
from queuectl.model import times
from queuectl.model.inbox import FILES
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.progress import Progress
from queuectl.monitor import nodes
from queuectl.monitor.headline import headline
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.rows import RunRow
from queuectl.monitor.snapshot import Snapshot, size_text
from queuectl.monitor.status import advise, collect, document
from queuectl.spool.folder import SpoolDir

app = group.new_app()

_LINE = re.compile(r"(line \d+): ")
_TEXT_CHARS = 100
_ARRIVING_SHOWN = 20
_FOREIGN_SHOWN = 3
_FILES_SHOWN = 3
_GROUPS_SHOWN = 5
_SCHEDULES_SHOWN = 5


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name every worker process and foreign file.")
    ] = False,
) -> None:
    """Show the state of the queue and the next step.

    Example: queuectl status

    It shows the counts, the workers, running jobs, delayed jobs and retries with their time, the age of the oldest
    waiting job, and the last failures. It also shows incomplete files with their size and the time since their last
    change, and foreign files, which are not jobs.
    """
    spool = context.open_dir()
    found = collect(spool, now_at=time.time())
    if as_json:
        printing.print_json(document(found))
        return
    print_text(found, everything=verbose)


def print_text(found: Snapshot, *, everything: bool = False) -> None:
    """Print the queue at a glance; with `everything`, all worker processes and the names of all foreign files."""
    line(paint(safe(headline(found)), "bold"))
    mistake = _mistake_in_settings(found.path)
    _print_counts(found, mistake, everything=everything)
    _print_queues(found)
    _print_schedules(found)
    _print_groups(found)
    _print_runs(found, everything=everything)
    _print_soon(found)
    _print_arriving(found)
    _print_failures(found)
    _print_inboxes(found)
    _print_foreign(found, everything=everything)
    advice = advise(found)
    if advice.command and not (mistake and advice.command.startswith("queuectl worker start")):
        line()
        line(f"next: {paint(safe(advice.command), 'bold')}   ({advice.why})")


def _mistake_in_settings(root: str) -> str:
    """Return what keeps workers from starting: the mistakes in queuectl.toml, or ""."""
    from queuectl.model import settings
    from queuectl.spool import settings_file

    name = settings.SETTINGS_NAME
    try:
        settings.parse(settings_file.read(SpoolDir(root).settings_path), path=name)
    except InvalidSettingsError as error:
        what = str(error).removeprefix(f"{name} is not valid TOML: ").removeprefix(f"{name}: ")
        at = _LINE.match(what)
        where = f" ({at[1]})" if at is not None else ""
        return f"{name} has a mistake{where}: {what[at.end() if at is not None else 0 :]}; workers cannot start"
    except OSError as error:
        return f"cannot read {name}: {os_words(error)}; workers cannot start"
    return ""


def _print_counts(found: Snapshot, mistake: str, *, everything: bool) -> None:
    counts = found.counts
    line(f"spool     {safe(found.path)}")
    if mistake:
        line(f"{paint('settings', 'red')}  {safe(mistake)}")
    if found.paused is not None:
        line(f"{paint('paused', 'yellow')}    {printing.pause_text(found.paused, found.paused_until)}")
    if found.retention_waits:
        line(f"{paint('retention', 'yellow')} {safe(found.retention_waits)}")
    line(f"{found.place + 's':<9} {found.workers or 'none'}")
    for pool in found.pools:
        since = ago(pool.started_at, found.taken_at)
        shared = f" ({count_of(len(pool.processes), 'worker process', 'worker processes')})" if pool.is_shared else ""
        line(f"          {pool.workers} in pool {safe(pool.pool)}{shared} on {safe(pool.host)}, started {since}")
        for row in pool.processes if everything else ():
            line(f"            {safe(row.name)}  {printing.worker_text(row)}")
    if versions := found.other_versions:
        text = f"the pools are of different versions: {safe(versions)}; upgrade and restart them"
        line(f"{paint('versions', 'yellow')}  {text}")
    for cluster in found.clusters:
        line(f"cluster   {nodes.sentence(cluster, found.taken_at)}")
        for node in cluster.nodes:
            if everything or not nodes.is_well(node):
                line(f"            {safe(node.node)}  {nodes.node_text(node, found.taken_at)}")
    if found.settings_changed and not mistake:
        text = "changed since the workers read them; to apply them: queuectl worker reload"
        if found.held_settings:
            text = f"in use from the next start of the workers: {safe(found.held_settings)}"
        line(f"{paint('settings', 'yellow')}  {text}")
    line(f"pending   {counts[PENDING]:<6}  {_waiting(found)}".rstrip())
    line(f"running   {counts[RUNNING]}")
    line(f"done      {counts[DONE]}")
    apart = f"      {found.dead} dead, {found.cancelled} cancelled" if found.cancelled else ""
    line(f"dlq       {paint(str(counts[DLQ]), 'red' if found.dead else '')}{apart}")
    if found.refusals:
        newest = found.refusals[0]
        line(f"rejected  {counts[REJECTED]:<6}  newest: {safe(newest.name)}: {safe(newest.why)[:_TEXT_CHARS]}")


def _print_queues(found: Snapshot) -> None:
    for row in found.queues:
        of = f" of {row.slots}" if row.slots else ""
        state = f"  {paint(safe(row.state), 'yellow')}" if row.state else ""
        if row.state_until is not None:
            state += f" (until {printing.moment(row.state_until)})"
        line(f"queue     {safe(row.queue)}: {row.waiting} waiting, {row.running}{of} running{state}")


def _print_schedules(found: Snapshot) -> None:
    for row in found.schedules[:_SCHEDULES_SHOWN]:
        state = f"  {paint(safe(row.state), 'red' if row.why else 'yellow')}" if row.state else ""
        last = "" if row.last_at is None else f"last {ago(row.last_at, found.taken_at)}"
        next_ = "" if row.next_at is None else f"next {ago(row.next_at, found.taken_at)}"
        gone = "" if found.pools or row.next_at is None else ", without workers no job is made"
        line(f"schedule  {safe(row.schedule)}: {', '.join(filter(None, (last, next_)))}{gone}{state}".rstrip(": "))
    if (more := len(found.schedules) + found.schedules_left - _SCHEDULES_SHOWN) > 0:
        line(f"          ... and {count_of(more, 'more schedule')}: queuectl schedule list")


def _print_groups(found: Snapshot) -> None:
    for row in found.groups[:_GROUPS_SHOWN]:
        line(f"group     {safe(row.group)}: {row.text}")
    if (more := len(found.groups) + found.groups_left - _GROUPS_SHOWN) > 0:
        line(f"          ... and {count_of(more, 'more group')}: queuectl status --json")


def _waiting(found: Snapshot) -> str:
    parts = []
    if found.ready:
        oldest = f", oldest: {safe(found.oldest_id)}, {ago(found.oldest_since, found.taken_at)}"
        parts.append(f"{found.ready} ready to run" + (oldest if found.oldest_since is not None else ""))
    if found.later:
        last = f", the last {ago(found.last_due_at, found.taken_at)}" if found.later > 1 else ""
        parts.append(f"{found.later} delayed: the next {ago(found.next_due_at, found.taken_at)}{last}")
    if found.stopped:
        parts.append(f"{found.stopped} paused until `queuectl resume`")
    if found.held:
        parts.append(f"{found.held} held: queuectl release")
    if found.blocked:
        waits = "waits for another job" if found.blocked == 1 else "wait for other jobs"
        parts.append(f"{found.blocked} {waits}: queuectl why ID")
    if found.incomplete:
        parts.append(f"{found.incomplete} incomplete or unreadable, see below")
    return "; ".join(parts)


def _print_runs(found: Snapshot, *, everything: bool) -> None:
    if not found.runs:
        return
    line()
    line("running:")
    for run in found.runs:
        gone = "" if run.is_alive else paint("  its worker died; the next workers put the job back", "yellow")
        since = ago(run.started_at, found.taken_at)
        said = str(Progress(run.percent, run.progress))
        at = f"  {paint(safe(said), 'bold')}" if said else ""
        where = f"attempt {run.attempt}, started {since}, {_place(run, everything=everything)}"
        line(f"  {safe(run.id)}  {where}{at}  {_short(run.command)}{gone}")
    if (more := found.counts[RUNNING] - len(found.runs)) > 0:
        line(f"  ... and {more} more")


def _place(run: RunRow, *, everything: bool) -> str:
    """Return where a job runs: on its node, or by its worker; with `everything` both."""
    if not run.node:
        return safe(run.worker)
    return f"on {safe(run.node)}" + (f" by {safe(run.worker)}" if everything else "")


def _print_soon(found: Snapshot) -> None:
    if not found.dues:
        return
    line()
    line("delayed:")
    for due in found.dues:
        why = f"retry {due.runs} of {due.max_retries}, after {_short(due.error)}" if due.runs else "first attempt"
        line(f"  {safe(due.id)}  due {ago(due.due_at, found.taken_at)}  {why}")
    if (more := found.later - len(found.dues)) > 0:
        line(f"  ... and {more} more")


def _print_failures(found: Snapshot) -> None:
    if not found.failures:
        return
    line()
    line("last failures and cancelled jobs:" if any(row.cancelled for row in found.failures) else "last failures:")
    for failure in found.failures:
        when = ago(failure.ended_at, found.taken_at)
        why = paint(_short(failure.error), "" if failure.cancelled else "red")
        line(f"  {safe(failure.id)}  {when}  {why}  {_short(failure.command)}")
    if (more := found.counts[DLQ] - len(found.failures)) > 0:
        line(f"  ... and {more} more: queuectl dlq list")


def _print_arriving(found: Snapshot) -> None:
    if not found.arriving:
        return
    line()
    line("incomplete files:")
    for row in found.arriving[:_ARRIVING_SHOWN]:
        quiet = "" if row.changed_at is None else f", last change {ago(row.changed_at, found.taken_at)}"
        line(f"  {safe(row.name)}  {size_text(row.size)}{quiet}  {_short(row.why)}")
    if (more := len(found.arriving) - _ARRIVING_SHOWN) > 0:
        line(f"  ... and {more} more")


def _print_inboxes(found: Snapshot) -> None:
    if not found.inboxes:
        return
    line()
    line("inboxes:")
    for inbox in found.inboxes:
        listed_at = times.instant(inbox.listed_at)
        seen = f"listed {ago(listed_at, found.taken_at)}" if listed_at is not None else "never listed"
        gone = "" if found.pools else "; no workers are running, so no file is accepted"
        words = safe(inbox.text)
        line(f"  {safe(inbox.owner)}  {paint(words, 'yellow') if inbox.trouble else words}  ({seen}{gone})")
        for row in inbox.files[:_FILES_SHOWN]:
            quiet = age(row.quiet_s)
            line(f"    {safe(row.name)}  {row.size} bytes, unchanged for {quiet}: {_short(row.why)}")
        if inbox.mode == FILES:
            _print_files(inbox, found.taken_at)


def _print_files(inbox: InboxRow, now_at: float) -> None:
    """Print what else is known of an inbox of files: files that stay there and why, and the files that ended last."""
    for refused in inbox.refused[:_FILES_SHOWN]:
        line(f"    {safe(refused.name)}  {paint('refused', 'yellow')}: {_short(refused.why)}")
    if (more := inbox.rejected - len(inbox.refused[:_FILES_SHOWN])) > 0:
        line(f"    ... and {more} more refused (queuectl inbox list --json)")
    for what, end in (("last done", inbox.last_done), ("last failed", inbox.last_failed)):
        if end is not None:
            when = "" if end.ended_at is None else f"  {ago(end.ended_at, now_at)}"
            line(f"    {what}: {safe(end.name)}{when}  (job {safe(end.id)})")
    if inbox.command:
        line(f"    command: {_short(inbox.command)}")


def _print_foreign(found: Snapshot, *, everything: bool) -> None:
    for state, listed in found.foreign_names.items():
        shown = listed if everything else listed[:_FOREIGN_SHOWN]
        names = ", ".join(safe(name) for name in shown)
        rest = ", ... (all: queuectl status -v)" if len(shown) < len(listed) else ""
        copies = found.copies.get(state, 0)
        kind = f" ({copies} with names of unfinished or conflicting copies)" if copies else ""
        printing.message(
            f"note: {state}/ also contains {count_of(len(listed), 'foreign file')}, which queuectl ignores{kind}: "
            f"{names}{rest}"
        )


def _short(words: str) -> str:
    shown = safe(words)
    return shown if len(shown) <= _TEXT_CHARS or not printing.is_terminal() else shown[: _TEXT_CHARS - 3] + "..."
