"""Shows the progress of long work on standard error: a changing line on a terminal, else a line every 10 s."""

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
    """Shows progress if the work takes longer than 1 s on a terminal, or 10 s elsewhere.

    Use it in a `with`, which removes the line at its end. Call `clear` before you print anything else.
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
        """The seconds since the beginning."""
        return time.monotonic() - self._began_s

    def tell(self, text: Callable[[], str]) -> None:
        """Print the progress if it is time for that. Only then call `text`, which makes foreign text safe."""
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
        """Remove the line."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
