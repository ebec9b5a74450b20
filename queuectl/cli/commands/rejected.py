"""`queuectl rejected`: list, explain, retry or delete the files that could not become jobs."""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Callable
from typing import Annotated, NamedTuple

import typer

from queuectl.api import Spool
from queuectl.cli import context, exit_codes, group, rows
from queuectl.cli.commands import listing
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import asking, printing
from queuectl.cli.terminal.printing import count_of, safe
from queuectl.errors import QueuectlError
from queuectl.maintenance import refusals
from queuectl.system import files

app = group.new_app(
    no_args_is_help=True,
    help="List, retry or delete rejected files.\n\nExample: queuectl rejected list\n\n"
    "A rejected file could not become a job. Rejected files are in the folder rejected/; those of an inbox stay in the "
    "inbox.",
)

_SHOWN_BYTES = 4096

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", show_default=False, help="Names of files; - reads names from standard input."),
]
All = Annotated[bool, typer.Option("--all", help="All files in rejected/.")]
Older = Annotated[str | None, typer.Option(metavar="TIME", help="Only files rejected longer ago than this: 12h, 30d.")]
Match = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only files whose name contains this; * and ? are wildcards.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help=group.DRY_RUN_HELP)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=group.YES_HELP)]


@app.command("list", short_help="List the rejected files, newest first.")
def list_(
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show at most this many files; 0 means all.")
    ] = listing.LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """List the rejected files, newest first.

    Example: queuectl rejected list

    Each file has its reason. The list includes files of inboxes, as far as the workers have published them. In a pipe,
    the columns are file, state, time in UTC, reason and the owner of the inbox.
    """
    listing.show_rejected(context.open_anyway(), limit, as_json=as_json)


@app.command(short_help="Show why a file was rejected.")
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="FILE", show_default=False, help="Name of the file; its first characters are enough."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Show why a file was rejected.

    Example: queuectl rejected show bad.json

    It prints the reason, what to do, and the beginning of the file.
    """
    spool = context.open_anyway()
    found = refusals.find(spool, name)
    if as_json:
        printing.print_json({"version": 1, **listing.rejected_as_json(found)})
        return
    text = refusals.text(spool, found) or f"{found.name} was rejected: {found.why or 'its .txt file says why'}\n"
    for each in text.rstrip("\n").split("\n"):
        printing.line(safe(each))
    printing.line()
    printing.line(f"file   {safe(found.path)}")
    if not found.inbox:  # an inbox may hang, so it is not opened
        _print_head(found.path)


def _print_head(path: str) -> None:
    try:
        data = files.read_head(path, _SHOWN_BYTES + 1)
    except OSError as error:
        printing.message(f"the file is unreadable: {error.strerror or error}")
        return
    for each in data[:_SHOWN_BYTES].decode("utf-8", "replace").split("\n"):
        printing.line(f"    {safe(each)}".rstrip())
    if len(data) > _SHOWN_BYTES:
        printing.message(f"... only the first {_SHOWN_BYTES} bytes are shown")


@app.command(short_help="Move rejected files back to pending/.")
def retry(names: Names = None, everything: All = False, match: Match = None, dry_run: DryRun = False) -> None:
    """Move rejected files back to pending/.

    \b
    Examples:
      queuectl rejected retry bad.json
      queuectl rejected retry --all

    Correct the files first. A file that is still not a valid job stays, and the command says why. Workers move a
    corrected file back automatically. In a pipe, the command prints only the names.
    """
    spool = context.open_spool()
    chosen = _choose(spool, names, _Filters(everything, match))
    if not _go_on(chosen, dry_run=dry_run, yes=True, what="retry"):
        return
    _each(chosen, lambda name: refusals.retry(spool, name), "is in pending/ again")


@app.command(short_help="Delete rejected files and their reasons permanently.")
def purge(
    names: Names = None,
    everything: All = False,
    match: Match = None,
    older_than: Older = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete rejected files and their reasons permanently.

    \b
    Examples:
      queuectl rejected purge --older-than 30d
      queuectl rejected purge bad.json --yes
      queuectl rejected purge --all --dry-run

    The setting keep_rejected deletes old files automatically. The command asks for confirmation; in a script, add
    --yes.
    """
    spool = context.open_anyway()
    chosen = _choose(spool, names, _Filters(everything, match, older_than))
    if not _go_on(chosen, dry_run=dry_run, yes=yes, what="delete"):
        return
    _each(chosen, lambda name: refusals.purge(spool, name), "is deleted")


class _Filters(NamedTuple):
    """The filters that select files without names."""

    everything: bool
    match: str | None
    older_than: str | None = None


def _choose(spool: Spool, names: list[str] | None, filters: _Filters) -> list[str]:
    """Return the names of the selected files. Raises WrongUsageError, UnknownFileError."""
    everything, match, older_than = filters
    is_wide = everything or match is not None or older_than is not None
    if bool(names) == is_wide:
        what = "no files are selected" if not names else "names and filters cannot be combined"
        raise WrongUsageError(what, hint="name the files, or select with --all, --match ...")
    if names:
        typed = [word for name in names for word in (sys.stdin.read().split("\n") if name == "-" else [name]) if word]
        return list(dict.fromkeys(typed))
    before_at = None if older_than is None else time.time() - rows.duration(older_than, "--older-than")
    pattern = (match or "*").lower()
    if not any(mark in pattern for mark in "*?["):
        pattern = f"*{pattern}*"
    return [
        each.name
        for each in refusals.listed(spool, 0)[0]
        if not each.inbox
        and fnmatch.fnmatchcase(each.name.lower(), pattern)
        and (before_at is None or (each.rejected_at is not None and each.rejected_at < before_at))
    ]


def _go_on(chosen: list[str], *, dry_run: bool, yes: bool, what: str) -> bool:
    """Ask for confirmation and return whether to go on. Raises WrongUsageError without a terminal to ask on."""
    if not chosen:
        printing.message("no files match")
        return False
    if dry_run:
        for name in chosen:
            printing.line(f"would {what} {safe(name)}" if printing.is_terminal() else safe(name))
        return False
    if yes:
        return True
    asking.confirm(f"{what} {count_of(len(chosen), 'file')}?", hint="add --yes, or --dry-run to see which files")
    return True


def _each(chosen: list[str], action: Callable[[str], str], says: str) -> None:
    """Act on each file, also after a failure. Exit with the code of the first failure."""
    code = exit_codes.OK
    for name in chosen:
        try:
            done = action(name)
        except QueuectlError as error:
            printing.error(error)
            code = code or exit_codes.of(error)
        else:
            printing.line(f"{safe(done)} {says}" if printing.is_terminal() else safe(done))
    if code:
        raise typer.Exit(code)
