"""`queuectl init`: create a spool."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from queuectl.cli import context, group
from queuectl.cli.terminal import printing
from queuectl.spool import create
from queuectl.spool.folder import SpoolDir

app = group.new_app()


@app.command()
def init(
    path: Annotated[
        str, typer.Argument(metavar="PATH", show_default=False, help="Folder of the spool. Default: spool")
    ] = "",
) -> None:
    """Create a spool.

    Example: queuectl init

    A spool is the folder that holds the queue. It gets its folders, a README.md that explains them, and queuectl.toml
    with every setting explained. Existing files stay as they are. Commands find this spool automatically in its parent
    folder and everywhere below that.
    """
    wanted = path or context.options.spool or context.OWN_NAME
    folder = SpoolDir(wanted)
    made = create.create(folder)
    if not printing.is_terminal():
        printing.line(folder.root)
        return
    shown = printing.safe(folder.root)
    printing.line(f"made the spool {shown}" if made else f"{shown} is already a spool; its files stay as they are")
    near = context.nearest(context.working_folder())
    option = "" if near and os.path.samefile(near, folder.root) else f'--spool "{shown}" '
    printing.line()
    printing.line("next:")
    printing.exact_line(f'  queuectl {option}enqueue --command "echo hello"')
    printing.exact_line(f"  queuectl {option}worker start --count 2")
