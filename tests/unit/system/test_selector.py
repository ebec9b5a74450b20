"""selector: which of many pipes can be read."""

from __future__ import annotations

import multiprocessing.connection
import signal
import sys
import threading
import time
from multiprocessing import Pipe

import pytest

from queuectl.system.selector import Selector


def test_what_has_something_or_has_ended_is_told() -> None:
    """Also an end without a word, which is how a dead worker is heard of; and nothing where the time is up."""
    selector = Selector()
    (near, far), (near2, far2) = Pipe(), Pipe()
    assert selector.wait([near, near2], 0) == []
    far2.send("x")
    assert selector.wait([near, near2], 5) == [near2]
    assert selector.wait([near, near2], 5) == [near2]  # until it is read
    near2.recv()
    far.close()
    assert selector.wait([near, near2], 5) == [near]
    near.close()
    assert selector.wait([near2], 0) == []
    far2.close()
    assert selector.wait([near2], 5) == [near2]
    near2.close()


def test_another_pipe_with_the_same_number_is_another_source() -> None:
    """A worker that died and the one in its place may have the same descriptor."""
    selector = Selector()
    first, far = Pipe()
    number = first.fileno()
    assert selector.wait([first], 0) == []
    first.close()
    far.close()
    second, far = Pipe()
    far.send("x")
    assert selector.wait([second], 5) == [second], (number, second.fileno())
    second.close()
    far.close()


def test_ctrl_c_ends_a_wait_without_an_error() -> None:
    """P9: a signal whose handler returns is no failure of the wait, on Windows too, where it cuts the wait short."""
    selector = Selector()
    near, far = Pipe()
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: caught.append(number))
    press = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])
    try:
        press.start()
        deadline = time.monotonic() + 30
        while not caught:
            assert selector.wait([near], 0.2) == []
            assert time.monotonic() < deadline
    finally:
        press.join()
        signal.signal(signal.SIGINT, before)
        near.close()
        far.close()


def test_what_windows_does_at_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: the system's wait raises InterruptedError there, and the pool is to look at what the handler has left."""

    def interrupted(*_args: object) -> list[object]:
        raise InterruptedError(4, "Interrupted system call")

    near, far = Pipe()
    monkeypatch.setattr(multiprocessing.connection, "wait", interrupted)
    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        found = Selector().wait([near], 5)
    assert found == []
    near.close()
    far.close()


def test_what_windows_cannot_wait_for_is_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows waits for no empty list, and counts milliseconds in 32 bits: a job's limit may be a century."""
    waits: list[float] = []
    monkeypatch.setattr(multiprocessing.connection, "wait", lambda _sources, timeout_s: waits.append(timeout_s) or [])
    monkeypatch.setattr(time, "sleep", waits.append)
    near, far = Pipe()
    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        for sources in ([near], []):
            for timeout_s in (None, 100 * 365 * 86400.0, 2.5, -1.0):
                assert Selector().wait(sources, timeout_s) == []
    assert waits == [86400.0, 86400.0, 2.5, 0.0] * 2
    near.close()
    far.close()
