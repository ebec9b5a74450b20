"""The entry point of a worker process: its signals, its spool, its `Worker`."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
from multiprocessing.connection import Connection

import msgspec

from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from queuectl.worker.executors import choose
from queuectl.worker.worker import Worker


def preload() -> None:
    """Import the modules that every worker needs. A pool that forks its workers calls this before the first fork."""
    choose.load()


class WorkerSpec(msgspec.Struct, frozen=True):
    """A worker process to start."""

    name: str
    cwd: str
    """The working folder of jobs without `cwd`."""
    slots: int = 1
    """How many commands it runs at the same time."""
    queues: tuple[str, ...] = ()
    """The queues whose jobs it runs; none: all."""


def main(conn: Connection, root: str, settings: tuple[object, ...], spec: WorkerSpec) -> None:
    """Run a worker process to its end. It may be spawned, so every argument is a plain value."""
    session = begin(root, settings)
    serve(Worker(conn, session, worker=spec.name, cwd=spec.cwd, slots=spec.slots, only=spec.queues))


def begin(root: str, settings: tuple[object, ...]) -> Session:
    """Ignore the signals that are for the supervisor, and open the spool."""
    for name in ("SIGINT", "SIGBREAK", "SIGHUP"):
        # Ctrl-C and a hang-up reach the whole foreground group; the supervisor gets them, too, and decides.
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    spool, given = SpoolDir(root), Settings(*settings)  # type: ignore[arg-type]
    given = given._replace(queues=dict(given.queues))  # its own, to change in place
    spool.use(given)
    return Session(spool, given, Clock(), random.Random())


def serve(made: Worker) -> None:
    """Run a worker until it ends; SIGTERM stops it."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: made.stop())
    if sys.platform != "win32":  # on Windows the return of a handler interrupts a wait
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: made.note_stop())
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(KeyboardInterrupt):
        made.run()
