"""The table of commands, and the group that imports a command only when it is called.

A help listing comes from the table alone; a test compares the table with the commands' own help.
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
    """A command: its module in `commands`, the name of the Typer in it, and what it does in a line."""

    module: str
    app: str
    summary: str


COMMANDS = {
    "enqueue": Entry("enqueue", "app", "Put jobs into the queue."),
    "worker": Entry("worker", "app", "Start, stop and list the workers that run jobs."),
    "status": Entry("status", "app", "Say how the queue is doing and what to do next."),
    "top": Entry("top", "app", "Watch the queue live, and act on it by single keys."),
    "list": Entry("listing", "app", "List jobs."),
    "show": Entry("show", "app", "Tell the story of one job."),
    "logs": Entry("logs", "app", "Print what a job printed."),
    "cancel": Entry("control", "cancel_app", "End jobs that wait or run, for good."),
    "retry": Entry("control", "retry_app", "Run dead or finished jobs again."),
    "purge": Entry("control", "purge_app", "Delete finished or dead jobs for good."),
    "hold": Entry("control", "hold_app", "Keep waiting jobs from being run, until `release`."),
    "release": Entry("control", "release_app", "Let jobs be run that are held."),
    "pause": Entry("control", "pause_app", "Start nothing new until `resume`."),
    "resume": Entry("control", "resume_app", "Go on after `pause`."),
    "edit": Entry("edit", "app", "Change a job that waits or is dead, in your editor."),
    "drain": Entry("edit", "drain_app", "Wait until nothing waits and nothing runs."),
    "why": Entry("why", "app", "Say why a job is not running, and what changes that."),
    "wait": Entry("wait", "app", "Wait until jobs have ended."),
    "stats": Entry("stats", "app", "Say how much was done, how long it took, and what failed."),
    "history": Entry("history", "app", "List what happened lately, over all jobs."),
    "dlq": Entry("dlq", "app", "See, retry or delete the jobs that are dead."),
    "rejected": Entry("rejected", "app", "See, retry or delete the files that could not become jobs."),
    "check": Entry("check", "app", "Find what is wrong in the spool, and put it right."),
    "config": Entry("config", "app", "Read and change the settings of the queue."),
    "sign": Entry("sign", "app", "Sign a job for an inbox that takes only signed ones."),
    "init": Entry("init", "app", "Make a spool: the folder that is the queue."),
    "doctor": Entry("doctor", "app", "Prove on this very spool that the queue works here."),
    "service": Entry("service", "app", "Let the system start the workers by itself."),
    "demo": Entry("demo", "app", "Watch a real queue at work, in less than a minute."),
    "schema": Entry("about", "schema_app", "Print the JSON Schema of a job file, for editors."),
    "completion": Entry("about", "completion_app", "Print the script that completes commands in your shell."),
    "version": Entry("about", "version_app", "Print the version."),
}
HELP_NAMES = {"help_option_names": ["-h", "--help"]}
SPOOL_HELP = "The queue's folder. Default: $QUEUECTL_SPOOL, else the nearest spool upward from here, else your own."
DEBUG_HELP = "Show where in the program an error came from."


def new_app(**settings: Any) -> typer.Typer:
    """Return a Typer as all of ours are: plain help, our own errors, no change to anybody's shell."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


class LazyGroup(TyperGroup):
    """The commands of COMMANDS, imported when called."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Import one command; None if there is none of this name."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The listing in the help: from the table, nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that was typed; a wrong one is told what is near it."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.6)
            hint = f"did you mean queuectl {near[0]}?\n" if near else ""
            raise WrongUsageError(
                f"there is no command {name[:60]!r}", hint=f"{hint}queuectl --help  lists the commands"
            )
        return super().resolve_command(ctx, args)


def load(name: str) -> Command:
    """Return the command of this name, ready to be called, with the options that all commands take."""
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
