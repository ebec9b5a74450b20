"""Selects the jobs of a command by ids, ids on standard input, or filters, and acts on each of them.

Used by the commands that change jobs. Filters open every file of the states that they search.
"""

from __future__ import annotations

import fnmatch
import inspect
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, NamedTuple

import typer

from queuectl.api import Spool
from queuectl.cli import completion, exit_codes, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import asking, printing
from queuectl.cli.terminal.printing import count_of, safe
from queuectl.cli.terminal.progress import Progress
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import STATE_ALIASES
from queuectl.model.text import command_text
from queuectl.spool.lookup import Job

_IDS_HELP = "Job ids; the first characters of an id are enough. - reads ids from standard input."
_FILTERS: dict[str, Any] = {
    "tag": Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Only jobs with this tag.", autocompletion=completion.tags()),
    ],
    "owner": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only jobs of this owner.", autocompletion=completion.owners()),
    ],
    "queue": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only jobs of this queue.", autocompletion=completion.queues()),
    ],
    "key": Annotated[str | None, typer.Option(metavar="TEXT", help="Only jobs with this key.")],
    "of_group": Annotated[str | None, typer.Option("--group", metavar="TOKEN", help=group.GROUP_HELP)],
    "since": Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that changed within this time: 30m, 12h, 7d.")
    ],
    "older_than": Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that last changed longer ago than this: 12h, 30d.")
    ],
    "exit_code": Annotated[
        int | None, typer.Option(metavar="N", help="Only jobs whose last attempt ended with this exit code.")
    ],
    "match": Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only jobs whose id or command contains this; * and ? are wildcards."),
    ],
}
DryRun = Annotated[bool, typer.Option("--dry-run", help=group.DRY_RUN_HELP)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=group.YES_HELP)]
# A terminal shows the names of at most this many jobs, else their number.
_NAME_AT_MOST = 20


def filter_helps() -> dict[str, str]:
    """Return the option and the help of each filter, for the documents."""
    found = {}
    for name, annotation in _FILTERS.items():
        (option,) = annotation.__metadata__
        found[f"--{name.removeprefix('of_').replace('_', '-')} {option.metavar}"] = option.help
    return found


class Chosen(NamedTuple):
    """The typed ids and filters; None and "" mean no filter."""

    ids: list[str] | None = None
    everything: bool = False
    state: str = ""
    tag: str | None = None
    owner: str | None = None
    queue: str | None = None
    key: str | None = None
    of_group: str | None = None
    since: str | None = None
    older_than: str | None = None
    exit_code: int | None = None
    match: str | None = None
    dry_run: bool = False
    yes: bool = False

    @property
    def is_wide(self) -> bool:
        """Return whether filters select the jobs, not ids."""
        filters = (self.tag, self.owner, self.queue, self.key, self.of_group, self.since, self.older_than, self.match)
        return self.everything or bool(self.state) or any(value is not None for value in (*filters, self.exit_code))


