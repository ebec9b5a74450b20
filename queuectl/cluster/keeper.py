"""The program of a node's keeper: `python -m queuectl.cluster.keeper SCRATCH --slots N`.

It imports little, because it lives as long as the node: no dask, nothing of the spool.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence

from queuectl.cluster.lease_model import TERM_BEFORE_S
from queuectl.cluster.scratch import Scratch, ScratchError
from queuectl.system import containment, locks

# How long a keeper waits, at its start, for what its predecessors left.
_BURY_WITHIN_S = 5.0
_WAYS = {
    "auto": "",
    "systemd": containment.SYSTEMD,
    "namespace": containment.NAMESPACE,
    "user-namespace": containment.USER_NAMESPACE,
    "signal": containment.SIGNAL,
    "group": containment.GROUP,
}


def main(words: Sequence[str]) -> None:
    """Run a keeper until it is asked to stop.

    Raises:
        SystemExit: with the reason, if it cannot run.
    """
    options = _options(words)
    if sys.platform != "linux":
        raise SystemExit("error: nodes of a cluster run on Linux only")
    scratch = Scratch(options.scratch)
    try:
        scratch.prepare()
        if options.lock_fd < 0:
            lock = scratch.lock()
            if lock is None:
                raise SystemExit(f"error: the scratch folder {scratch.root} has a keeper that lives")
            _contain(options, words, lock)
    except (ScratchError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    _keep(scratch, options)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("queuectl.cluster.keeper")
    parser.add_argument("scratch")
    parser.add_argument("--slots", type=int, default=len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
    parser.add_argument("--resource", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--node", default=socket.gethostname())
    parser.add_argument("--containment", choices=list(_WAYS), default="auto")
    parser.add_argument("--term-before", type=float, default=TERM_BEFORE_S)
    parser.add_argument("--lock-fd", type=int, default=-1)
    parser.add_argument("--contained", default="")
    return parser.parse_args(words)


def _contain(options: argparse.Namespace, words: Sequence[str], lock: locks.NamedLock) -> None:
    """Start this program again, inside what ends all commands with it. The lock is kept.

    `unshare` holds the lock too and ends after the namespace, so a free lock proves that nothing in it lives.
    """
    way = _WAYS[options.containment] or containment.best()
    prefix = [] if way not in (containment.NAMESPACE, containment.USER_NAMESPACE) else containment.prefix(way)
    os.set_inheritable(lock.fd, True)
    program = [sys.executable, "-m", "queuectl.cluster.keeper", *words]
    argv = [*prefix, *program, "--lock-fd", str(lock.fd), "--contained", way]
    os.execv(argv[0], argv)


def _keep(scratch: Scratch, options: argparse.Namespace) -> None:
    from queuectl.cluster.keeping import Facts, Keeper, remove_socket
    from queuectl.worker.executors import choose

    host = socket.gethostname()
    member = f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
    os.set_inheritable(options.lock_fd, False)
    remove_socket(scratch)
    scratch.enter(member, host)
    facts = Facts(
        member,
        options.node,
        host,
        max(1, options.slots),
        _resources(options.resource),
        options.contained,
        options.term_before,
    )
    keeper = Keeper(scratch, facts, choose.make("auto"), bury_within_s=_BURY_WITHIN_S)
    signal.signal(signal.SIGTERM, lambda _number, _frame: keeper.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keeper.run()
    remove_socket(scratch)


def _resources(words: Sequence[str]) -> dict[str, float]:
    found = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            found[name] = float(number)
        except ValueError as error:
            raise SystemExit(f"error: --resource needs NAME=NUMBER, not {word}") from error
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
