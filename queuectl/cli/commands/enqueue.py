"""`queuectl enqueue`: add one job or many, from an argument, a file, standard input, or a command line after `--`.

JSON passes `document.parse`, as a dropped file does, so that both ways accept and refuse the same jobs.
"""

# No `from __future__ import annotations`: Typer would compile the text of each option's type, which takes 5 ms at each
# start.
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer._click.exceptions import NoSuchOption
from typer.core import TyperCommand

from queuectl.cli import context, group, job_options, sources
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing

if TYPE_CHECKING:
    from typer._click import Context

    from queuectl.api import Spool
    from queuectl.jobs.arguments import JobId

app = group.new_app()

WAYS = """give the job in one of these ways:
queuectl enqueue --command "echo hello"
queuectl enqueue -- python resize.py "my photo.jpg"
queuectl enqueue job.json        (a file, also with many jobs)
queuectl enqueue -               (JSON on standard input)"""
_ARGV = "queuectl.argv"
# For more jobs than this, a terminal shows their number instead of each id.
_NAME_AT_MOST = 20
# This many jobs take less than a second.
_TELL_FROM = 1000


class EnqueueCommand(TyperCommand):
    """Separates the words after `--`: they are a command line, not our options and arguments."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parse the arguments before `--`, and keep the rest in the context."""
        own = args
        if "--" in args:
            at = args.index("--")
            own, ctx.meta[_ARGV] = args[:at], args[at + 1 :]
        try:
            return super().parse_args(ctx, job_options.with_unique_key(own))
        except NoSuchOption as error:
            from queuectl.cli.usage import near_option

            near = near_option(ctx, error.option_name)
            hint = f"did you mean {near}?\n" if near else ""
            raise WrongUsageError(
                f"there is no option {error.option_name[:60]}",
                hint=f"{hint}put -- before the program to run: queuectl enqueue -- python x.py --fast\n"
                "to list the options: queuectl enqueue --help",
            ) from error

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """Add the form with `--` to the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- PROGRAM ARGUMENTS...]"]


@app.command(cls=EnqueueCommand)
def enqueue(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="JOB", show_default=False, help="JSON, a file with JSON, or - for standard input."),
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="TEXT", help="Command for the shell, as one argument.")
    ] = None,
    job_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Id of the job. Default: a new id.")] = None,
    max_retries: Annotated[int | None, typer.Option(metavar="N", help="Maximum number of retries.")] = None,
    backoff_base: Annotated[float | None, typer.Option(metavar="B", help="Delay retry n by B ** n seconds.")] = None,
    backoff_max: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest delay of a retry: 90s, 10m, 1h.")
    ] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="End an attempt after this long.")] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Priority; higher numbers run first. Default: 0.")
    ] = None,
    delay: Annotated[str | None, typer.Option(metavar="TIME", help="Delay the start by this long.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help='Earliest start: 03:15, "2026-11-24 03:15" (local time) or 2026-11-24T03:15:00Z.'
        ),
    ] = None,
    cwd: Annotated[str | None, typer.Option(metavar="FOLDER", help="Run the command in this folder.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set an environment variable (repeatable).")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="Add a tag (repeatable).")] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Owner of the job. Owners take turns.")] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="Queue of the job. Its limits are in the settings.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Do not run beside jobs of the queue with the same key.")
    ] = None,
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
        str | None, typer.Option(metavar="SIZE", help="End an attempt that prints more than this: 500K, 100M, 1G.")
    ] = None,
    minimal_env: Annotated[
        bool, typer.Option("--minimal-env", help="Pass only the most necessary environment variables.")
    ] = False,
    resource: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="Run only on a node that has this free, such as GPU=1 (repeatable)."),
    ] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Keep this text with the job (repeatable).")
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Give the command this command's standard input, at most 512 KiB of text.")
    ] = False,
    stdin_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Give the command this file as its standard input.")
    ] = None,
    give_up_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Do not retry later than this after the first attempt.")
    ] = None,
    snooze_on: Annotated[
        list[int] | None,
        typer.Option(metavar="CODE", help="Run again later, uncounted, after this code (repeatable)."),
    ] = None,
    snooze_max: Annotated[str | None, typer.Option(metavar="TIME", help="Longest unbroken row of snoozes.")] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Do not start later than this: a time from now such as 2h, or as for --at."),
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Start when this job has succeeded (repeatable).")
    ] = None,
    after_end: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Start when this job has ended, in either way (repeatable).")
    ] = None,
    after_dead: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Start when this job is dead (repeatable).")
    ] = None,
    unique: Annotated[
        str | None,
        typer.Option(
            metavar="[KEY]", help="Add nothing if a job with this key is there. Without KEY: if an equal job is."
        ),
    ] = None,
    unique_until: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Hold the unique key until the job has started, ended, or is deleted. Default: ended.",
        ),
    ] = None,
    unique_for: Annotated[
        str | None, typer.Option(metavar="TIME", help="Hold the unique key at least this long: 10m, 1d.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the job with the unique key, if that waits.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Wait also for jobs that the spool does not have yet.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Add jobs to the queue.

    \b
    Examples:
      queuectl enqueue --command "echo hello"
      queuectl enqueue -- python resize.py "my photo.jpg"
      queuectl enqueue --max-retries 5 --delay 10m -- backup.sh
      queuectl enqueue --stdin -- sort < names.txt
      queuectl enqueue job.json
      queuectl enqueue '{"id": "job1", "command": "sleep 2"}'
      other-program | queuectl enqueue -
      queuectl enqueue --after "$(queuectl enqueue -- fetch.sh)" -- report.sh
      queuectl enqueue --unique rebuild --replace --delay 10s -- make site

    Everything after -- is the program and its arguments. It starts exactly as typed, without a shell; --command uses
    the shell. Both run in the current folder, unless --cwd names another one. JSON without "cwd" runs in the folder
    where you started the workers.

    With --after the job waits for another job. If that job fails, this one is dead, too; retry brings both back.

    With --unique at most one job with the key waits. If one is there already, the command adds nothing, prints the id
    of that job, and says so. With --replace the new job takes the place of the one that waits.

    A file or standard input contains one object, an array, or one object per line. Options override the same keys in
    JSON. In a pipe, the command prints only the ids, one per line.
    """
    argv: list[str] | None = ctx.meta.get(_ARGV)
    overrides = job_options.Overrides(
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
        queue=queue,
        key=key,
        jitter=jitter,
        no_retry_on=no_retry_on or [],
        retry_on=retry_on or [],
        output_max=output_max,
        minimal_env=minimal_env,
        resource=resource or [],
        meta=meta or [],
        stdin=stdin,
        stdin_file=stdin_file,
        give_up_after=give_up_after,
        snooze_on=snooze_on or [],
        snooze_max=snooze_max,
        expires=expires,
        after=after or [],
        after_end=after_end or [],
        after_dead=after_dead or [],
        unique=unique,
        unique_until=unique_until,
        unique_for=unique_for,
        replace=replace,
    )
    if stdin and words == ["-"]:
        raise WrongUsageError("the jobs and --stdin cannot both come from standard input", hint="use --stdin-file")
    documents = sources.as_utf8(_documents(words or [], command, argv))
    if job_id is not None and len(documents) > 1:
        raise WrongUsageError(f"--id is for one job, but there are {len(documents)}", hint='put "id" into each of them')
    if typed := sources.as_utf8(job_options.typed_keys(overrides)):
        job_options.check(typed)
        documents = [job_options.applied(document, typed) for document in documents]
    spool = context.open_spool()
    ids = _put_in(spool, documents, allow_missing=allow_missing, name=_name_of(words or []))
    _warn(spool, documents)
    if as_json:
        jobs = [{"id": each, "added": each.added, **({} if each.added else {"why": each.reason})} for each in ids]
        printing.print_json({"version": 1, "jobs": jobs})
    else:
        _tell_skipped([each for each in ids if not each.added])
        _tell(ids, is_flow=any(document.get("ref") is not None for document in documents))
    if not spool.folder.has_pool_traces():
        printing.message(printing.NO_WORKERS)


