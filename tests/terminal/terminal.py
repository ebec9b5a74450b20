"""Real programs on a real terminal: a pseudo terminal, and pyte, which makes of their bytes what a person would see."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pty
import signal
import struct
import sys
import termios
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from typing import Any

import pyte

ENTER, TAB, ESCAPE, UP, DOWN, CTRL_C, CTRL_Z = "\r", "\t", "\x1b", "\x1b[A", "\x1b[B", "\x03", "\x1a"
ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"
HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A program on a terminal of its own, with a keyboard to type on and a screen to read."""

    def __init__(self, argv: list[str], *, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None):
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # The size is there before the program asks for it.
            set_size(0, columns, lines)
            for name in ("COLUMNS", "LINES", "NO_COLOR"):
                os.environ.pop(name, None)
            os.environ.update({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})})
            os.execvp(argv[0], argv)
        self._code: int | None = None

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.fd, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Another size of the window, which the program is told of as by a real one."""
        self.screen.resize(lines, columns)
        set_size(self.fd, columns, lines)

    def settings(self) -> list[Any]:
        """How the terminal takes keys."""
        return termios.tcgetattr(self.fd)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, *texts: str, gone: str = "", timeout: float = 60.0) -> str:
        """Read until the screen shows all of `texts`, and `gone` no more; returns it."""
        deadline = time.monotonic() + timeout
        while not all(text in self.text for text in texts) or (gone and gone in self.text):
            left_s = deadline - time.monotonic()
            assert left_s > 0 and self._read(left_s), f"no {texts} (gone: {gone!r}) on the screen:\n{self.text}"
        return self.text

    def wait_for_row(self, text: str, below: str = "", timeout: float = 60.0) -> None:
        """Read until a line that begins with `text` has another background than most; the line above has `below`."""
        deadline = time.monotonic() + timeout
        while not any(
            text in shown[:20] and below in above and self._stands_out(line)
            for line, (above, shown) in enumerate(itertools.pairwise(["", *self.screen.display]))
        ):
            left_s = deadline - time.monotonic()
            assert left_s > 0 and self._read(left_s), f"no row {text!r} is selected:\n{self.text}"

    def _stands_out(self, line: int) -> bool:
        backgrounds = Counter(self.screen.buffer[each][0].bg for each in range(self.screen.lines))
        return self.screen.buffer[line][0].bg != backgrounds.most_common(1)[0][0]

    def wait_for_bytes(self, data: bytes, since: int = 0, timeout: float = 60.0) -> None:
        """Read until the program has sent `data`, counted from byte `since`."""
        deadline = time.monotonic() + timeout
        while data not in self.raw[since:]:
            left_s = deadline - time.monotonic()
            assert left_s > 0 and self._read(left_s), f"{data!r} was not sent:\n{self.text}"

    def end(self, timeout: float = 60.0) -> int:
        """Wait for the program's end; its exit code, negative for a signal."""
        deadline = time.monotonic() + timeout
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        return self._wait()

    def close(self) -> None:
        """Close the window; a program that goes on without one is ended."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._wait()

    def close_window(self, timeout: float = 60.0) -> int:
        """Close the window, and wait for the program's end; its exit code, negative for a signal."""
        os.close(self.fd)
        self.fd = -1
        deadline = time.monotonic() + timeout
        while (found := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < deadline, "it goes on without a window"
            time.sleep(0.01)
        self._code = os.waitstatus_to_exitcode(found[1])
        return self._code

    def _wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def _read(self, timeout: float) -> bool:
        """Read what there is, once there is something; False at the end."""
        if not wait([self.fd], timeout):
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False  # how Linux tells that nobody has the terminal open any more
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def set_size(fd: int, columns: int, lines: int) -> None:
    """The size of a terminal."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextlib.contextmanager
def terminal(*argv: str, **options: Any) -> Iterator[Terminal]:
    """A program on a terminal, ended at the end of the `with`."""
    made = Terminal(list(argv), **options)
    try:
        yield made
    finally:
        made.close()


def queuectl(*words: str, **options: Any) -> contextlib.AbstractContextManager[Terminal]:
    """`python -m queuectl` on a terminal."""
    return terminal(sys.executable, "-m", "queuectl", *words, **options)
