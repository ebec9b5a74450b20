"""The command lines of dask's own programs: which options make them listen to nobody but holders of a key.

By default `dask scheduler` and `dask worker` listen on all addresses, without a password, and serve web pages.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import sys
from typing import NamedTuple

from queuectl.cluster import keys
from queuectl.errors import ClusterError, ClusterUnreachableError

NODE_MODULE = "queuectl.cluster.node"
"""What makes a dask worker a node: its preload."""
SCRATCH_VARIABLE = "DASK_QUEUECTL__SCRATCH"
"""dask reads it as its setting `queuectl.scratch`."""
# The web server of a dask program cannot be left out: it gets no pages, and an address of this machine only.
_NO_PAGES = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


def need_library() -> None:
    """Raise ClusterError if dask.distributed is not installed. Imports nothing of it."""
    if importlib.util.find_spec("distributed") is None:
        raise ClusterError("the library distributed (dask) is not installed", hint=keys.EXTRA)


def scheduler(host: str, port: int, folder: str) -> list[str]:
    """Return the command line of a scheduler at one address, with the keys in `folder`.

    Raises:
        ClusterError, UntrustedSpoolError: the library is missing, or the keys or the address cannot be used.
    """
    need_library()
    if not host or _is_every_address(host):
        raise ClusterError(
            f"the scheduler needs one address, not {host or 'an empty text'}",
            cause="at all addresses of this machine it could be reached from networks without a part in the cluster",
            hint="give the address that nodes and the spool's host use, such as --host 192.0.2.10",
        )
    files = keys.check(folder, keys.SCHEDULER)
    return [*_program("scheduler"), "--host", host, "--port", str(port), "--protocol", "tls", *_tls(files), *_NO_PAGES]


class NodeOptions(NamedTuple):
    """What a dask worker of a node is started with."""

    scheduler: str
    keys: str
    name: str
    scratch: str
    host: str = ""
    """The address at which the scheduler reaches this node; "": that of the way to the scheduler."""
    port: int = 0


def worker(options: NodeOptions) -> list[str]:
    """Return the command line of a node's dask worker.

    It has no nanny, because `node_process` starts it again, and no limit of memory, because it holds no data. It has no
    name of dask's either: a scheduler refuses a name until it has noticed that its last holder is gone.

    Raises:
        ClusterError, UntrustedSpoolError: the library is missing, or the keys or the address cannot be used.
    """
    need_library()
    scheduler = options.scheduler
    if scheduler.startswith("tls://"):
        if not options.keys:
            raise ClusterError("a tls:// scheduler needs keys", hint="--keys FOLDER, with ca.pem and node.pem")
        tls = _tls(keys.check(options.keys, keys.NODE))
    elif scheduler.startswith("tcp://") and is_loopback(scheduler):
        tls = []
    else:
        raise ClusterError(
            f"{scheduler[:60]!r} is no address of a scheduler",
            cause="a node connects by TLS; without it only to a scheduler on its own machine",
            hint="such as tls://head:8786",
        )
    host = options.host or _own_address(scheduler)
    return [
        *_program("worker"),
        scheduler,
        *("--host", host, "--worker-port", str(options.port)),
        *("--no-nanny", "--nthreads", "1", "--memory-limit", "0"),
        *("--local-directory", os.path.join(options.scratch, "dask")),
        *tls,
        *_NO_PAGES,
        *("--preload", NODE_MODULE),
    ]


def is_loopback(address: str) -> bool:
    """Return whether an address `SCHEME://HOST:PORT` is one of this machine's own."""
    host = _host(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(address: str) -> str:
    return address.partition("://")[2].rpartition(":")[0].strip("[]")


def _own_address(scheduler: str) -> str:
    """Return this machine's address on the way to the scheduler. Sends nothing."""
    port = scheduler.rpartition(":")[2]
    try:
        family, kind, number, _, address = socket.getaddrinfo(_host(scheduler), port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, number) as way:
            way.connect(address)
            own: str = way.getsockname()[0]
            return own
    except (OSError, IndexError, UnicodeError) as error:
        raise ClusterUnreachableError(
            f"no way to {scheduler[:100]}", cause=str(error), hint="check the name; or give this node's own --host"
        ) from error


def node_name() -> str:
    """Return the usual name of a node: that of its machine."""
    return socket.gethostname().partition(".")[0]


def environment(scratch: str = "") -> dict[str, str]:
    """Return the variables of a dask program: those of this process, without what belongs to a spool, and no pages.

    The dask worker of a node finds its keeper in `scratch`.
    """
    made = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    made["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"] = "[]"
    made["DASK_DISTRIBUTED__WORKER__HTTP__ROUTES"] = "[]"
    if scratch:
        made[SCRATCH_VARIABLE] = scratch
    return made


def _program(name: str) -> list[str]:
    return [sys.executable, "-m", f"distributed.cli.dask_{name}"]


def _tls(files: keys.KeyFiles) -> list[str]:
    return ["--tls-ca-file", os.path.abspath(files.ca), "--tls-cert", os.path.abspath(files.own)]


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
