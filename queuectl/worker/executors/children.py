"""The children of a worker (POSIX): wakes the worker when one ends, reaps them, knows if earlier commands left any.

SIGCHLD arrives in a pipe, so that one poll waits for commands and for the supervisor. On Linux the worker is the
subreaper of its commands, so it has other children than the commands that it started.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

import msgspec

from queuectl.system import processes

assert sys.platform != "win32"  # tells mypy, too

# Check a run that is being ended this often: no event reports the end of its last process.
LOOK_EVERY_S = 0.02


class AtStart(msgspec.Struct, frozen=True):
    """What a worker knows when it starts a command."""

    ours: Children
    earlier: frozenset[tuple[int, int]] | None
    """Children of the worker that earlier jobs have left (`Process.key`), as far as they are known; None if the worker
    has no child at all."""
    since: int
    """The instant (`processes.now`), if that matters."""
    serial: int
    """How many commands the worker had started before."""

    @property
    def is_alone(self) -> bool:
        """True if every child that the worker has got since belongs to this command: no other command ran meanwhile."""
        return self.earlier is None and self.ours.serial == self.serial + 1


class Children:
    """The children of this process: commands that run, commands that are being ended, and what commands have left."""

    def __init__(self) -> None:
        self.wake_fd, wake_write_fd = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(wake_write_fd, False)
        signal.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        self._signals = select.poll()  # not select, which takes no handle above 1023
        self._signals.register(self.wake_fd, select.POLLIN)
        self._commands: set[int] = set()
        """The pids of commands that `reap` reaps."""
        self._ending: set[int] = set()
        """The pids of commands that are being ended, which are reaped last of their run."""
        self.serial = 0
        """How many commands were started."""
        self._listed = processes.OwnChildren()
        self.are_adopted = become_subreaper()
        """True if descendants that lose their parent become children of this process."""
        before = processes.children(os.getpid()) if self.are_adopted else []
        self._has_left = not all(each.has_ended for each in before)
        """False only if the system said so: there was no child when `reap` ended. A listing can miss one."""

    def before_start(self) -> AtStart:
        """Return what tells a command that is started now from what earlier ones left.

        The children are listed anew, because what an earlier command left may have started others and ended since.
        """
        if self._commands or self._ending:
            earlier = frozenset(each.key for each in map(processes.find, self.left()) if each and not each.has_ended)
            return AtStart(self, earlier, processes.now(), self.serial)
        if not self._has_left:
            return AtStart(self, None, 0, self.serial)
        earlier = frozenset(each.key for each in processes.children(os.getpid()) if not each.has_ended)
        return AtStart(self, earlier, processes.now(), self.serial)

    def add(self, pid: int) -> None:
        """Note that a command was started."""
        self._commands.add(pid)
        self.serial += 1

    def is_command(self, pid: int) -> bool:
        """Return whether this child is a command of ours that is not reaped."""
        return pid in self._commands or pid in self._ending

    def left(self) -> set[int]:
        """Return the pids of all children but the commands, as the system lists them."""
        return self._listed.pids() - self._commands - self._ending

    def drain(self) -> None:
        """Empty the wake-up pipe."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 512)

    def reap(self) -> tuple[list[tuple[int, int]], bool]:
        """Reap all children that have ended, orphans too, but no command that is being ended.

        Returns:
            The pid and the status of each command that has ended; and whether there are other children.
        """
        found: list[tuple[int, int]] = []
        if self._ending:  # asked for any child, the system may name one of these
            for command in tuple(self._commands):
                pid, status = os.waitpid(command, os.WNOHANG)
                if pid:
                    self._commands.discard(pid)
                    found.append((pid, status))
            self._has_left = True
            return found, True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self._commands:
                    raise
                self._has_left = False
                return found, False
            if not pid:
                self._has_left = True
                return found, True
            if pid in self._commands:
                self._commands.discard(pid)
                found.append((pid, status))

    def begin_end(self, pid: int) -> None:
        """Leave a command to whoever ends it: `reap` does not reap it any more."""
        self._commands.discard(pid)
        self._ending.add(pid)

    def forget(self, pid: int) -> None:
        """Note that a command that was being ended is reaped."""
        self._ending.discard(pid)
        self._has_left = True

    def has_any(self) -> bool:
        """Return whether a child lives, or may live. Reaps those that have ended.

        One that has ended and is not reaped would say nothing of the others.
        """
        return bool(self._commands or self._ending) or self.reap()[1]

    @staticmethod
    def has_ended(pid: int) -> bool:
        """Return whether a child has ended; does not reap it."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            found = processes.find(pid)
            return found is None or found.has_ended
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def pause(self) -> None:
        """Wait for `LOOK_EVERY_S`, or until a child has ended."""
        self._signals.poll(LOOK_EVERY_S * 1000)
        self.drain()


def become_subreaper() -> bool:
    """Make this process the parent of all descendants that lose theirs; return False if the system cannot."""
    if sys.platform != "linux":
        return False
    from queuectl.system import libc

    return libc.become_subreaper()


def _ignore(_number: int, _frame: object) -> None:
    """A handler must exist for a signal to arrive in the wake-up pipe."""
