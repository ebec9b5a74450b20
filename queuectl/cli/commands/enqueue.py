"""`queuectl enqueue`: one job or many, from an argument, a file, standard input, or a command line as it stands.

What is JSON goes through `document.parse`, as a dropped file does, so that both ways take and refuse the same.
"""

# No `from __future__ import annotations`: Typer would compile the text of each option's type, 5 ms of every start.
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from typer._click.exceptions import NoSuchOption
from typer.core import TyperCommand

from queuectl.cli import context, group, sources
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import InvalidJobError

if TYPE_CHECKING:
    from typer._click import Context

    from queuectl.api import Spool

app = group.new_app()

WAYS = """give the job in one of these ways:
queuectl enqueue --command "echo hello"
queuectl enqueue -- python resize.py "my photo.jpg"
queuectl enqueue job.json        (a file, also with many jobs)
queuectl enqueue -               (JSON on standard input)"""
_ARGV = "queuectl.argv"
# Options that are called as their keys and replace them.
_PLAIN = ("id", "max_retries", "backoff_base", "backoff_max", "timeout", "priority", "owner", "jitter", "output_max")
# Options that are called otherwise than their keys.
_OPTIONS = {
    "no_retry_exit_codes": "--no-retry-on",
    "retry_exit_codes": "--retry-on",
    "run_at": "--at",
    "tags": "--tag",
}
# Of more jobs than this a terminal shows their number instead of each id.
_NAME_AT_MOST = 20
# So many are put in within less than a second.
_TELL_FROM = 1000


class Overrides(NamedTuple):
    """What was typed as options; it wins over the same keys in JSON. None is: not typed."""

    id: str | None
    max_retries: int | None
    backoff_base: float | None
    backoff_max: str | None
    timeout: str | None
    priority: int | None
    delay: str | None
    at: str | None
    cwd: str | None
    env: list[str]
    tag: list[str]
    owner: str | None
    jitter: float | None
    no_retry_on: list[int]
    retry_on: list[int]
    output_max: str | None
    minimal_env: bool
    meta: list[str]


