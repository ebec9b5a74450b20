"""The table of commands, and the group that imports a command only when you call it.

The listing of `queuectl --help` comes from the table alone; a test compares the table with each command's own help.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from queuectl.cli import context
from queuectl.cli.exit_codes import WrongUsageError

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class Entry(NamedTuple):
    """A command: its module in `commands`, the name of the Typer in it, and its summary."""

    module: str
    app: str
    summary: str


GROUPS = {
    "Getting started": {
        "demo": Entry("demo", "app", "Watch a real queue at work in less than a minute."),
        "init": Entry("init", "app", "Create a spool."),
        "doctor": Entry("doctor", "app", "Test that the queue works on this file system."),
    },
    "Jobs": {
        "enqueue": Entry("enqueue", "app", "Add jobs to the queue."),
        "list": Entry("listing", "app", "List jobs."),
        "show": Entry("show", "app", "Show the details and history of one job."),
        "logs": Entry("logs", "app", "Print the output of a job."),
        "result": Entry("result", "app", "Print the result of a job."),
        "why": Entry("why", "app", "Explain why a job is not running and how to change that."),
        "wait": Entry("wait", "app", "Wait until jobs have ended."),
        "cancel": Entry("control", "cancel_app", "Cancel waiting or running jobs."),
        "retry": Entry("control", "retry_app", "Run dead or finished jobs again."),
        "edit": Entry("edit", "app", "Edit a waiting or dead job in your editor."),
        "hold": Entry("control", "hold_app", "Hold waiting jobs until you release them."),
        "release": Entry("control", "release_app", "Release held jobs, and jobs that wait for others."),
        "purge": Entry("control", "purge_app", "Delete finished or dead jobs permanently."),
        "sign": Entry("sign", "app", "Sign a job for an inbox that accepts only signed jobs."),
    },
    "Workers": {
        "worker": Entry("worker", "app", "Start, stop and list workers."),
        "queue": Entry("queue", "app", "Show queues and their limits."),
        "schedule": Entry("schedule", "app", "Make jobs again and again: list, add and change schedules."),
        "pause": Entry("control", "pause_app", "Pause the spool or one queue: start no more jobs."),
        "resume": Entry("control", "resume_app", "Resume a paused spool or queue."),
        "drain": Entry("edit", "drain_app", "Wait until no job is waiting or running."),
        "inbox": Entry("inbox", "app", "List inboxes and test files."),
        "service": Entry("service", "app", "Run workers as a service of the operating system."),
        "cluster": Entry("cluster", "app", "Run the commands of jobs on other machines."),
    },
    "Dead letter queue": {
        "dlq": Entry("dlq", "app", "List, retry or delete dead jobs."),
        "rejected": Entry("rejected", "app", "List, retry or delete rejected files."),
    },
    "Monitoring": {
        "status": Entry("status", "app", "Show the state of the queue and the next step."),
        "top": Entry("top", "app", "Watch the queue live and control it with single-key commands."),
        "stats": Entry("stats", "app", "Show throughput, durations and failures."),
        "history": Entry("history", "app", "Show recent events of all jobs."),
    },
    "Settings and maintenance": {
        "config": Entry("config", "app", "Show and change settings."),
        "check": Entry("check", "app", "Find and repair faults in the spool."),
        "schema": Entry("about", "schema_app", "Print the JSON Schema of a job file."),
        "completion": Entry("about", "completion_app", "Print the completion script for your shell."),
        "version": Entry("about", "version_app", "Print the version."),
    },
}
COMMANDS = {name: entry for entries in GROUPS.values() for name, entry in entries.items()}
_NAME_WIDTH = max(map(len, COMMANDS))
HELP_NAMES = {"help_option_names": ["-h", "--help"]}
SPOOL_HELP = (
    "Use the spool in this folder. Default: $QUEUECTL_SPOOL, else the nearest spool in this or a parent folder, else "
    "your own spool."
)
JSON_HELP = "Print JSON for programs."
YES_HELP = "Skip the confirmation. Required if there is no terminal to ask on."
GROUP_HELP = "Only jobs of this group: those of one file, whose ids begin with TOKEN."
DRY_RUN_HELP = "Only show what would change."
DEBUG_HELP = "Show where in the program an error occurred."


def new_app(**settings: Any) -> typer.Typer:
    """Return a Typer with plain help and our own errors that never changes a shell."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


class LazyGroup(TyperGroup):
    """Offers the commands of COMMANDS and imports a command when you call it."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Import and return a command, or None for an unknown name."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the groups of commands from the table, without importing a command."""
        for title, entries in GROUPS.items():
            with formatter.section(title):
                # All groups share one column of names.
                formatter.write_dl([(f"{name:<{_NAME_WIDTH}}", entry.summary) for name, entry in entries.items()])

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Return the command that was typed. Raises WrongUsageError with the nearest name for an unknown command."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.6)
            hint = f"did you mean queuectl {near[0]}?\n" if near else ""
            raise WrongUsageError(
                f"there is no command {name[:60]!r}", hint=f"{hint}to list the commands: queuectl --help"
            )
        return super().resolve_command(ctx, args)


def load(name: str) -> Command:
    """Return the command of this name with the options that all commands take."""
    entry = COMMANDS[name]
    command: Any = get_command(getattr(import_module(f"queuectl.cli.commands.{entry.module}"), entry.app))
    command.name = name
    command.short_help = entry.summary
    for each in command.commands.values() if isinstance(command, TyperGroup) else [command]:
        if isinstance(each, TyperCommand):
            each.params += _options_for_all()
    return command  # type: ignore[no-any-return]


def _options_for_all() -> list[TyperOption]:
    common: dict[str, Any] = {"expose_value": False, "show_default": False}
    return [
        TyperOption(param_decls=["--spool"], metavar="PATH", help=SPOOL_HELP, callback=_take_spool, **common),
        TyperOption(param_decls=["--debug"], is_flag=True, help=DEBUG_HELP, callback=_take_debug, **common),
    ]


def _take_spool(_ctx: Any, _param: Any, value: str | None) -> None:
    if value:
        context.options.spool = value


def _take_debug(_ctx: Any, _param: Any, value: bool | None) -> None:
    if value:
        context.options.debug = True
