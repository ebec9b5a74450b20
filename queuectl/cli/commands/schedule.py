"""`queuectl schedule`: list, add, change and run the schedules of a spool."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from queuectl.cli import completion, context, group, sources
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import ago, count_of, line, paint, safe
from queuectl.errors import InvalidJobError, QueuectlError
from queuectl.model import times
from queuectl.model.text import command_text
from queuectl.monitor import live

if TYPE_CHECKING:
    from typer._click import Context

    from queuectl.api import Spool
    from queuectl.monitor.schedules import ScheduleInfo

app = group.new_app(
    no_args_is_help=True,
    help="Make jobs again and again: list, add and change schedules.\n\nExample: queuectl schedule list\n\n"
    "A schedule is a file in schedules/: a job, and when it is made. Workers make the jobs.",
)

_HEADERS = ("SCHEDULE", "WHEN", "LAST", "NEXT", "STATE")
_ARGV = "queuectl.argv"
_TICKS = 3
_TICKS_MOST = 1000
# Options with the names of their keys.
_PLAIN: tuple[str, ...] = ("cron", "every", "offset", "zone", "spread", "catch_up", "overlap", "max_retries", "timeout")
_PLAIN += ("priority", "owner", "queue", "key", "expires_after")
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, help="Name of the schedule.", autocompletion=completion.schedules()
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help=group.JSON_HELP)]


@app.command("list", short_help="List all schedules.")
def list_(as_json: AsJson = False) -> None:
    """List all schedules.

    Example: queuectl schedule list

    It shows when each schedule last made a job and when it makes the next one, in local time. In a pipe, the columns
    are separated by tabs, and the times are UTC.
    """
    spool = context.open_anyway()
    found = spool.schedules()
    if as_json:
        printing.print_json({"version": 1, "schedules": [_as_json(each) for each in found]})
        return
    printing.table(_HEADERS, [_row(each) for each in found])
    if any(each.next_at is not None for each in found):
        _warn_without_pool(spool)


@app.command(short_help="Show one schedule.")
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one schedule.

    Example: queuectl schedule show nightly

    It shows the keys of the schedule, its last and next ticks in local time and UTC, and what is wrong with its file.
    """
    spool = context.open_anyway()
    found = spool.schedule(name)
    if as_json:
        printing.print_json({"version": 1, **_as_json(found)})
        return
    line(paint(f"schedule {safe(found.name)}", "bold"))
    line(f"  file      {safe(os.path.relpath(found.path, spool.path))}")
    if found.why:
        line(f"  {paint('mistake', 'red')}   {safe(found.why)}")
        if found.hint:
            line(f"  to do     {safe(found.hint)}")
    if found.schedule is not None:
        line(f"  when      {safe(_words(found))}")
        line(f"  command   {safe(command_text(found.command))}")
        line(f"  catch up  {found.catch_up}")
        line(f"  overlap   {found.overlap}")
        if found.spread_s:
            line(f"  spread    {times.format_duration(found.spread_s)}")
        for key, value in found.schedule.job.items():
            if key != "command":
                line(f"  {safe(key):<9} {safe(str(value))}")
    if found.is_paused:
        line(f"  {paint('paused', 'yellow')}    to resume: queuectl schedule resume {safe(found.name)}")
    if found.last_at is not None:
        line(f"  last      {_both(found.last_at)}")
    if found.next_at is not None:
        for number, tick_at in enumerate([found.next_at, *found.ticks(_TICKS - 1, after_at=found.next_at)]):
            line(f"  {'next' if not number else '':<9} {_both(tick_at)}")
    if found.skipped:
        line(f"  skipped   {count_of(found.skipped, 'tick')}, because the last job had not ended")
    if found.next_at is not None:
        _warn_without_pool(spool)


@app.command("next", short_help="Print the next ticks of a schedule.")
def next_(
    name: Name,
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", min=1, max=_TICKS_MOST, help="How many.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Print the next ticks of a schedule.

    Example: queuectl schedule next nightly -n 10

    Each line has the local time and UTC. A paused schedule has ticks here too: those that it would have.
    """
    found = context.open_anyway().schedule(name)
    if found.why:
        raise InvalidJobError(f"{name}: {found.why}", hint=found.hint)
    ticks = found.ticks(count, after_at=time.time())
    if as_json:
        printing.print_json({"version": 1, "ticks": [times.to_text(tick_at) for tick_at in ticks]})
        return
    for tick_at in ticks:
        line(_both(tick_at))


class AddCommand(TyperCommand):
    """Separates the words after `--`: they are a command line, not our options and arguments."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments before `--`, and keep the rest in the context."""
        own = args
        if "--" in args:
            at = args.index("--")
            own, ctx.meta[_ARGV] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Add the form with `--` to the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- PROGRAM ARGUMENTS...]"]


