"""The worker processes of a pool: start them, send to them, receive from them, detect that one is dead.

On Linux a worker is forked: that saves 130 ms of CPU for each (its imports), and the worker shares most of its memory
with the supervisor. A fork copies all open handles of the supervisor, so it is made only while there is one thread (see
`watch`) and with signals blocked. The worker first closes every handle that is not its own, because a copy of the
pool's lock or of a pipe's end would make a killed supervisor look alive. Elsewhere workers are spawned: forking is not
safe on macOS, whose own libraries start threads, and Windows has no fork.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from queuectl.model import needs
from queuectl.spool.session import Session
from queuectl.system import framing
from queuectl.worker import process
from queuectl.worker.messages import Feed, Order, Report, Resize, Stop, pack_order, unpack

_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


# A name that a worker was given within this time may run there without a report.
_UNREPORTED_S = 0.5
# In the name of a job that needs resources.
NEEDS = ",needs="


class WorkerProcess:
    """A worker process and its pipe. A dead worker is replaced by one with a new name.

    Args:
        slots: how many commands it runs at the same time.
        cluster_slots: how many commands it runs at most on the nodes of a cluster; 0: its commands run here. Such a
            worker reports how many slots it has now.
        takes_plain: whether it gets jobs without resources.
    """

    def __init__(self, slots: int = 1, *, cluster_slots: int = 0, takes_plain: bool = True) -> None:
        self.slots = slots
        self.cluster_slots = cluster_slots
        self._takes_plain = takes_plain
        self.kind = needs.PLAIN if not cluster_slots else needs.ANY if takes_plain else needs.NEEDING
        """The jobs that it may get, if some need resources."""
        self.name = ""
        self.outstanding: dict[str, float] = {}
        """Names given to the worker and not answered yet, with the time (monotonic)."""
        self.behind = 0
        """How many of these wait for the end of another one, because their queue runs few at once (`lanes`)."""
        self.unanswered: set[str] = set()
        """Names reassigned to other workers because this one was slow. It gets no new names until it has answered for
        these."""
        self.running: dict[str, str] = {}
        """The running jobs: the id by the suggested name. Short runs are not reported while they last."""
        self.running_since_s = 0.0
        """When the worker last reported a start (monotonic)."""
        self.is_ready = False
        """True once the worker has reported for the first time."""
        self.is_retired = False
        """True if the worker gets no more names, and ends after its runs."""
        self._process: Any = None
        self.conn: Connection | None = None
        """Our end of the pipe, or None if there is no process."""

    @property
    def is_alive(self) -> bool:
        """True while there is a process to send to."""
        return self.conn is not None

    @property
    def pid(self) -> int:
        """The process, or 0."""
        return 0 if self._process is None else self._process.pid or 0

    @property
    def is_full(self) -> bool:
        """True if each slot runs a command that lasts."""
        return len(self.running) >= self.slots

    @property
    def free(self) -> int:
        """How many slots have nothing to do."""
        return max(0, self.slots - len(self.outstanding) + self.behind)

    def job_ids(self, now_s: float) -> set[str]:
        """Return the ids of the jobs that it runs, or that it may have started a moment ago.

        A start is reported once the run lasts. A name that was given longer ago without that waits at the worker, which
        may be suspended, so a file in running/ with that id may have lost another worker (P5).
        """
        since_s = now_s - _UNREPORTED_S
        fresh = (name for name, given_s in self.outstanding.items() if given_s > since_s and name not in self.running)
        return {*self.running.values(), *(name[:-5].partition(",")[0] for name in fresh)}

    @property
    def may_get_names(self) -> bool:
        """True if the worker has answered for all reassigned names, and is not retired."""
        return self.is_ready and not self.unanswered and not self.is_retired

    def may_run(self, name: str) -> bool:
        """Return whether it may get this name: only nodes have resources."""
        return bool(self.cluster_slots) if NEEDS in name else self._takes_plain

    @property
    def is_silent(self) -> bool:
        """True if the process has ended and its pipe does not show it.

        On Windows a worker fetches its end of the pipe from us when it starts; one that dies before leaves that end
        open here, so the pipe never ends.
        """
        if self.exit_code is None or self.conn is None:
            return False
        try:
            return not self.conn.poll(0)
        except OSError:  # on Windows this, too, shows the end: `receive` meets it
            return False

    @property
    def exit_code(self) -> int | None:
        """How the process ended (negative: by that signal)."""
        return None if self._process is None else self._process.exitcode

    def start(
        self, session: Session, spec: process.WorkerSpec, *, fork: bool, close_inherited: Callable[[], None]
    ) -> None:
        """Start a worker; with `fork`, as a copy of this process.

        `close_inherited` closes what this process has open; a forked worker calls it first.

        Raises:
            OSError: the system cannot start another process.
        """
        facts = (session.spool.root, tuple(session.settings), spec)
        entry: Callable[..., None] = process.main
        if self.cluster_slots:
            from queuectl.cluster.process import main as entry

            self.slots = 0
        self._process, self.conn = start_child(entry, facts, name=spec.name, fork=fork, close_inherited=close_inherited)
        self.name = spec.name
        self.is_ready = False

    def feed(self, names: list[str], now_s: float, at_once: dict[str, int]) -> None:
        """Suggest names to the worker; `at_once` is as in `Feed`."""
        self.outstanding.update(dict.fromkeys(names, now_s))
        self.send(Feed(names, at_once))

    def resize(self, slots: int) -> None:
        """Change the number of slots. Running jobs continue."""
        self.slots = slots
        self.send(Resize(slots))

    def retire(self) -> None:
        """Tell the worker to end after its runs."""
        self.is_retired = True
        self.send(Stop())

    def send(self, order: Order) -> None:
        """Send the worker a message. Ignore a dead worker, because `receive` detects it."""
        message = pack_order(order)
        while self.conn is not None:
            try:
                framing.send(self.conn, message)
            except InterruptedError:
                continue  # Ctrl-C on Windows, while the pipe was full: a message twice is harmless, a lost one is not
            except OSError:
                pass
            return

    def receive(self) -> list[Report]:
        """Return the next reports; wait for them if the pipe is empty. Raises EOFError if the worker is dead."""
        try:
            assert self.conn is not None
            return unpack(self.conn.recv_bytes())
        except OSError as error:
            raise EOFError from error

    def take_names(self) -> list[str]:
        """Forget a dead worker after its process has ended; return its names."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None
        if self._process is not None:
            self._process.join(5)
        names = list(self.outstanding)
        self.outstanding.clear()
        self.unanswered.clear()
        self.running.clear()
        self.is_ready = False
        return names

    def close_inherited(self) -> None:
        """Close our end of the pipe in a forked process, which does not use it."""
        if self.conn is not None:
            self.conn.close()

    def kill(self) -> None:
        """End the worker process at once."""
        if self._process is not None:
            with contextlib.suppress(OSError, AttributeError):
                self._process.kill()


