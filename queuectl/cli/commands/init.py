"""`queuectl init`: making a spool."""

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
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False, help="The folder. Default: spool")] = "",
) -> None:
    """Example: queuectl init

    Make a spool: the folder that is the queue. It gets its folders, a README.md that says what each is for, and
    queuectl.toml with every setting explained. What is there already is left as it is. Commands that are typed in the
    folder around it, or below, find it by themselves.
    """
    wanted = path or context.options.spool or context.OWN_NAME
    folder = SpoolDir(wanted)
    made = create.create(folder)
    if not printing.is_terminal():
        printing.line(folder.root)
        return
    shown = printing.safe(folder.root)
    printing.line(f"made the spool {shown}" if made else f"{shown} is a spool already; what is in it was left as it is")
    near = context.nearest(context.working_folder())
    option = "" if near and os.path.samefile(near, folder.root) else f'--spool "{shown}" '
    printing.line()
    printing.line("next:")
    printing.exact_line(f'  queuectl {option}enqueue --command "echo hello"')
    printing.exact_line(f"  queuectl {option}worker start --count 2")