class EnqueueCommand(TyperCommand):
    """Keeps what follows `--` apart: it is a command line, not options and words of ours."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """See the class."""
        own = args
        if "--" in args:
            at = args.index("--")
            own, ctx.meta[_ARGV] = args[:at], args[at + 1 :]
        try:
            return super().parse_args(ctx, own)
        except NoSuchOption as error:
            from queuectl.cli.usage import near_option

            near = near_option(ctx, error.option_name)
            hint = f"did you mean {near}?\n" if near else ""
            raise WrongUsageError(
                f"there is no option {error.option_name[:60]}",
                hint=f"{hint}put -- before the command to be run: queuectl enqueue -- python x.py --fast\n"
                "queuectl enqueue --help  lists the options",
            ) from error

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """Name the form with `--` in the usage line, too."""
        return [*super().collect_usage_pieces(ctx), "[-- PROGRAM ARGUMENTS...]"]


@app.command(cls=EnqueueCommand)
def enqueue(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="JOB", show_default=False, help="JSON, a file with JSON, or -.")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="TEXT", help="A command for the shell, in one argument.")
    ] = None,
    job_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its name. Default: a new one.")] = None,
    max_retries: Annotated[int | None, typer.Option(metavar="N", help="Runs after the first one.")] = None,
    backoff_base: Annotated[float | None, typer.Option(metavar="B", help="Wait B ** n s after failure n.")] = None,
    backoff_max: Annotated[str | None, typer.Option(metavar="TIME", help="Longest such wait: 90s, 10m, 1h.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="End a run after this long.")] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="Higher runs first. Default: 0.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="Not before this long from now.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="WHEN", help='Not before: 03:15, "2026-11-24 03:15", 2026-11-24T03:15:00Z.')
    ] = None,
    cwd: Annotated[str | None, typer.Option(metavar="FOLDER", help="Run there.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable; may be repeated.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="To find it by; may be repeated.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Whose it is: owners take turns.")] = None,
    jitter: Annotated[
        float | None, typer.Option(metavar="F", help="Randomise each delay by up to this fraction.")
    ] = None,
    no_retry_on: Annotated[
        list[int] | None, typer.Option(metavar="CODE", help="Do not retry after this exit code (repeatable).")
    ] = None,
    retry_on: Annotated[
        list[int] | None, typer.Option(metavar="CODE", help="Retry only after this exit code (repeatable).")
    ] = None,
    output_max: Annotated[
        str | None, typer.Option(metavar="SIZE", help="End a run that prints more than this: 500K, 100M, 1G.")
    ] = None,
    minimal_env: Annotated[
        bool, typer.Option("--minimal-env", help="Give the command only the most necessary variables.")
    ] = False,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep this text with the job (repeatable).")
    ] = None,
) -> None:
    """Example: queuectl enqueue --command "echo hello"

    Put jobs into the queue. More examples:

    \b
    queuectl enqueue -- python resize.py "my photo.jpg"
    queuectl enqueue --max-retries 5 --delay 10m -- backup.sh
    queuectl enqueue job.json
    queuectl enqueue '{"id": "job1", "command": "sleep 2"}'
    other-program | queuectl enqueue -

    After -- stands a program with its arguments: it is started without a shell, exactly as typed. --command is for
    the shell. Both run in the folder they were typed in, unless --cwd names another one; JSON without "cwd" runs where
    the workers were started. A file or standard input may hold one object, an array, or one object a line.
    Options win over the same keys in JSON. Piped, the command prints the bare ids, one a line.
    """
    argv: list[str] | None = ctx.meta.get(_ARGV)
    overrides = Overrides(
        id=job_id,
        max_retries=max_retries,
        backoff_base=backoff_base,
        backoff_max=backoff_max,
        timeout=timeout,
        priority=priority,
        delay=delay,
        at=at,
        cwd=cwd,
        env=env or [],
        tag=tag or [],
        owner=owner,
        jitter=jitter,
        no_retry_on=no_retry_on or [],
        retry_on=retry_on or [],
        output_max=output_max,
        minimal_env=minimal_env,
        meta=meta or [],
    )
    documents = sources.as_utf8(_documents(words or [], command, argv))
    if job_id is not None and len(documents) > 1:
        raise WrongUsageError(f"--id names one job, and there are {len(documents)}", hint='put "id" into each of them')
    if typed := sources.as_utf8(_typed(overrides)):
        _check(typed)
        documents = [_apply(document, typed) for document in documents]
    spool = context.open_spool()
    ids = _put_in(spool, documents)
    _warn(spool, documents)
    _tell(ids)
    if not spool.folder.has_pool_traces():
        printing.message(printing.NO_WORKERS)


def _put_in(spool: "Spool", documents: list[dict[str, Any]]) -> list[str]:
    """Enqueue them all; of very many, say how far it is."""
    if len(documents) <= _TELL_FROM:
        return spool.enqueue_documents(documents)
    from queuectl.cli.terminal.progress import Progress

    with Progress() as progress:
        return spool.enqueue_documents(
            documents,
            told=lambda what, number: progress.tell(lambda: f"{what} {number} of {len(documents)} jobs"),
        )


def _documents(words: list[str], command: str | None, argv: list[str] | None) -> list[dict[str, Any]]:
    """Return the jobs as they were given, by whichever of the ways was used."""
    ways = [bool(words), command is not None, argv is not None]
    if sum(ways) != 1:
        what = "there is no job to put in" if not any(ways) else "the job is given in more than one way"
        raise WrongUsageError(what, hint=WAYS)
    if command is not None:
        return [{"command": command, **_here()}]
    if argv is not None:
        if not argv:
            raise WrongUsageError("there is no command after --", hint=WAYS)
        return [{"command": argv, **_here()}]
    if words == ["-"]:
        return sources.from_stdin()
    if all(_is_source(word) for word in words):
        return [document for word in words for document in sources.from_file(word)]
    if words[0].lstrip()[:1] in ("{", "["):
        return sources.from_words(words)
    raise _unclear(words)


def _is_source(word: str) -> bool:
    """True for a file, and for the pipe that a shell makes of <(command)."""
    return os.path.exists(word) and not os.path.isdir(word)


def _here() -> dict[str, str]:
    folder = context.working_folder()
    if not folder:
        raise WrongUsageError("the folder this was typed in does not exist any more", hint="cd to one that does")
    return {"cwd": folder}


def _unclear(words: list[str]) -> WrongUsageError:
    missing = next((word for word in words if not _is_source(word)), words[0])
    if os.path.isdir(missing):
        return WrongUsageError(f"{missing} is a folder", hint="name the files in it, or drop them into pending/")
    if missing.endswith((".json", ".jsonl")):
        return WrongUsageError(f"there is no file {missing}", hint="see the name and the folder you are in")
    if len(words) == 1:
        return WrongUsageError(f"{missing!r} is neither JSON nor a file", hint=WAYS)
    return WrongUsageError("several words that are neither JSON nor files", hint=WAYS)


def _typed(given: Overrides) -> dict[str, Any]:
    """Return what was typed as options, as keys of a job."""
    made: dict[str, Any] = {key: value for key in _PLAIN if (value := getattr(given, key)) is not None}
    if given.no_retry_on:
        made["no_retry_exit_codes"] = given.no_retry_on
    if given.retry_on:
        made["retry_exit_codes"] = given.retry_on
    if given.minimal_env:
        made["minimal_env"] = True
    if given.delay is not None and given.at is not None:
        raise WrongUsageError("--delay and --at are both given; which one counts?", hint="leave one out")
    if given.delay is not None:
        made["delay"] = given.delay
    if given.at is not None:
        made["run_at"] = sources.instant(given.at)
    if given.cwd is not None:
        made["cwd"] = os.path.abspath(given.cwd)
        if not os.path.isdir(made["cwd"]):
            printing.warning(f"there is no folder {made['cwd']} now; the job fails unless there is one when it runs")
    if given.env:
        made["env"] = dict(map(sources.pair, given.env))
    if given.meta:
        made["meta"] = dict(sources.pair(text, "--meta") for text in given.meta)
    if given.tag:
        made["tags"] = given.tag
    return made


def _check(typed: dict[str, Any]) -> None:
    """Raise WrongUsageError for options with values that cannot be: not the job is wrong then, but the command line."""
    from queuectl.model import job

    try:
        job.normalise({"command": "true", **typed}, defaults=job.RetryDefaults(0, 0, 0, 0), now_at=0)
    except InvalidJobError as error:
        texts = tuple(map(_as_option, error.mistakes or (str(error),)))
        hint = "queuectl enqueue --help  lists the options"
        raise WrongUsageError("; ".join(texts), hint=hint, mistakes=texts) from error


def _as_option(text: str) -> str:
    """Return what is wrong with a key, said of the option that was typed."""
    for key in ("retry_exit_codes", "no_retry_exit_codes"):
        if text.startswith(f"{key} and "):
            return "--retry-on and --no-retry-on are both given; which one counts?"
    key = text.partition(":")[0].partition(".")[0].partition("[")[0]
    return f"{_OPTIONS.get(key, '--' + key.replace('_', '-'))}{text[len(key) :]}"


def _apply(document: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """Return the document with what was typed as options."""
    made = dict(document)
    if "delay" in typed or "run_at" in typed:
        made.pop("delay", None)
        made.pop("run_at", None)
    for key, value in typed.items():
        before = made.get(key)
        if key in ("env", "meta"):
            made[key] = {**(before if isinstance(before, dict) else {}), **value}
        elif key == "tags":
            made[key] = list(dict.fromkeys([*(before if isinstance(before, list) else []), *value]))
        else:
            made[key] = value
    return made


def _warn(spool: "Spool", documents: list[dict[str, Any]]) -> None:
    """Name keys that look like known ones written wrong; the record's history says the same."""
    from queuectl.model import job

    known = set(job.KNOWN_KEYS)
    seen: set[str] = set()
    for document in documents:
        if document.keys() <= known:
            continue
        for text in job.normalise(document, defaults=spool.settings.retry_defaults, now_at=0).warnings:
            if text not in seen:
                seen.add(text)
                printing.warning(text)


def _tell(ids: list[str]) -> None:
    if not printing.is_terminal():
        sys.stdout.write("".join(f"{job_id}\n" for job_id in ids))
    elif len(ids) > _NAME_AT_MOST:
        printing.line(f"enqueued {len(ids)} jobs, {ids[0]} to {ids[-1]}")
    else:
        for job_id in ids:
            printing.line(f"enqueued {job_id}")
