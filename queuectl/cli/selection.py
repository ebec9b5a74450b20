"""Which jobs a command is for: ids, ids on standard input, or filters; and what is done to each of them.

Used by the commands that change jobs. Filters open every file of the states they look in.
"""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple

import typer

from queuectl import times
from queuectl.api import Job, Spool
from queuectl.cli import exit_codes, jobs, output
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.output import count_of, safe
from queuectl.errors import QueuectlError

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        show_default=False,
        help="The jobs; the beginning of an id is enough. - reads them from stdin.",
        autocompletion=jobs.complete,
    ),
]
Tag = Annotated[str | None, typer.Option(metavar="WORD", help="Only jobs with this tag.")]
Owner = Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this owner.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only jobs that last changed within: 30m, 12h, 7d.")]
OlderThan = Annotated[str | None, typer.Option(metavar="TIME", help="Only jobs that last changed before: 12h, 30d.")]
ExitCode = Annotated[int | None, typer.Option(metavar="N", help="Only jobs whose last run ended with this exit code.")]
Match = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only jobs whose id or command holds this; * and ? as in file names.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed for filters where nobody can be asked.")]


class Filters(NamedTuple):
    """What narrows a selection down; None is no matter."""

    tag: str | None = None
    since: str | None = None
    older_than: str | None = None
    exit_code: int | None = None
    match: str | None = None
    owner: str | None = None

    @property
    def given(self) -> bool:
        """True where any of them is set."""
        return any(value is not None for value in self)


def choose(
    spool: Spool, ids: list[str] | None, filters: Filters, *, states: Iterable[str], everything: bool
) -> list[str]:
    """The ids that are meant: those that were named (or came on stdin), else the jobs of `states` that pass.

    Raises:
        WrongUsageError: neither ids nor a filter, or both.
    """
    wide = everything or filters.given
    if bool(ids) == wide:
        what = "which jobs?" if not ids else "ids and filters are both given; which counts?"
        raise WrongUsageError(what, hint="name their ids, or choose with --tag, --match, --since, --all ...")
    if ids:
        named = [word for item in ids for word in (sys.stdin.read().split() if item == "-" else [item])]
        return list(dict.fromkeys(named))
    passes = _test_of(filters)
    return [job.id for state in states for job in spool.jobs(state) if passes(job)]


def _test_of(filters: Filters) -> Callable[[Job], bool]:
    now_at = time.time()
    after_at = now_at - _seconds("--since", filters.since) if filters.since is not None else None
    before_at = now_at - _seconds("--older-than", filters.older_than) if filters.older_than is not None else None

    def passes(job: Job) -> bool:
        changed_at = jobs.when(job) or 0.0
        return (
            (filters.tag is None or filters.tag in job.tags)
            and (filters.owner is None or filters.owner == job.owner)
            and (after_at is None or changed_at >= after_at)
            and (before_at is None or changed_at < before_at)
            and (filters.exit_code is None or _last_exit_code(job) == filters.exit_code)
            and (filters.match is None or _matches(filters.match, (job.id, output.command_text(job.command))))
        )

    return passes


def _seconds(option: str, text: str) -> float:
    try:
        return times.parse_duration(text)
    except ValueError as error:
        raise WrongUsageError(f"{option}: {error}", hint="write 30m, 12h or 30d") from error


def _last_exit_code(job: Job) -> object:
    return next((event["exit_code"] for event in reversed(job.history) if "exit_code" in event), None)


def _matches(pattern: str, texts: Iterable[str]) -> bool:
    folded = pattern.lower()
    if not any(mark in folded for mark in "*?["):
        folded = f"*{folded}*"
    return any(fnmatch.fnmatchcase(text.lower(), folded) for text in texts)


def go_on(wanted: list[str], *, what: str, named: bool, dry_run: bool, yes: bool) -> bool:
    """Say how many jobs it is for and ask, where filters chose them; False where nothing is to be done.

    Args:
        wanted: the ids.
        what: what is to be done, as in "cancel 3 jobs".
        named: their ids were given, so nobody is asked.

    Raises:
        WrongUsageError: nobody can be asked, and --yes was not given.
    """
    if not wanted:
        output.message("no such jobs")
        return False
    if dry_run:
        for job_id in wanted:
            output.line(f"would {what} {safe(job_id)}" if output.is_terminal() else job_id)
        return False
    if named or yes:
        return True
    question = f"{what} {count_of(len(wanted), 'job')}?"
    if not output.is_interactive():
        raise WrongUsageError(f"nobody can be asked: {question}", hint="add --yes, or --dry-run to see which")
    if not typer.confirm(question, err=True):
        raise typer.Exit(exit_codes.FAILURE)
    return True


def each(ids: Iterable[str], action: Callable[[str], None]) -> None:
    """Do it for each id; one that fails does not keep the others from it. Ends with the first failure's code."""
    code = exit_codes.OK
    for job_id in ids:
        try:
            action(job_id)
        except QueuectlError as error:
            output.error(error)
            code = code or exit_codes.of(error)
    if code:
        raise typer.Exit(code)
