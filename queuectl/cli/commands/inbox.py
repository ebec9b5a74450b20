"""`queuectl inbox`: list the inboxes, and try out what would happen to a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import line, paint, safe
from queuectl.errors import QueuectlError
from queuectl.inbox.state import read_all
from queuectl.monitor import inboxes
from queuectl.monitor.facts import inbox_document

if TYPE_CHECKING:
    from queuectl.model.inbox import Inbox

app = group.new_app(
    no_args_is_help=True,
    help="List inboxes and test files.\n\nExample: queuectl inbox list\n\n"
    "An inbox is a folder outside the spool whose files become jobs. The settings name it: [[inbox]] in queuectl.toml.",
)

_HEADERS = ("OWNER", "MODE", "TAKEN", "WAITING", "ARRIVING", "REFUSED", "PATH", "FILES GO TO", "STATE")


@app.command("list", short_help="List all inboxes.")
def list_(as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False) -> None:
    """List all inboxes.

    Example: queuectl inbox list

    Each has what the workers found there last. TAKEN counts the files taken since the inbox's process started. FILES GO
    TO says where files go after success and after failure. In a pipe, the columns are separated by tabs.
    """
    spool = context.open_spool()
    found = {state.owner: inboxes.row(state) for state in read_all(spool.folder)}
    names = [inbox.owner for inbox in spool.settings.inboxes]
    if as_json:
        rows = [inbox_document(found[name]) for name in names if name in found]
        printing.print_json({"version": 1, "inboxes": rows})
        return
    table: list[tuple[str, ...]] = []
    for inbox in spool.settings.inboxes:
        if (row := found.get(inbox.owner)) is None:
            state = "no worker has looked at it yet"
            table.append((inbox.owner, inbox.mode, "", "", "", "", safe(inbox.path), _ends(inbox), state))
            continue
        counts = (row.taken, row.waiting, row.arriving, row.rejected)
        table.append((row.owner, row.mode, *map(str, counts), safe(row.path), _ends(inbox), safe(row.text)))
    printing.table(_HEADERS, table)


def _ends(inbox: Inbox) -> str:
    """Return where files go after success and failure: `done, failed`; "" in an inbox of another mode."""
    return safe(f"{inbox.on_success}, {inbox.on_failure}") if inbox.mode == "files" else ""


@app.command(short_help="Show what would happen to a file.")
def test(
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False, help="A file, in an inbox or elsewhere.")],
    owner: Annotated[
        str, typer.Option(metavar="OWNER", help="Judge the file as if it were in the inbox of this owner.")
    ] = "",
) -> None:
    """Show what would happen to a file.

    Example: queuectl inbox test /srv/scans/page.pdf

    It shows whether the inbox accepts the file, why, the command that would run, and where a file of an inbox of files
    goes after success and failure. Nothing is moved and nothing runs.
    Exit code 0 means that the file is accepted, 1 that it waits, is refused or is left alone.
    """
    from queuectl.inbox import trial

    session = context.open_spool().session
    if owner:
        inbox = next((each for each in session.settings.inboxes if each.owner == owner), None)
    else:
        inbox = trial.inbox_of(session, path)
    if inbox is None:
        what = f"there is no inbox of {owner}" if owner else f"no inbox has the folder of {path}"
        raise WrongUsageError(what, hint="to list the inboxes: queuectl inbox list; to choose one: --owner OWNER")
    try:
        answer = trial.judge(session, inbox, path)
    except OSError as error:
        raise QueuectlError(f"{path} cannot be read: {error.strerror or error}") from error
    line(f"{paint(answer.verdict, 'bold')}: {safe(os.path.basename(path))} in inbox {inbox.owner}, mode {inbox.mode}")
    line(f"  why      {safe(answer.why)}")
    if answer.hint:
        line(f"  to do    {safe(answer.hint)}")
    if answer.command:
        line(f"  command  {safe(answer.command)}")
    for word, where in zip(("success", "failure"), answer.ends, strict=True):
        if where:
            line(f"  {word}  {safe(where)}")
    if answer.verdict != trial.ACCEPTED:
        raise typer.Exit(1)
