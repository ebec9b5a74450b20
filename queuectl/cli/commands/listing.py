"""`queuectl list`: list jobs as rows. Opens only the files that it shows; --tag and --owner open every file.

It also opens up to a thousand drops that no pool has accepted yet, because they decide the order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from queuectl.api import Spool
from queuectl.cli import completion, context, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import DamagedRecordError
from queuectl.model import names
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, REJECTED, RUNNING, STATE_ALIASES, STATES
from queuectl.monitor import order, rejected
from queuectl.spool import groups
from queuectl.spool.lookup import Job

if TYPE_CHECKING:
    from queuectl.maintenance.refusals import Refusal

app = group.new_app()

LIMIT = 50
_ORDER = (RUNNING, PENDING, DLQ, DONE)
_NAMED = 3
Tag = Annotated[
    str | None,
    typer.Option(metavar="WORD", help="Only jobs with this tag.", autocompletion=completion.tags()),
]
Owner = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only jobs of this owner.", autocompletion=completion.owners()),
]
Queue = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only jobs of this queue.", autocompletion=completion.queues()),
]
Key = Annotated[str | None, typer.Option(metavar="TEXT", help="Only jobs with this key.")]


class Shown(NamedTuple):
    """The result for one state: the jobs, the names of other files, and the number of files that were not opened."""

    jobs: list[Job]
    others: list[str]
    left: int


class Wanted(NamedTuple):
    """The filters for the jobs to show; without any, no file has to be opened to select jobs."""

    tag: str | None = None
    owner: str | None = None
    queue: str | None = None
    key: str | None = None
    group: str | None = None
    cancelled: bool = False
    """Only cancelled jobs."""

    def includes(self, job: Job) -> bool:
        """Return whether a job passes the filters."""
        return (
            (self.tag is None or self.tag in job.tags)
            and self.owner in (None, job.owner)
            and self.queue in (None, job.queue)
            and self.key in (None, job.key)
            and (job.cancelled or not self.cancelled)
        )


_ALL = Wanted()


@app.command("list")
def list_(
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="Only jobs in this state: pending, running, done (or completed), dlq (or dead), cancelled, rejected.",
            autocompletion=completion.states(*STATES, CANCELLED, REJECTED),
        ),
    ] = None,
    tag: Tag = None,
    owner: Owner = None,
    queue: Queue = None,
    key: Key = None,
    of_group: Annotated[str | None, typer.Option("--group", metavar="TOKEN", help=group.GROUP_HELP)] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="Show at most this many jobs; 0 means all.")] = LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """List jobs.

    Example: queuectl list --state pending

    Running jobs come first, then waiting jobs in the order in which they will run, then dead and finished jobs, newest
    first. Queues and owners take turns, and only the workers know who has the first one. Jobs of a paused queue come
    after those that can run; jobs behind a full queue or key are shown at their turn.

    Each state gets a fair share of --limit. ATTEMPTS 2/4 means two attempts of at most four. --tag, --owner, --queue
    and --key open every file.

    In a pipe, the columns are id, state, attempts, time in UTC, tags, command and error, separated by tabs, without a
    heading. With --json, "total" is the number of jobs, or null if it is unknown: such filters stop at the limit.
    "truncated" is true if some jobs are left out.
    """
    chosen = state_named(state)
    spool = context.open_anyway()
    if chosen == REJECTED:
        show_rejected(spool, limit, as_json=as_json)
        return
    if chosen == CANCELLED:
        show(spool, (DLQ,), wanted=Wanted(tag, owner, queue, key, of_group, True), limit=limit, as_json=as_json)
        return
    states = _ORDER if chosen is None else (chosen,)
    show(spool, states, wanted=Wanted(tag, owner, queue, key, of_group), limit=limit, as_json=as_json)


def state_named(word: str | None) -> str | None:
    """Return the state that a word on the command line means, or None without a word. Raises WrongUsageError."""
    if word is None:
        return None
    folded = word.lower()
    state = STATE_ALIASES.get(folded, folded)
    if state not in (*STATES, CANCELLED, REJECTED):
        known = (*STATES, CANCELLED, REJECTED, *STATE_ALIASES)
        from queuectl.model import mistakes

        hint = f"the states and their other names: {', '.join(known)}"
        if near := mistakes.near(folded, known):
            hint = f"did you mean {near}?\n{hint}"
        raise WrongUsageError(f"there is no state {word[:60]!r}", hint=hint)
    return state


def show(spool: Spool, states: tuple[str, ...], *, wanted: Wanted = Wanted(), limit: int, as_json: bool) -> None:
    """Print the jobs of some states."""
    look = _Look(spool, time.time(), wanted)
    seeks = look.seeks
    listed = {state: _names(spool, state, wanted.group) for state in states}
    shares = _shares({state: len(found) for state, found in listed.items()}, limit)
    shown = {state: look.at(state, found, limit if seeks else shares[state]) for state, found in listed.items()}
    all_found = [job for part in shown.values() for job in part.jobs]
    found_jobs = all_found[:limit] if limit else all_found
    left = sum(part.left for part in shown.values())
    if as_json:
        # Files that were not opened count as jobs. With --tag or --owner, the number of jobs among them is unknown.
        total = len(all_found) + left if not seeks else None if left else len(all_found)
        truncated = left > 0 or len(found_jobs) < len(all_found)
        found_rows = [rows.as_json(job) for job in found_jobs]
        printing.print_json({"version": 1, "total": total, "truncated": truncated, "jobs": found_rows})
    elif found_jobs:
        printing.table(rows.HEADERS, [rows.row(job, look.now_at) for job in found_jobs], known=spool.folder.ids)
    else:
        printing.message("no jobs match" if wanted != _ALL or len(states) == 1 else "no jobs in this spool")
    _note(shown, seeks=seeks)


def _names(spool: Spool, state: str, of_group: str | None) -> list[str]:
    listed = spool.folder.waiting_names() if state == PENDING else spool.folder.job_names(state)
    return listed if of_group is None else groups.of(listed, of_group)


def _shares(counts: dict[str, int], limit: int) -> dict[str, int]:
    """Return how many jobs of each state to show, so that each state gets a fair share of `limit` (0 means all)."""
    if not limit:
        return dict(counts)
    shares: dict[str, int] = {}
    left = limit
    for number, (state, count) in enumerate(sorted(counts.items(), key=lambda item: item[1])):
        shares[state] = min(count, left // (len(counts) - number))
        left -= shares[state]
    return shares


class _Look(NamedTuple):
    """Reads the folders of some states."""

    spool: Spool
    now_at: float
    wanted: Wanted

    @property
    def seeks(self) -> bool:
        """Whether files must be opened to select jobs; names tell the group."""
        return self.wanted._replace(group=None) != _ALL

    def at(self, state: str, listed: list[str], limit: int) -> Shown:
        """Open files of one state, in order, until `limit` jobs pass the filters; 0 means all."""
        seeks = self.seeks
        found: list[Job] = []
        others: list[str] = []
        looked = 0
        if limit or seeks:
            for name in self._in_order(state, listed, len(listed) if seeks else limit):
                looked += 1
                if names.is_batch(name):
                    others.append(name)
                    continue
                try:
                    job = self.spool.load(state, name)
                except DamagedRecordError:
                    others.append(name)
                except OSError:
                    continue  # the file moved, or is unreadable now
                else:
                    if self.wanted.includes(job):
                        found.append(job)
                if limit and len(found) >= limit:
                    break
        return Shown(found, others, len(listed) - looked)

    def _in_order(self, state: str, listed: list[str], limit: int) -> Iterator[str]:
        folder = self.spool.folder
        if state == PENDING:
            from queuectl.spool import full_names

            full = full_names.read_all(folder, listed, self.now_at)
            turns = order.turns_of(folder, self.spool.settings.queues)
            yield from order.in_run_order(listed, self.now_at, full, turns)[:limit]
        elif state in (DONE, DLQ):
            yield from order.newest_first(folder, state, listed, limit)
        else:
            yield from listed[:limit]


def _note(shown: dict[str, Shown], *, seeks: bool) -> None:
    """Print to standard error what is not in the list."""
    left = [f"{part.left} {state}" for state, part in shown.items() if part.left > 0]
    if left and seeks:
        printing.message(f"... not searched: {', '.join(left)} (--limit 0 searches all)")
    elif left:
        printing.message(f"... and {', '.join(left)} more (use --state and --limit)")
    for state, part in shown.items():
        if part.others:
            some = ", ".join(printing.safe(name) for name in part.others[:_NAMED])
            more = ", ..." if len(part.others) > _NAMED else ""
            files = printing.count_of(len(part.others), "file")
            what = "incomplete, a batch, or broken" if state == PENDING else "damaged, or not made by queuectl"
            printing.message(f"note: {state}/ also contains {files} not listed as jobs ({what}): {some}{more}")


def show_rejected(spool: Spool, limit: int, *, as_json: bool) -> None:
    """Print the rejected files, newest first, each with its reason; those of inboxes too."""
    from queuectl.maintenance import refusals

    now_at = time.time()
    found, total = refusals.listed(spool, limit)
    if as_json:
        rows = [rejected_as_json(each) for each in found]
        printing.print_json({"version": 1, "total": total, "truncated": len(found) < total, "rejected": rows})
    elif found:
        printing.table(
            ("FILE", "STATE", "WHEN", "ERROR", "INBOX"),
            [(each.name, REJECTED, printing.ago(each.rejected_at, now_at), each.why, each.inbox) for each in found],
            known=lambda: rejected.rejected_names(spool.folder),
        )
    else:
        printing.message("no rejected files")
    if total > len(found):
        printing.message(f"... and {total - len(found)} more")


def rejected_as_json(found: Refusal) -> dict[str, Any]:
    """Return a rejected file for programs."""
    return {**found._asdict(), "rejected_at": rows.text(found.rejected_at), "inbox": found.inbox or None}