@app.command(cls=AddCommand, short_help="Add a schedule.")
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Name of the schedule.")],
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", show_default=False, help="File with a job or a schedule in JSON."),
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="TEXT", help='When, as cron: "0 2 * * *", "*/15 8-18 * * MON-FRI", @daily.')
    ] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="At each multiple of this: 30s, 15m, 6h.")] = None,
    offset: Annotated[str | None, typer.Option(metavar="TIME", help="With --every: move all ticks by this.")] = None,
    zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Time zone of --cron. Default: the machine's, written out.")
    ] = None,
    spread: Annotated[
        str | None, typer.Option(metavar="TIME", help="Put each job off by a part of this, always the same.")
    ] = None,
    catch_up: Annotated[
        str | None,
        typer.Option(metavar="one|none|all", help="Jobs for ticks that passed without workers. Default: one."),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(metavar="skip|wait|allow", help="A tick while the last job has not ended. Default: skip."),
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="TEXT", help="Command for the shell, as one argument.")
    ] = None,
    max_retries: Annotated[int | None, typer.Option(metavar="N", help="Maximum number of retries of a job.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="End an attempt after this long.")] = None,
    expires_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start no attempt later than this after the tick.")
    ] = None,
    priority: Annotated[int | None, typer.Option(metavar="N", help="Priority of the jobs.")] = None,
    cwd: Annotated[str | None, typer.Option(metavar="FOLDER", help="Run the command in this folder.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set an environment variable (repeatable).")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="Add a tag (repeatable).")] = None,
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Owner of the jobs.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="NAME", help="Queue of the jobs.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Do not run beside jobs of the queue with the same key.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the schedule with this name.")] = False,
) -> None:
    """Add a schedule.

    \b
    Examples:
      queuectl schedule add nightly --cron "0 2 * * *" -- backup.sh /home
      queuectl schedule add poll --every 15m --command "curl -fsS example.org | grep -q ok"
      queuectl schedule add report report.json --cron "0 6 L * *" --zone Europe/Berlin

    Everything after -- is the program and its arguments, as for `queuectl enqueue`; the command runs in the current
    folder unless --cwd names another one. FILE holds the other keys of the job; options replace them. The schedule is
    the file schedules/NAME.json, which you may edit and delete. Its jobs have the ids NAME-TICK.
    """
    given = locals()
    keys: dict[str, Any] = {} if file is None else _from_file(file)
    typed = {each: given[each] for each in _PLAIN if given[each] is not None}
    for one, other in (("cron", "every"), ("every", "cron")):
        if one in typed and other not in typed:
            for each in (other, "offset") if one == "cron" else (other, "zone"):
                keys.pop(each, None)
    keys |= typed
    if tag:
        keys["tags"] = tag
    if env:
        keys["env"] = dict(map(sources.pair, env))
    argv = ctx.meta.get(_ARGV)
    if argv is not None and command is not None:
        raise WrongUsageError("--command and a program after -- cannot be combined", hint="remove one of them")
    if argv or command is not None:
        keys["command"] = argv or command
        keys.setdefault("cwd", context.working_folder())
    if cwd is not None:
        keys["cwd"] = os.path.abspath(cwd)
    if "command" not in keys:
        raise WrongUsageError("there is no command", hint=f"queuectl schedule add {name} --every 15m -- PROGRAM")
    from queuectl.jobs import schedule_edit

    spool = context.open_spool()
    made = schedule_edit.add(spool.session, name, keys, replace=replace)
    for text in made.warnings:
        printing.warning(text)
    found = spool.schedule(name)
    at = "" if found.next_at is None else f"; its next job is at {_both(found.next_at)}"
    printing.message(f"schedule {safe(name)} is in schedules/{at}")
    _warn_without_pool(spool)


