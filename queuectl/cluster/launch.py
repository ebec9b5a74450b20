"""The command lines of dask's own programs: which options make them listen to nobody but holders of a key.

By default `dask scheduler` and `dask worker` listen on all addresses, without a password, and serve web pages.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import sys

from queuectl.cluster import keys
from queuectl.errors import ClusterError

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


def environment() -> dict[str, str]:
    """Return the variables of a dask program: those of this process, without what belongs to a spool, and no pages."""
    made = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    made["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"] = "[]"
    made["DASK_DISTRIBUTED__WORKER__HTTP__ROUTES"] = "[]"
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
