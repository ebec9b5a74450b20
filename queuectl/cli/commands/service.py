"""`queuectl service`: write the definition that makes the operating system start the workers."""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
from typing import Annotated

import typer

from queuectl.cli import context, group, node_units, service_units
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.service_units import KINDS, LAUNCHD, SYSTEMD, TASK, Service
from queuectl.cli.terminal import asking, printing
from queuectl.errors import QueuectlError, os_words
from queuectl.inbox.trust import check_all
from queuectl.model import names
from queuectl.model.settings import Settings, defaults
from queuectl.model.text import command_text
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files

app = group.new_app(
    no_args_is_help=True,
    help="Run workers as a service of the operating system.\n\nExample: queuectl service print\n\n"
    "The service is a systemd unit on Linux, a launchd agent on macOS, and a task of the Task Scheduler on Windows.",
)

_MAX_BYTES = 1024 * 1024

System = Annotated[
    bool,
    typer.Option("--system", help="Use a system service, which starts at boot. Default: runs while you are logged in."),
]
Count = Annotated[
    int, typer.Option("--count", "-c", metavar="N", min=1, max=256, help="Number of jobs to run at once: slots.")
]
Name = Annotated[
    str,
    typer.Option(
        "--name", metavar="NAME", show_default=False, help="Name of the service. Default: made from the path."
    ),
]
Node = Annotated[
    str,
    typer.Option("--node", metavar="SCHEDULER", show_default=False, help="Run a node of the cluster at this address."),
]
NodeKeys = Annotated[str, typer.Option("--keys", metavar="FOLDER", help="With --node: as `cluster node --keys`.")]
NodeSlots = Annotated[
    int, typer.Option("--slots", metavar="N", min=1, max=10_000, help="With --node: jobs to run at once.")
]
NodeResource = Annotated[
    list[str] | None,
    typer.Option("--resource", metavar="NAME=AMOUNT", help="With --node: what jobs can ask for (repeatable)."),
]
NodeScratch = Annotated[
    str, typer.Option("--scratch", metavar="FOLDER", help="With --node: as `cluster node --scratch`.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=group.YES_HELP)]


@app.command("print", short_help="Print the definition of the service.")
def print_(
    system: System = False,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", show_default=False, help="Kind: systemd, launchd or task. Default: the kind of this system."
        ),
    ] = "",
    count: Count = 1,
    name: Name = "",
    node: Node = "",
    keys: NodeKeys = "",
    slots: NodeSlots = 1,
    resource: NodeResource = None,
    scratch: NodeScratch = "",
) -> None:
    """Print the definition of the service.

    \b
    Examples:
      queuectl service print
      queuectl service print --system --count 4
      queuectl service print --kind launchd

    It changes nothing. `queuectl service install` writes the same definition, for this spool and the Python that runs
    this command.
    """
    if kind and kind not in KINDS:
        raise WrongUsageError(f"--kind: there is no kind {kind!r}", hint="give systemd, launchd or task")
    if node:
        words, made = _node(node, keys, slots, resource or [], scratch, system=system, name=name)
        text = node_units.unit(made, words, node)
    else:
        spool = context.open_spool()
        made = _made(spool.path, spool.settings, system=system, workers=count, name=name)
        text = service_units.text(kind or _own_kind(), made)
    for each in text.splitlines():
        printing.exact_line(printing.safe(each) if printing.is_terminal() else each)


