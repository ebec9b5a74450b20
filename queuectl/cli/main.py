"""The program: the options of every command, and mistakes in the words of a command."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from typer._click.exceptions import UsageError
from typer.main import get_command

from queuectl import __version__
from queuectl.cli import context, exit_codes, failure, group
from queuectl.cli.terminal import printing

app = group.new_app(cls=group.LazyGroup, no_args_is_help=True, context_settings=group.HELP_NAMES)


def _print_version(wanted: bool) -> None:
    if wanted:
        printing.line(f"queuectl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    spool: Annotated[str, typer.Option(metavar="PATH", help=group.SPOOL_HELP)] = "",
    debug: Annotated[bool, typer.Option("--debug", help=group.DEBUG_HELP)] = False,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Run background jobs from a queue that is a folder.

    Example: queuectl demo

    Add a job with `queuectl enqueue`, or copy a JSON file to pending/ in the folder. `queuectl worker start` runs the
    waiting jobs. `queuectl COMMAND --help` explains a command.
    """
    if spool:
        context.options.spool = spool
    if debug:
        context.options.debug = True


def main(args: list[str]) -> int:
    """Run a command and return its exit code. Print errors instead of raising them, except for bugs."""
    context.reset()
    if context.COMPLETION_VARIABLE in os.environ:
        from queuectl.cli import completion

        completion.prepare()
    return failure.code_of(lambda: _run(args))


def _run(args: list[str]) -> object:
    try:
        result = get_command(app).main(args=args, prog_name="queuectl", standalone_mode=False)
    except UsageError as error:
        _show_usage_error(error)
        return exit_codes.USAGE
    except typer.Abort:
        raise KeyboardInterrupt from None
    if result == exit_codes.INTERRUPTED:
        printing.message("interrupted")
    return result


def _show_usage_error(error: UsageError) -> None:
    from typer._click.exceptions import NoArgsIsHelpError

    if isinstance(error, NoArgsIsHelpError):
        printing.exact_message(error.format_message())
        return
    from queuectl.cli import usage

    printing.error(usage.in_words(error))