def _name_of(words: list[str]) -> str:
    """Return what the ids of jobs that name each other begin with: the name of their file."""
    if not words or not _is_source(words[0]):
        return "flow"
    return os.path.splitext(os.path.basename(words[0]))[0] or "flow"


def _put_in(spool: "Spool", documents: list[dict[str, Any]], *, allow_missing: bool, name: str) -> "list[JobId]":
    """Enqueue all jobs; show the progress if they are very many."""
    if len(documents) <= _TELL_FROM:
        return spool.enqueue_documents(documents, allow_missing=allow_missing, name=name)
    from queuectl.cli.terminal.progress import Progress

    with Progress() as progress:
        return spool.enqueue_documents(
            documents,
            allow_missing=allow_missing,
            name=name,
            told=lambda what, number: progress.tell(lambda: f"{what} {number} of {len(documents)} jobs"),
        )


def _documents(words: list[str], command: str | None, argv: list[str] | None) -> list[dict[str, Any]]:
    """Return the jobs from the argument, the options or the words after `--`. Raises WrongUsageError."""
    ways = [bool(words), command is not None, argv is not None]
    if sum(ways) != 1:
        what = "there is no job to add" if not any(ways) else "the job is given in more than one way"
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
    """Return whether a word is a file, or the pipe that a shell makes from <(command)."""
    return os.path.exists(word) and not os.path.isdir(word)


