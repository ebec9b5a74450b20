"""`queuectl cluster keys|scheduler|node|list|drain|resume`: run the commands of jobs on other machines."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from queuectl.cli import context, group
from queuectl.cli.terminal import printing

if TYPE_CHECKING:
    from queuectl.cluster.asking import Said

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


@app.command(short_help="Make this machine a node of a cluster.")
def node(
    scheduler: Annotated[str, typer.Argument(metavar="SCHEDULER", help="Its address, such as tls://head:8786.")],
    keys: Annotated[str, typer.Option("--keys", metavar="FOLDER", help=KEYS_HELP)] = "",
    slots: Annotated[int, typer.Option("--slots", metavar="N", min=1, max=10_000, help="Jobs to run at once.")] = 1,
    resource: Annotated[
        list[str] | None,
        typer.Option("--resource", metavar="NAME=AMOUNT", help="What jobs can ask for, such as GPU=2 (repeatable)."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the node. Default: the name of this machine.")] = "",
    scratch: Annotated[
        str, typer.Option("--scratch", metavar="FOLDER", help="Folder on a local disk for what running jobs need.")
    ] = "",
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", help="Address of this node for the scheduler. Default: that on the way to it."
        ),
    ] = "",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port at which the scheduler reaches this node; 0 for any.")
    ] = 0,
    show: Annotated[
        bool, typer.Option("--print", help="Only print the command line of the dask worker that would be started.")
    ] = False,
) -> None:
    """Make this machine a node of a cluster.

    Example: queuectl cluster node tls://head:8786 --keys keys --slots 16

    Jobs of the cluster's spools run here as the user of this command. The command runs until Ctrl-C or SIGTERM, which
    end them. A dask worker carries the messages; it is started again whenever it ends.
    """
    from queuectl.cluster import launch

    scratch = os.path.abspath(scratch or _own_scratch())
    options = launch.NodeOptions(scheduler, keys, name or launch.node_name(), scratch, host, port)
    resources = amounts(resource or [])
    if show:
        typer.echo(shlex.join(launch.worker(options)))
        return
    from queuectl.cluster import node_process

    node_process.run(options, slots=slots, resources=resources, tell=printing.message)


def _own_scratch() -> str:
    import platformdirs

    return os.path.join(platformdirs.user_state_dir("queuectl", appauthor=False), "node")


def amounts(words: list[str]) -> list[str]:
    """Check the resources that `--resource` names; return them with sizes as numbers."""
    from queuectl.errors import InvalidJobError
    from queuectl.model import needs

    made = []
    for word in words:
        name, _, value = word.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        try:
            found = needs.parse({name: value if math.isnan(number) else number})
        except InvalidJobError:
            hint = f"{word[:60]!r} is not NAME=AMOUNT, such as GPU=2 or memory=64GB"
            raise typer.BadParameter(hint, param_hint="--resource") from None
        made.append(f"{name}={needs.exact(found[name])}")
    return made


@app.command("list", short_help="List the nodes of the spool's cluster.")
def list_(as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False) -> None:
    """List the nodes of the spool's cluster.

    Example: queuectl cluster list

    The settings cluster.scheduler and cluster.keys say which cluster that is.
    """
    from queuectl.cluster import protocol

    said = _ask(protocol.LOOK, protocol.LookRequest())
    if as_json:
        rows = [
            {
                "node": each.node,
                "address": each.address,
                "error": each.why,
                **(each.answer._asdict() if each.answer else {}),
            }
            for each in said
        ]
        typer.echo(json.dumps({"version": 1, "nodes": rows}, indent=1))
        return
    if not said:
        printing.message("no node is connected; to start one on another machine: queuectl cluster node --help")
        return
    printing.table(
        ["NODE", "SLOTS", "FREE", "RESOURCES", "STATE", "ENDS BY", "QUEUECTL", "ADDRESS"],
        [_row(each) for each in said],
    )


def _row(said: Said) -> list[str]:
    look = said.answer
    if look is None:
        return [said.node, "-", "-", "-", f"no answer: {said.why}", "-", "-", said.address]
    resources = " ".join(f"{name}={amount:g}" for name, amount in sorted(look.resources.items()))
    state = "draining" if look.is_draining else "ready"
    version = look.versions.get("queuectl", "-")
    return [
        said.node,
        str(look.slots),
        str(look.free),
        resources or "-",
        state,
        look.containment,
        version,
        said.address,
    ]


@app.command(short_help="Start nothing new on a node.")
def drain(node: Annotated[str, typer.Argument(metavar="NODE", help="The node, as `cluster list` names it.")]) -> None:
    """Start nothing new on a node.

    Example: queuectl cluster drain gpu-3

    Commands that run there go on. The node remembers this until `queuectl cluster resume`.
    """
    _drain(node, on=True)


@app.command(short_help="Let a drained node take jobs again.")
def resume(node: Annotated[str, typer.Argument(metavar="NODE", help="The node, as `cluster list` names it.")]) -> None:
    """Let a drained node take jobs again.

    Example: queuectl cluster resume gpu-3
    """
    _drain(node, on=False)


def _drain(node: str, *, on: bool) -> None:
    from queuectl.cluster import protocol
    from queuectl.errors import ClusterUnreachableError

    (said,) = _ask(protocol.DRAIN, protocol.DrainRequest(on), only=node)
    if said.answer is None:
        raise ClusterUnreachableError(f"node {node} does not answer", cause=said.why, hint="queuectl cluster list")
    typer.echo(f"{printing.safe(node)}: {'starts nothing new' if on else 'takes jobs again'}")


def _ask(op: str, request: tuple[Any, ...], *, only: str = "") -> list[Said]:
    """Ask the nodes of the spool's cluster."""
    from queuectl.cluster import asking, carriers

    settings = context.open_spool().settings
    carriers.check(settings)
    carrier = carriers.make(settings)
    try:
        asking.reach(carrier, settings.cluster_scheduler)
        return asking.ask(carrier, op, request, only=only)
    finally:
        carrier.close()


def _become(argv: list[str], environment: dict[str, str]) -> None:
    """Run a program in the place of this one."""
    if sys.platform == "win32":
        raise typer.Exit(subprocess.call(argv, env=environment))
    os.execve(argv[0], argv, environment)
