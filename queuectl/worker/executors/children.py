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

from queuectl.system import processes
from queuectl.worker.executors import family

assert sys.platform != "win32"  # tells mypy, too

# How often a run that is being ended is looked at; no event reports that the last of its processes is gone.
_LOOK_EVERY_MS = 20


class Children:
    """The children of this process; at most one of them is a command that has not been reaped."""

    def __init__(self) -> None:
        self.wake_fd, wake_write_fd = os.pipe()
        os.set_blocking(self.wake_fd, False)
        os.set_blocking(wake_write_fd, False)
        signal.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        self._signals = select.poll()  # not select, which takes no handle above 1023
        self._signals.register(self.wake_fd, select.POLLIN)
        self.command = 0
        """The pid of the command that runs, 0 if none does."""
        self.are_adopted = family.become_subreaper()
        """True if descendants that lose their parent become children of this process."""
        before = processes.children(os.getpid()) if self.are_adopted else []
        self.has_left = not all(each.has_ended for each in before)
        """False only if the system said so: there was no child beside the last command. A listing can miss one."""

    def before_start(self) -> family.AtStart:
        """Return what tells a command that is started now from what earlier ones left.

        The children are listed anew, because what an earlier command left may have started others and ended since.
        """
        if not self.has_left:
            return family.AtStart(None, 0, self.are_adopted)
        earlier = frozenset(each.key for each in processes.children(os.getpid()) if not each.has_ended)
        return family.AtStart(earlier, processes.now(), self.are_adopted)

    def drain(self) -> None:
        """Empty the wake-up pipe. If no command runs, reap; otherwise the command's process does that."""
        os.read(self.wake_fd, 512)
        if not self.command:  # something that an earlier command has left has ended
            self.reap()

    def reap(self) -> tuple[int | None, bool]:
        """Reap all children that have ended, orphans too.

        Returns:
            The status of the command, or None if it runs; and whether there are other children.
        """
        status = None
        while True:
            try:
                pid, found = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if self.command and status is None:
                    raise
                return status, False
            if not pid:
                return status, True
            if pid == self.command:
                status = found

    def forget_command(self, *, has_left: bool) -> None:
        """Note that the command is reaped; `has_left` is True if there are other children."""
        self.command = 0
        self.has_left = has_left

    def has_any(self) -> bool:
        """Return whether a child lives, when the command is reaped. Reaps those that have ended.

        One that has ended and is not reaped would say nothing of the others.
        """
        return self.reap()[1]

    @staticmethod
    def has_ended(pid: int) -> bool:
        """Return whether a child has ended; does not reap it."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            found = processes.find(pid)
            return found is None or found.has_ended
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def pause(self) -> None:
        """Wait for 20 ms, or until a child has ended."""
        self._signals.poll(_LOOK_EVERY_MS)
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake_fd, 512)


def _ignore(_number: int, _frame: object) -> None:
    """A handler must exist for a signal to arrive in the wake-up pipe."""