def _here() -> dict[str, str]:
    folder = context.working_folder()
    if not folder:
        raise WrongUsageError("the current folder does not exist any more", hint="change to another folder: cd")
    return {"cwd": folder}


def _unclear(words: list[str]) -> WrongUsageError:
    missing = next((word for word in words if not _is_source(word)), words[0])
    if os.path.isdir(missing):
        return WrongUsageError(f"{missing} is a folder", hint="name the files in it, or copy them to pending/")
    if missing.endswith((".json", ".jsonl")):
        return WrongUsageError(f"there is no file {missing}", hint="check the name and the current folder")
    if len(words) == 1:
        return WrongUsageError(f"{missing!r} is neither JSON nor a file", hint=WAYS)
    return WrongUsageError("the arguments are neither JSON nor files", hint=WAYS)


def _warn(spool: "Spool", documents: list[dict[str, Any]]) -> None:
    """Warn about keys and queues that resemble known ones, as the job's history does, and about expired jobs."""
    from queuectl.model import job, times

    known = set(job.KNOWN_KEYS)
    seen: set[str] = set()
    for document in documents:
        if "expires_at" in document and (times.instant(str(document["expires_at"])) or math.inf) < time.time():
            printing.warning(f"expires_at: {document['expires_at']} has passed, so the job is dead without a run")
        if document.keys() <= known and "queue" not in document:
            continue
        alone = {key: value for key, value in document.items() if key not in ("ref", "after")}
        for text in job.normalise(alone, defaults=spool.settings.retry_defaults, now_at=0).warnings:
            if text not in seen:
                seen.add(text)
                printing.warning(text)


def _tell_skipped(there: "list[JobId]") -> None:
    if len(there) > _NAME_AT_MOST:
        printing.message(f"not added: {len(there)} jobs, because jobs with their unique keys are there")
        return
    for job_id in there:
        printing.message(f"not added: {job_id.reason}")


def _tell(ids: "list[JobId]", *, is_flow: bool) -> None:
    if not printing.is_terminal():
        sys.stdout.write("".join(f"{job_id}\n" for job_id in ids))
        return
    if is_flow:
        from queuectl.spool import groups

        token = groups.token_of(ids[0])
        printing.line(f"enqueued {len(ids)} jobs as group {token}; to see how far they are: show --group {token}")
        return
    added = [job_id for job_id in ids if job_id.added]
    if len(added) > _NAME_AT_MOST:
        printing.line(f"enqueued {len(added)} jobs, {added[0]} to {added[-1]}")
    else:
        for job_id in added:
            printing.line(f"enqueued {job_id}")
