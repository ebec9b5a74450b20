"""`queuectl cluster keys|scheduler`: run the commands of jobs on other machines."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from queuectl.cli import group
from queuectl.cli.terminal import printing

app = group.new_app(
    help="Run the commands of jobs on other machines.\n\nExample: queuectl cluster keys keys\n\n"
    "The spool stays a folder on one machine; its commands run on the nodes of a cluster. A dask scheduler carries the "
    "messages between them. docs/cluster.md shows how to begin.",
    no_args_is_help=True,
)
KEYS_HELP = "Folder with the keys of this machine, from `queuectl cluster keys`."


@app.command(short_help="Make the keys of a cluster.")
def keys(folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A new folder.")]) -> None:
    """Make the keys of a cluster.

    Example: queuectl cluster keys keys

    The folder gets ca.pem, spool.pem, scheduler.pem and node.pem, valid for 825 days. Each machine needs ca.pem and the
    file of its part, readable only by the user who runs queuectl there. Anyone with one of the other files can run
    commands on every node.
    """
    from queuectl.cluster import keys as files

    for path in files.make(folder):
        typer.echo(path)
    printing.message("copy ca.pem and scheduler.pem, node.pem or spool.pem to the machine that has this part")


@app.command(short_help="Run the scheduler of a cluster, with TLS only.")
def scheduler(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="The only address at which the scheduler can be reached.")
    ],
    keys: Annotated[str, typer.Option("--keys", metavar="FOLDER", help=KEYS_HELP)],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 for a free one.")] = 8786,
) -> None:
    """Run the scheduler of a cluster, with TLS only.

    Example: queuectl cluster scheduler --keys keys --host 192.0.2.10

    This is `dask scheduler` without its web pages. It accepts connections only from owners of a key of the same
    folder. It keeps nothing: commands go on while it restarts.
    """
    from queuectl.cluster import launch

    _become(launch.scheduler(host, port, keys), launch.environment())


def _become(argv: list[str], environment: dict[str, str]) -> None:
    """Run a program in the place of this one."""
    if sys.platform == "win32":
        raise typer.Exit(subprocess.call(argv, env=environment))
    os.execve(argv[0], argv, environment)