@app.command(short_help="Install the service.")
def install(
    system: System = False,
    count: Count = 1,
    name: Name = "",
    node: Node = "",
    keys: NodeKeys = "",
    slots: NodeSlots = 1,
    resource: NodeResource = None,
    scratch: NodeScratch = "",
    now: Annotated[
        bool, typer.Option("--now", help="Also start the service: run the commands that are shown.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Install the service.

    \b
    Examples:
      queuectl service install --count 2 --now
      queuectl service install --system
      queuectl service install --node tls://head:8786 --keys /etc/queuectl/keys --slots 16

    With --node the service is a node of a cluster instead of workers: `queuectl cluster node` with these options. No
    spool is needed. A system service runs as the owner of keys/node.pem.

    The command shows the definition and its path, asks for confirmation, and writes the file. It prints the commands
    that start the service; with --now it runs them. A second install replaces the first.
    """
    if node:
        words, made = _node(node, keys, slots, resource or [], scratch, system=system, name=name)
        text = node_units.unit(made, words, node)
        _install(SYSTEMD, made, text, now=now, yes=yes, looked_at_by="queuectl cluster list at the spool")
        return
    spool = context.open_spool()
    trust.check(spool.folder)
    check_all(spool.folder, spool.settings)
    spool.folder.complete()
    kind, made = _own_kind(), _made(spool.path, spool.settings, system=system, workers=count, name=name)
    _install(kind, made, service_units.text(kind, made), now=now, yes=yes, looked_at_by="queuectl worker list")


def _install(kind: str, made: Service, text: str, *, now: bool, yes: bool, looked_at_by: str) -> None:
    """Show a definition, ask, write it, and start the service if that is wanted."""
    _check_installed(made)
    path = _path(kind, made)
    data, before = service_units.encoded(kind, text), _present(path)
    commands = service_units.activation(kind, made, path, again=before is not None)
    printing.message(f"{'replaces' if before is not None else 'writes'} {printing.safe(path)}:")
    printing.message("")
    for each in text.splitlines():
        printing.message(f"    {printing.safe(each)}")
    printing.message("")
    _show("and runs:" if now else "to start it, run:", commands)
    _confirm(yes, "continue?")
    if before != data:
        _write(path, data, made)
    printing.line(f"wrote {printing.safe(path)}" if printing.is_terminal() else path)
    if now:
        for command in commands:
            _run(command)
        printing.message(f"started; {looked_at_by} shows it")
    _advise(kind, made)


@app.command(short_help="Stop the service and delete its definition.")
def uninstall(system: System = False, name: Name = "", yes: Yes = False) -> None:
    """Stop the service and delete its definition.

    Example: queuectl service uninstall

    The command shows what it does and asks for confirmation. The spool and the jobs stay as they are.
    """
    # The spool itself may be deleted already.
    kind, made = _own_kind(), _made(context.spool_path(), defaults(), system=system, workers=1, name=name)
    path = _path(kind, made)
    if _present(path) is None:
        hint = "queuectl service uninstall" + ("" if system else " --system")
        raise QueuectlError(
            "the service is not installed", cause=f"there is no file {path}", hint=f"to look in the other place: {hint}"
        )
    before, after = service_units.deactivation(kind, made)
    _show("runs:", before)
    printing.message(f"deletes {printing.safe(path)}")
    _show("runs:", after)
    _confirm(yes, "continue?")
    # A service that never started cannot be stopped; delete its file all the same.
    failed = _run_all(before)
    try:
        disk.unlink(path)
    except PermissionError as error:
        raise _not_allowed(path, error, made, "uninstall") from error
    for problem in (*failed, *_run_all(after)):
        printing.warning(f"{problem}: {problem.cause}" if problem.cause else str(problem))
    printing.line(f"deleted {printing.safe(path)}" if printing.is_terminal() else path)


# -------------------------------------------------------------------------------------------------------- the service


def _own_kind() -> str:
    return TASK if os.name == "nt" else LAUNCHD if sys.platform == "darwin" else SYSTEMD


def _made(root: str, settings: Settings, *, system: bool, workers: int, name: str) -> Service:
    """Return the service of a spool for this interpreter and this user. Raises WrongUsageError."""
    if name and any(not (letter.isascii() and (letter.isalnum() or letter in "-_")) for letter in name):
        raise WrongUsageError(f"--name: {name!r} is not allowed", hint="use only letters, digits, - and _")
    spool = SpoolDir(root)
    return Service(
        name=(name if name.startswith("queuectl-") else f"queuectl-{name}") if name else service_units.name_for(root),
        spool=root,
        python=_python(),
        cwd=os.path.dirname(root),
        user=_user(root),
        uid=getattr(os, "getuid", int)(),
        path_variable="" if os.name == "nt" else _path_variable(),
        log=os.path.join(spool.folder("logs"), f"pool-{service_units.name_for(root)}.log"),
        workers=workers,
        stop_s=service_units.stop_seconds(settings),
        system=system,
    )


def _node(
    scheduler: str, keys: str, slots: int, resources: list[str], scratch: str, *, system: bool, name: str
) -> tuple[list[str], Service]:
    """Return the command line and the service of a node on this machine.

    Raises:
        ClusterError, UntrustedSpoolError: the keys or the address cannot be used.
    """
    from queuectl.cli.commands import cluster
    from queuectl.cluster import launch

    if _own_kind() != SYSTEMD:
        raise WrongUsageError("--node: a node as a service needs systemd", hint="run queuectl cluster node yourself")
    keys, scratch = os.path.abspath(keys) if keys else "", os.path.abspath(scratch) if scratch else ""
    launch.worker(launch.NodeOptions(scheduler, keys, launch.node_name(), scratch or "/"))
    made = _made(keys or os.getcwd(), defaults(), system=system, workers=slots, name=name or "node")
    user = _user(os.path.join(keys, "node.pem")) if keys else made.user
    made = made._replace(cwd="/", user=user)
    amounts = cluster.amounts(resources)
    return (
        node_units.argv(made.python, scheduler, keys, slots=slots, resources=amounts, scratch=scratch),
        made,
    )


def _python() -> str:
    """Return the path of this interpreter; on Windows the one that opens no console window."""
    if os.name == "nt":
        quiet = os.path.join(os.path.dirname(sys.executable), "pythonw.exe")
        if os.path.isfile(quiet):
            return quiet
    return sys.executable


def _path_variable() -> str:
    """Return the current PATH, absolute folders only, so that jobs find the same programs as with a manual start."""
    parts = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys(part for part in parts if os.path.isabs(part) and printing.safe(part) == part))


def _user(root: str) -> str:
    """Return the user of a system service: the spool's owner, the only user that is trusted with it (promise P10)."""
    if os.name != "nt":
        try:
            return trust.user_name(os.stat(root).st_uid)
        except FileNotFoundError:
            return ""  # the spool was deleted before `uninstall`
    domain, user = os.environ.get("USERDOMAIN", ""), os.environ.get("USERNAME", "")
    return f"{domain}\\{user}" if domain else user


def _path(kind: str, made: Service) -> str:
    """Return the path where the system expects the definition (the Task Scheduler keeps its own copy)."""
    home = os.path.expanduser("~")
    if kind == SYSTEMD:
        own = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "systemd", "user")
        folder = "/etc/systemd/system" if made.system else own
    elif kind == LAUNCHD:
        folder = "/Library/LaunchDaemons" if made.system else os.path.join(home, "Library", "LaunchAgents")
    else:
        folder = os.path.join(os.environ.get("LOCALAPPDATA") or home, "queuectl", "services")
    return os.path.join(folder, service_units.file_name(kind, made))


# -------------------------------------------------------------------------------------------------------- the actions


def _present(path: str) -> bytes | None:
    try:
        return files.read(path, _MAX_BYTES).data
    except FileNotFoundError:
        return None


def _write(path: str, data: bytes, made: Service) -> None:
    temporary = f"{path}.{names.new_token(random.Random(), 8)}.tmp"
    try:
        disk.make_folder(os.path.dirname(path))
        disk.create(temporary, data, sync=True, mode=disk.FILE_MODE)
        disk.replace(temporary, path)
    except PermissionError as error:
        raise _not_allowed(path, error, made, "install") from error


def _not_allowed(path: str, error: OSError, made: Service, what: str) -> QueuectlError:
    again = shlex.join([sys.executable, "-m", "queuectl", "--spool", made.spool, "service", what, "--system"])
    return QueuectlError(
        f"cannot change {path}",
        cause=error.strerror or str(error),
        hint=f"sudo {again}" if made.system and os.name != "nt" else "",
    )


def _show(heading: str, commands: list[list[str]]) -> None:
    if commands:
        printing.message(heading)
        for command in commands:
            printing.message(f"    {printing.safe(command_text(command))}")


def _confirm(yes: bool, question: str) -> None:
    if not yes:
        asking.confirm(question, hint="add --yes")


def _run(command: list[str]) -> None:
    """Run a command of the system, which may wait for jobs to end. Raises QueuectlError if it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise QueuectlError(f"cannot run {command_text(command)}", cause=os_words(error)) from error
    if done.returncode != 0:
        told = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise QueuectlError(f"{command_text(command)} failed with exit code {done.returncode}", cause=told)


def _run_all(commands: list[list[str]]) -> list[QueuectlError]:
    """Run all commands and return the errors."""
    failed = []
    for command in commands:
        try:
            _run(command)
        except QueuectlError as error:
            failed.append(error)
    return failed


def _check_installed(made: Service) -> None:
    """Raise QueuectlError if Python finds queuectl only through the current folder or PYTHONPATH, unlike a service."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    argv = [made.python, "-P", "-m", "queuectl", "--version"]
    done = subprocess.run(
        argv, cwd=made.cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise QueuectlError(
            f"{made.python} does not find queuectl without this environment",
            cause="queuectl runs from its source folder, or is found through PYTHONPATH; a service has neither",
            hint="install it: pip install .",
        )


def _advise(kind: str, made: Service) -> None:
    """Print warnings and further steps for the service."""
    if kind == SYSTEMD and not os.path.isdir("/run/systemd/system"):
        printing.warning("systemd is not running on this machine, so nothing starts the service")
    elif kind == SYSTEMD and not made.system:
        printing.message("the service stops when you log out; to run it from boot on: loginctl enable-linger")
    if made.system and made.user == "root":
        printing.warning(
            "the service and every job run as root; to avoid that, give the spool to its own user: chown -R"
        )
