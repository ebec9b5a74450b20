"""How far long work is: one line that changes on a terminal, a line every ten seconds elsewhere. On stderr."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType

from queuectl.cli.terminal import printing

_LIVE_EVERY_S = 1.0
_TELL_EVERY_S = 10.0


class Progress:
    """What the person sees meanwhile. What takes less than a second (elsewhere: ten) is done without a word.

    Used in a `with`, which takes the line away at its end; `clear` does so before anything else is printed.
    """

    def __init__(self) -> None:
        self._is_live = printing.is_terminal(sys.stderr)
        self._began_s = self._told_s = time.monotonic()
        self._shown = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()

    @property
    def passed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

    def tell(self, text: Callable[[], str]) -> None:
        """Say how far it is, where it is time to: `text` is only asked then, and makes what is foreign in it safe."""
        now_s = time.monotonic()
        if now_s - self._told_s < (_LIVE_EVERY_S if self._is_live else _TELL_EVERY_S):
            return
        self._told_s = now_s
        if not self._is_live:
            printing.message(text())
            return
        shown = text()[: shutil.get_terminal_size().columns - 1]
        print("\r" + shown.ljust(self._shown), end="", file=sys.stderr, flush=True)
        self._shown = len(shown)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
