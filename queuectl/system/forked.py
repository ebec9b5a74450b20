"""A worker process that is a copy of its supervisor (Linux).

As much of multiprocessing's Process as a pool needs. That class leaks four handles each time that a fork fails, and it
flushes standard output first, which may be unwritable.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

assert sys.platform == "linux"  # tells mypy, too


class ForkedProcess:
    """A process that calls `work` and ends."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            _work_and_end(work)
        self._code: int | None = None

    @property
    def exitcode(self) -> int | None:
        """The exit code (negative: ended by that signal), or None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def join(self, timeout_s: float) -> None:
        """Wait for its end, at most for `timeout_s`."""
        with contextlib.suppress(OSError):
            if self.exitcode is None:
                pidfd = os.pidfd_open(self.pid)
                try:
                    ended = select.poll()  # not select, which takes no handle above 1023
                    ended.register(pidfd, select.POLLIN)
                    ended.poll(timeout_s * 1000)
                finally:
                    os.close(pidfd)
        _ = self.exitcode

    def kill(self) -> None:
        """Kill it."""
        if self.exitcode is None:
            os.kill(self.pid, signal.SIGKILL)


def _work_and_end(work: Callable[[], None]) -> NoReturn:
    """Call `work` in a forked process and end it. Never return to the parent's code, nor flush its files."""
    code = 1
    try:
        # The collector must not visit what the parent had: a visit copies the page, and there may be a million names.
        gc.freeze()
        work()
        code = 0
    except BaseException:
        with contextlib.suppress(Exception):
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(code)
