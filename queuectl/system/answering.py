"""Try whether something answers, without waiting for it forever: a call on a share that hangs may never return.

On Linux the call is made in a process of its own: a process cannot end, not even by SIGKILL, while a thread of it waits
for a file system in user space.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def which_answer(calls: Sequence[Callable[[], Any]], *, within_s: float) -> list[bool]:
    """Make all calls at once, and return of each whether it returned or raised within so many seconds.

    Their results and errors are dropped. On Linux call this in a process without other threads.
    """
    start = _in_process if sys.platform == "linux" else _in_thread
    waits = [start(call) for call in calls]
    until_s = time.monotonic() + within_s
    return [wait(max(0.0, until_s - time.monotonic())) for wait in waits]


def _in_thread(call: Callable[[], Any]) -> Callable[[float], bool]:
    import threading

    ended = threading.Event()

    def run() -> None:
        with contextlib.suppress(Exception):
            call()
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    return ended.wait


def _in_process(call: Callable[[], Any]) -> Callable[[float], bool]:
    assert sys.platform == "linux"  # for mypy, too
    from queuectl.system.forked import ForkedProcess

    def work() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):  # who reads our output to its end must not wait for this process
            os.dup2(null, fd)
        with contextlib.suppress(Exception):
            call()

    process = ForkedProcess(work)

    def wait(left_s: float) -> bool:
        process.join(left_s)
        has_ended = process.exitcode is not None
        process.kill()
        return has_ended

    return wait
