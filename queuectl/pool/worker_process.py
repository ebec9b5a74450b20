"""The worker processes of a pool: starting them, talking to them, noticing that one is gone.

On Linux they are forked: 130 ms of CPU less for each (its imports), and most of its memory is the supervisor's. A fork
copies whatever the supervisor holds, so it is made only while there is one thread (see `watch`), with signals held
back, and the worker first gives back every handle that is not its own: a pool's lock or a pipe's end that lived on in
it would make a killed supervisor look alive. Elsewhere they are spawned: forking is not safe on macOS, whose own
libraries start threads, and Windows has none.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.worker import process as worker
from queuectl.worker.messages import Report, unpack

_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Slot:
    """A place for one worker process; a worker that dies is followed by another with a new name."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.worker = ""
        self.outstanding: dict[str, float] = {}
        """Names given to the worker and not answered yet, with when (monotonic)."""
        self.unanswered: set[str] = set()
        """Names that it did not take in time and others have got since; while there are any, it gets no more."""
        self.running: dict[str, str] = {}
        """What it runs: job id by the name it was suggested under."""
        self.running_since_s = 0.0
        """When the last of that was heard of (monotonic)."""
        self.ready = False
        self._process: Any = None
        self._conn: Connection | None = None

    @property
    def alive(self) -> bool:
        """True while there is a process to talk to."""
        return self._conn is not None

    @property
    def willing(self) -> bool:
        """True where it may be given names: it has answered to all that it was given before."""
        return self.ready and not self.unanswered

    @property
    def pid(self) -> int:
        """The worker's process id, 0 where there is none."""
        return int(self._process.pid or 0) if self._process is not None else 0

    @property
    def is_silent(self) -> bool:
        """True where the process has ended and its pipe does not tell.

        On Windows a worker fetches its end of the pipe from us when it starts; one that dies before leaves it here,
        open, so that the pipe never ends.
        """
        if self.exit_code is None or self._conn is None:
            return False
        try:
            return not self._conn.poll(0)
        except OSError:  # on Windows also this tells of the end: it is heard of with the rest
            return False

    @property
    def exit_code(self) -> int | None:
        """How the process ended (negative: by that signal)."""
        return None if self._process is None else self._process.exitcode

    @property
    def conn(self) -> Connection:
        """Our end of the pipe."""
        assert self._conn is not None
        return self._conn

    def start(
        self,
        spool: SpoolDir,
        settings: Settings,
        *,
        worker_name: str,
        cwd: str,
        fork: bool,
        let_go: Callable[[], None],
    ) -> None:
        """Start a worker, as a copy of this process where `fork`.

        `let_go` closes what this process has open: called in a worker that was forked.

        Raises:
            OSError: the system cannot start another process.
        """
        process, ours = start_child(
            worker.main, (spool.root, worker_name, tuple(settings), cwd), name=worker_name, fork=fork, let_go=let_go
        )
        self._process, self._conn = process, ours
        self.worker = worker_name
        self.ready = False

    def feed(self, names: list[str], now_s: float) -> None:
        """Suggest names to the worker."""
        self.outstanding.update(dict.fromkeys(names, now_s))
        self.send("feed", names)

    def send(self, *message: Any) -> None:
        """Tell the worker something; a worker that is gone is noticed elsewhere."""
        while self._conn is not None:
            try:
                self._conn.send(message)
            except InterruptedError:
                continue  # Ctrl-C on Windows, while the pipe was full: a message twice is harmless, a lost one is not
            except OSError:
                pass
            return

    def receive(self) -> list[Report]:
        """The next reports, where the pipe has some; else waits for them. Raises EOFError when the worker is gone."""
        try:
            return unpack(self.conn.recv_bytes())
        except OSError as error:
            raise EOFError from error

    def lose(self) -> list[str]:
        """Forget a worker that is gone, once its process has ended; the names that come back."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None
        if self._process is not None:
            self._process.join(5)
        names = list(self.outstanding)
        self.outstanding.clear()
        self.unanswered.clear()
        self.running.clear()
        self.ready = False
        return names

    def let_go(self) -> None:
        """Close our end of the pipe, in a process that was forked and has no part in it."""
        if self._conn is not None:
            self._conn.close()

    def kill(self) -> None:
        """End the worker process at once."""
        if self._process is not None:
            with contextlib.suppress(OSError, AttributeError):
                self._process.kill()


def start_child(
    entry: Callable[..., None], facts: tuple[object, ...], *, name: str, fork: bool, let_go: Callable[[], None]
) -> tuple[Any, Connection]:
    """Start a process that runs `entry(conn, *facts)`, and our end of its pipe; a copy of this one where `fork`.

    Raises:
        OSError: the system cannot start another process.
    """
    context = multiprocessing.get_context("spawn")
    pair: Any = context.Pipe(duplex=True)  # to a type checker, pipes of Windows are of another kind
    ours, theirs = pair

    def work() -> None:
        let_go()
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
    """True where a worker is a copy of this process."""
    return sys.platform == "linux" and threading.active_count() == 1


def prepare() -> None:
    """Load what every worker needs, before the first is forked."""
    if sys.platform == "linux" and can_fork():
        import queuectl.system.forked
        import queuectl.system.libc  # noqa: F401

        worker.preload()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """No signal reaches a forked worker before it has handlers of its own (`process.main` lets them in again)."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