def start_child(
    entry: Callable[..., None], facts: tuple[object, ...], *, name: str, fork: bool, close_inherited: Callable[[], None]
) -> tuple[Any, Connection]:
    """Start a process that runs `entry(conn, *facts)`; with `fork`, as a copy of this one. Return it and our end of its
    pipe.

    Raises:
        OSError: the system cannot start another process.
    """
    context = multiprocessing.get_context("spawn")
    pair: Any = context.Pipe(duplex=True)  # to a type checker, pipes of Windows are of another kind
    ours, theirs = pair

    def work() -> None:
        close_inherited()
        ours.close()
        entry(theirs, *facts)

    try:
        with _signals_held_back():
            if sys.platform == "linux" and fork:
                from queuectl.system.forked import ForkedProcess

                process: Any = ForkedProcess(work)
            else:
                process = context.Process(target=entry, args=(theirs, *facts), name=name)
                process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def can_fork() -> bool:
    """True if a worker may be started as a copy of this process."""
    return sys.platform == "linux" and threading.active_count() == 1


def prepare() -> None:
    """Import the modules that every worker needs, before the first worker is forked."""
    if sys.platform == "linux" and can_fork():
        import queuectl.system.forked
        import queuectl.system.libc  # noqa: F401

        process.preload()
        # Modules stay to the end. A collection would visit them, and copy each page that a worker shares with us.
        gc.freeze()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Block signals in a forked worker until it has its own handlers (`process.main` unblocks them)."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
