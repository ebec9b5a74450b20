"""Which jobs a command is for: ids, ids on standard input, or filters; and what is done to each of them.

Used by the commands that change jobs. Filters open every file of the states they look in.
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
from queuectl.cli import completion, exit_codes, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import count_of, safe
from queuectl.cli.terminal.progress import Progress
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import STATE_ALIASES
from queuectl.model.text import command_text
from queuectl.spool.lookup import Job

_IDS_HELP = "The jobs; the beginning of an id is enough. - reads them from stdin."
_FILTERS: dict[str, Any] = {
    "tag": Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Only jobs with this tag.", autocompletion=completion.tags()),
    ],
    "owner": Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only jobs of this owner.", autocompletion=completion.owners()),
    ],
    "since": Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that last changed within: 30m, 12h, 7d.")
    ],
    "older_than": Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that last changed before: 12h, 30d.")
    ],
    "exit_code": Annotated[
        int | None, typer.Option(metavar="N", help="Only jobs whose last run ended with this exit code.")
    ],
    "match": Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only jobs whose id or command holds this; * and ? as in file names."),
    ],
}
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed for filters where nobody can be asked.")]
# On a terminal so many jobs are named; of more, their number is shown.
_NAME_AT_MOST = 20


class Chosen(NamedTuple):
    """What was typed to say which jobs are meant; None and "" are no matter."""

    ids: list[str] | None = None
    everything: bool = False
    state: str = ""
    tag: str | None = None
    owner: str | None = None
    since: str | None = None
    older_than: str | None = None
    exit_code: int | None = None
    match: str | None = None
    dry_run: bool = False
    yes: bool = False

    @property
    def is_wide(self) -> bool:
        """True where they are chosen by what they are, and not by their names."""
        filters = (self.tag, self.owner, self.since, self.older_than, self.exit_code, self.match)
        return self.everything or bool(self.state) or any(value is not None for value in filters)


def chooses(
    every: str, *, of: tuple[str, ...], held: bool | None = None, states: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that choose jobs: they are the same for all that change some.

    The command gets them as its first argument, a `Chosen`; its own options follow.

    Args:
        every: which jobs --all means, for its help.
        of: the states whose jobs the command can act on: a shell offers their ids.
        held: whether those in pending/ are to be held, or not to be; None for both.
        states: the help of --state; "" for a command that knows only one.
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
        # What Typer makes the options from: the argument, the command's own options, and these.
        call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [made[0], *(each.replace(kind=kind) for each in own), *made[1:]]
        )
        call.__annotations__ = {}
        return call

    return wrap


class Choice(NamedTuple):
    """The jobs that a command is for; `named` says that their ids were typed."""

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
    """Return the jobs that are meant: those that were named (or came on stdin), else those of `states` that pass.

    Args:
        spool: where they are.
        chosen: what was typed.
        states: where filters look, unless --state says where.
        known: the states that --state takes.
        test: what a job that filters find has to pass besides.

    Raises:
        WrongUsageError: neither ids nor a filter, or both; a state that is none of `known`.
    """
    if bool(chosen.ids) == chosen.is_wide:
        what = "which jobs?" if not chosen.ids else "ids and filters are both given; which counts?"
        raise WrongUsageError(what, hint="name their ids, or choose with --tag, --match, --since, --all ...")
    if chosen.ids:
        named = [word for item in chosen.ids for word in (sys.stdin.read().split() if item == "-" else [item])]
        return Choice(list(dict.fromkeys(named)), True)
    if chosen.state:
        state = STATE_ALIASES.get(chosen.state.lower(), chosen.state.lower())
        if state not in known:
            words = " or ".join(known)
            raise WrongUsageError(f"--state: {chosen.state[:60]!r} is not for this command", hint=f"it takes {words}")
        states = (state,)
    passes = _test_of(chosen)
    found: list[str] = []
    with Progress() as progress:
        for number, job in enumerate((job for state in states for job in spool.jobs(state)), 1):
            progress.tell(partial("looked at {}, {} of them meant".format, count_of(number, "job"), len(found)))
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
    """Say how many jobs it is for and ask, where filters chose them; False if nothing is to be done.

    Args:
        choice: the jobs.
        chosen: what was typed.
        what: what is to be done, as in "cancel 3 jobs".
        ask_always: ask for named jobs too.

    Raises:
        WrongUsageError: nobody can be asked, and --yes was not given.
    """
    if not choice.ids:
        printing.message("no such jobs")
        return False
    counted = count_of(len(choice.ids), "job")
    if chosen.dry_run:
        for job_id in choice.ids:
            printing.line(f"would {what} {safe(job_id)}" if printing.is_terminal() else job_id)
        printing.message(f"would {what} {counted}")
        return False
    if chosen.yes or (choice.named and not ask_always):
        return True
    question = f"{what} {counted}?"
    if not printing.is_interactive():
        raise WrongUsageError(f"nobody can be asked: {question}", hint="add --yes, or --dry-run to see which")
    if not typer.confirm(question, err=True):
        raise typer.Exit(exit_codes.FAILURE)
    return True


def each(spool: Spool, choice: Choice, action: Callable[[str], tuple[str, str]], *, did: str) -> None:
    """Do it for each of them; one that fails does not keep the others from it. Ends with the first failure's code.

    `action` returns the id and what became of it; `did` says it of many jobs ("cancelled"). A pipe gets the ids; a
    terminal a sentence each, of many their number.
    """
    code, done = exit_codes.OK, 0
    is_terminal = printing.is_terminal()
    says_each = len(choice.ids) <= _NAME_AT_MOST
    with Progress() as progress:
        for number, job_id in enumerate(choice.ids):
            progress.tell(partial("{} of {} jobs".format, number, len(choice.ids)))
            try:
                # What filters found is an id as a whole: as a beginning it could mean another job.
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
        printing.message(f"{done} of {len(choice.ids)} jobs are {did}" if code else f"all {done} jobs are {did}")
    if code:
        raise typer.Exit(code)
