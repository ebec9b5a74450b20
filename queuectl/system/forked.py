"""A worker process that is a copy of its supervisor (Linux).

This is the part of multiprocessing's Process that a pool needs. That class leaks four handles each time a fork fails,
and it first flushes standard output, which may be unwritable.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

assert sys.platform == "linux"  # for mypy, too


class ForkedProcess:
    """A process that calls `work` and then ends."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            _work_and_end(work)
        self._code: int | None = None

    @property
    def exitcode(self) -> int | None:
        """The exit code (negative: ended by that signal), or None while the process runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the process, at most for `timeout_s`."""
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
        """Kill the process."""
        if self.exitcode is None:
            os.kill(self.pid, signal.SIGKILL)


def _work_and_end(work: Callable[[], None]) -> NoReturn:
    """Call `work` in a forked process, then end the process. Never return to the parent's code or flush its files."""
    code = 1
    try:
        # The garbage collector must not visit the parent's objects: a visit copies the page, of up to a million names.
        gc.freeze()
        work()
        code = 0
    except BaseException:
        with contextlib.suppress(Exception):
            import traceback  # 1 ms, for a defect only

            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(code)