@app.command(short_help="Delete a schedule.")
def remove(name: Name) -> None:
    """Delete a schedule.

    Example: queuectl schedule remove nightly

    This deletes its file. Jobs that it has made stay as they are.
    """
    context.open_anyway().remove_schedule(name)
    printing.message(f"schedule {safe(name)} is deleted")


@app.command(short_help="Make a job of a schedule now.")
def run(name: Name) -> None:
    """Make a job of a schedule now.

    Example: queuectl schedule run nightly

    The ticks stay as they are. Unless the schedule has "overlap": "allow", this adds nothing while a job of the
    schedule waits or runs, and prints the id of that job.
    """
    spool = context.open_spool()
    made = spool.run_schedule(name)
    line(safe(made))
    if not made.added:
        printing.message(f"nothing was added: {safe(made.reason)}")
    elif not live.rows(spool.folder, time.time()):
        printing.message(printing.NO_WORKERS)


@app.command(short_help="Pause a schedule: make no more jobs.")
def pause(name: Name) -> None:
    """Pause a schedule: make no more jobs.

    Example: queuectl schedule pause nightly

    Its file gets the name NAME,hold.json. Jobs that it has made run. Ticks during a pause are not caught up.
    """
    if not context.open_anyway().pause_schedule(name):
        raise QueuectlError(f"schedule {name!r} is paused already", hint=f"queuectl schedule resume {name}")
    printing.message(f"schedule {safe(name)} is paused; to resume: queuectl schedule resume {safe(name)}")


@app.command(short_help="Resume a paused schedule.")
def resume(name: Name) -> None:
    """Resume a paused schedule.

    Example: queuectl schedule resume nightly
    """
    spool = context.open_anyway()
    if not spool.resume_schedule(name):
        raise QueuectlError(f"schedule {name!r} is not paused")
    found = spool.schedule(name)
    at = "" if found.next_at is None else f"; its next job is at {_both(found.next_at)}"
    printing.message(f"schedule {safe(name)} makes jobs again{at}")


# ---------------------------------------------------------------------------------------------------------- the words


def _from_file(path: str) -> dict[str, Any]:
    found = sources.from_file(path)
    if len(found) != 1:
        raise InvalidJobError(f"{path} has {len(found)} jobs, and a schedule has one", hint="write a file per schedule")
    return found[0]


def _warn_without_pool(spool: Spool) -> None:
    if not live.rows(spool.folder, time.time()):
        printing.message(f"no jobs are made now: {printing.NO_WORKERS}")


def _row(found: ScheduleInfo) -> tuple[str, ...]:
    last = "-" if found.last_at is None else _when(found.last_at)
    next_ = "-" if found.next_at is None else _when(found.next_at)
    return found.name, _words(found), last, next_, _state(found)


def _state(found: ScheduleInfo) -> str:
    if found.why:
        return f"makes no jobs: {found.why}"
    skipped = f"{count_of(found.skipped, 'tick')} skipped" if found.skipped else ""
    return "paused" if found.is_paused else skipped


def _when(instant_at: float) -> str:
    return ago(instant_at, time.time()) if printing.is_terminal() else times.to_text(instant_at)


def _words(found: ScheduleInfo) -> str:
    """Return the expression: in words on a terminal."""
    from queuectl.model.timetable import Cron

    if found.schedule is None or not isinstance(found.schedule.timetable, Cron):
        return found.when or "-"
    return f"{found.schedule.timetable.explain()} ({found.zone})" if printing.is_terminal() else found.when


def _both(instant_at: float) -> str:
    """Return an instant in local time and in UTC."""
    local = time.strftime("%a %Y-%m-%d %H:%M:%S", time.localtime(instant_at))
    return f"{local} ({times.to_text(instant_at)[:19]}Z)"


def _as_json(found: ScheduleInfo) -> dict[str, Any]:
    return {
        "schedule": found.name,
        "path": found.path,
        "is_paused": found.is_paused,
        "when": found.when,
        "zone": found.zone,
        "catch_up": found.catch_up,
        "overlap": found.overlap,
        "spread_s": found.spread_s,
        "last_at": None if found.last_at is None else times.to_text(found.last_at),
        "next_at": None if found.next_at is None else times.to_text(found.next_at),
        "skipped": found.skipped,
        "why": found.why,
        "hint": found.hint,
        "job": None if found.schedule is None else found.schedule.job,
    }
