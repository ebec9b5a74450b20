"""`queuectl rejected`: the files that could not become jobs, why, a second try for them, or their end."""

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
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import count_of, safe
from queuectl.errors import QueuectlError
from queuectl.maintenance import refusals
from queuectl.system import files

app = group.new_app(
    no_args_is_help=True,
    help="Example: queuectl rejected list\n\nSee, retry or delete the files that could not become jobs. They are in "
    "the folder rejected/; those of an inbox stay in the inbox.",
)

_SHOWN_BYTES = 4096

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", show_default=False, help="The files, by name; - reads names from stdin."),
]
All = Annotated[bool, typer.Option("--all", help="Every file in rejected/.")]
Older = Annotated[str | None, typer.Option(metavar="TIME", help="Only files rejected before: 12h, 30d.")]
Match = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only files whose name holds this; * and ? as in file names.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list", short_help="List the rejected files, newest first.")
def list_(
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="At most this many; 0 is all.")] = listing.LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Example: queuectl rejected list

    List the rejected files, newest first, each with the reason. Those of inboxes are among them, as far as the
    workers have published them. Piped, the columns are file, state, time in UTC, reason and the owner of the inbox.
    """
    listing.show_rejected(context.open_anyway(), limit, as_json=as_json)


@app.command(short_help="Explain why a file was rejected, and show it.")
def show(
    name: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="Its name, or the beginning of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Example: queuectl rejected show bad.json

    Explain why a file was rejected, and show it. Shown are the reason, what to do, and the first lines of the file.
    """
    spool = context.open_anyway()
    found = refusals.find(spool, name)
    if as_json:
        printing.print_json({"version": 1, **listing.rejected_as_json(found)})
        return
    text = refusals.text(spool, found) or f"{found.name} was rejected: {found.why or 'the text beside it says why'}\n"
    for each in text.rstrip("\n").split("\n"):
        printing.line(safe(each))
    printing.line()
    printing.line(f"file   {safe(found.path)}")
    if not found.inbox:  # an inbox may hang, and is not looked at
        _print_head(found.path)


def _print_head(path: str) -> None:
    try:
        data = files.read_head(path, _SHOWN_BYTES + 1)
    except OSError as error:
        printing.message(f"it cannot be read: {error.strerror or error}")
        return
    for each in data[:_SHOWN_BYTES].decode("utf-8", "replace").split("\n"):
        printing.line(f"    {safe(each)}".rstrip())
    if len(data) > _SHOWN_BYTES:
        printing.message(f"... only the first {_SHOWN_BYTES} bytes are shown")


@app.command(short_help="Put rejected files back into pending/.")
def retry(names: Names = None, everything: All = False, match: Match = None, dry_run: DryRun = False) -> None:
    """Example: queuectl rejected retry bad.json

    Put rejected files back into pending/, once they are corrected: a file that is still no job stays, and the answer
    says why. Workers do the same automatically with a file that changes into a valid job. Piped, the names are printed.

    \b
    queuectl rejected retry --all
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
    """Example: queuectl rejected purge --older-than 30d

    Delete rejected files and their reasons permanently. The setting keep_rejected does it automatically. Asks first; in
    a script --yes is needed.

    \b
    queuectl rejected purge bad.json --yes
    queuectl rejected purge --all --dry-run
    """
    spool = context.open_anyway()
    chosen = _choose(spool, names, _Filters(everything, match, older_than))
    if not _go_on(chosen, dry_run=dry_run, yes=yes, what="delete"):
        return
    _each(chosen, lambda name: refusals.purge(spool, name), "is deleted")


class _Filters(NamedTuple):
    """Which files are meant if none is named."""

    everything: bool
    match: str | None
    older_than: str | None = None


def _choose(spool: Spool, names: list[str] | None, filters: _Filters) -> list[str]:
    """Return the names of the files that are meant. Raises WrongUsageError, UnknownFileError."""
    everything, match, older_than = filters
    is_wide = everything or match is not None or older_than is not None
    if bool(names) == is_wide:
        what = "which files?" if not names else "names and filters are both given; which counts?"
        raise WrongUsageError(what, hint="name the files, or choose with --all, --match ...")
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
    """Whether it is to be done. Raises WrongUsageError if nobody can be asked."""
    if not chosen:
        printing.message("no such files")
        return False
    question = f"{what} {count_of(len(chosen), 'file')}?"
    if dry_run:
        for name in chosen:
            printing.line(f"would {what} {safe(name)}" if printing.is_terminal() else safe(name))
        return False
    if yes:
        return True
    if not printing.is_interactive():
        raise WrongUsageError(f"nobody can be asked: {question}", hint="add --yes, or --dry-run to see which")
    if not typer.confirm(question, err=True):
        raise typer.Exit(exit_codes.FAILURE)
    return True


def _each(chosen: list[str], action: Callable[[str], str], says: str) -> None:
    """Do it for each of them; one that fails does not keep the others from it. Ends with the first failure's code."""
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