def chooses(
    every: str, *, of: tuple[str, ...], held: bool | None = None, states: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that select jobs, the same for every command that changes jobs.

    The command gets them as its first argument, a `Chosen`; its own options follow.

    Args:
        every: the help of --all.
        of: the states whose jobs the command can act on: a shell completes their ids.
        held: whether a job in pending/ must be held or must not; None for both.
        states: the help of --state; "" for a command that acts on one state.
    """

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        shared: dict[str, Any] = {
            "ids": Annotated[
                list[str] | None,
                typer.Argument(
                    metavar="[ID]...",
                    show_default=False,
                    help=_IDS_HELP,
                    autocompletion=completion.ids(*of, held=held),
                ),
            ],
            "everything": Annotated[bool, typer.Option("--all", help=every)],
            "state": Annotated[str, typer.Option(metavar="STATE", help=states, autocompletion=completion.states(*of))],
            **_FILTERS,
            "dry_run": DryRun,
            "yes": Yes,
        }
        if not states:
            del shared["state"]
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        kind = inspect.Parameter.KEYWORD_ONLY
        made = [
            inspect.Parameter(name, kind, default=Chosen._field_defaults[name], annotation=annotation)
            for name, annotation in shared.items()
        ]

        def call(**given: Any) -> None:
            chosen = Chosen(**{name: given.pop(name) for name in shared})
            command(chosen, **given)

        call.__name__, call.__doc__ = command.__name__, command.__doc__
        # Typer makes the options from this: the argument, the command's own options, then the shared ones.
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [made[0], *(each.replace(kind=kind) for each in own), *made[1:]]
        )
        call.__annotations__ = {}
        return call

    return wrap


class Choice(NamedTuple):
    """The selected jobs; `named` is true if their ids were typed."""

    ids: list[str]
    named: bool


def choose(
    spool: Spool,
    chosen: Chosen,
    *,
    states: Iterable[str],
    known: Iterable[str] = (),
    test: Callable[[Job], bool] = lambda _: True,
) -> Choice:
    """Return the selected jobs: the named ones (also on standard input), else those of `states` that pass the filters.

    Args:
        spool: the spool with the jobs.
        chosen: the typed ids and filters.
        states: the states that filters search, unless --state names one.
        known: the states that --state accepts.
        test: a further condition for a job that filters find.

    Raises:
        WrongUsageError: neither ids nor a filter, or both; a state that is not in `known`.
    """
    if bool(chosen.ids) == chosen.is_wide:
        what = "no jobs are selected" if not chosen.ids else "ids and filters cannot be combined"
        raise WrongUsageError(what, hint="give ids, or select with --tag, --match, --since, --all ...")
    if chosen.ids:
        named = [word for item in chosen.ids for word in (sys.stdin.read().split() if item == "-" else [item])]
        return Choice(list(dict.fromkeys(named)), True)
    if chosen.state:
        state = STATE_ALIASES.get(chosen.state.lower(), chosen.state.lower())
        if state not in known:
            words = " or ".join(known)
            raise WrongUsageError(f"--state: this command does not take {chosen.state[:60]!r}", hint=f"give {words}")
        states = (state,)
    passes = _test_of(chosen)
    found: list[str] = []
    with Progress() as progress:
        of_group = chosen.of_group or ""
        for number, job in enumerate((job for state in states for job in spool.jobs(state, group=of_group)), 1):
            progress.tell(partial("read {}, {} selected".format, count_of(number, "job"), len(found)))
            if passes(job) and test(job):
                found.append(job.id)
    return Choice(found, False)


def _test_of(filters: Chosen) -> Callable[[Job], bool]:
    now_at = time.time()
    after_at = now_at - rows.duration(filters.since, "--since") if filters.since is not None else None
    before_at = now_at - rows.duration(filters.older_than, "--older-than") if filters.older_than is not None else None

    def passes(job: Job) -> bool:
        changed_at = rows.when(job) or 0.0
        return (
            (filters.tag is None or filters.tag in job.tags)
            and (filters.owner is None or filters.owner == job.owner)
            and (filters.queue is None or filters.queue == job.queue)
            and (filters.key is None or filters.key == job.key)
            and (after_at is None or changed_at >= after_at)
            and (before_at is None or changed_at < before_at)
            and (filters.exit_code is None or _last_exit_code(job) == filters.exit_code)
            and (filters.match is None or _matches(filters.match, (job.id, command_text(job.command))))
        )

    return passes


def _last_exit_code(job: Job) -> object:
    return next((event["exit_code"] for event in reversed(job.history) if "exit_code" in event), None)


def _matches(pattern: str, texts: Iterable[str]) -> bool:
    folded = pattern.lower()
    if not any(mark in folded for mark in "*?["):
        folded = f"*{folded}*"
    return any(fnmatch.fnmatchcase(text.lower(), folded) for text in texts)


def go_on(choice: Choice, chosen: Chosen, *, what: str, ask_always: bool = False) -> bool:
    """Ask for confirmation if filters selected the jobs; return whether to go on.

    Args:
        choice: the jobs.
        chosen: the typed ids and filters.
        what: the action, as in "cancel 3 jobs".
        ask_always: ask for named jobs too.

    Raises:
        WrongUsageError: there is no terminal to ask on, and --yes was not given.
    """
    if not choice.ids:
        printing.message("no jobs match")
        return False
    counted = count_of(len(choice.ids), "job")
    if chosen.dry_run:
        for job_id in choice.ids:
            printing.line(f"would {what} {safe(job_id)}" if printing.is_terminal() else job_id)
        printing.message(f"would {what} {counted}")
        return False
    if chosen.yes or (choice.named and not ask_always):
        return True
    asking.confirm(f"{what} {counted}?", hint="add --yes, or --dry-run to see which jobs")
    return True


def each(spool: Spool, choice: Choice, action: Callable[[str], tuple[str, str]], *, did: str) -> None:
    """Act on each job, also after a failure. Exit with the code of the first failure.

    `action` returns the id and the result; `did` names the result of many jobs ("cancelled"). A pipe gets the ids, a
    terminal one sentence per job, or their number if they are many.
    """
    code, done = exit_codes.OK, 0
    is_terminal = printing.is_terminal()
    says_each = len(choice.ids) <= _NAME_AT_MOST
    with Progress() as progress:
        for number, job_id in enumerate(choice.ids):
            progress.tell(partial("{} of {} jobs".format, number, len(choice.ids)))
            try:
                # Filters find whole ids. `resolve` could take a whole id for the beginning of another one.
                made_id, what = action(spool.resolve(job_id) if choice.named else job_id)
            except QueuectlError as error:
                progress.clear()
                printing.error(error)
                code = code or exit_codes.of(error)
                continue
            done += 1
            if not is_terminal:
                printing.line(made_id)
            elif says_each:
                printing.line(f"{safe(made_id)} {what}")
    if not says_each:
        printing.message(f"{did} {done} of {len(choice.ids)} jobs" if code else f"{did} all {done} jobs")
    if code:
        raise typer.Exit(code)
