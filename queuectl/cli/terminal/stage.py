"""A terminal while `queuectl top` has it: its keys, its other screen, and the signals that end that.

It is put back on every end: q, Ctrl-C, a signal, an error, a window that was closed. Only a kill that no program hears
of leaves it as it is; `reset` puts it right then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType, TracebackType

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from queuectl.cli.terminal.keys import Keyboard


class Killed(BaseException):
    """A signal asked this program to end: everything is put back on the way out, then it takes effect."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


_END_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stage:
    """The terminal while it is ours, inside a `with`: its keys, its other screen, and the signals that end that."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, emoji=False, markup=False)
        self._live = self._new_live()
        self._keyboard = Keyboard()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stage:
        for signum in _END_SIGNALS:
            self._before[signum] = signal.signal(signum, self._end)
        if sys.platform != "win32":
            self._before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing interrupts this: a second Ctrl-C would leave a screen without a cursor.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for signum in self._before:
            signal.signal(signum, signal.SIG_IGN)
        self._close()
        for signum, handler in {**self._before, signal.SIGINT: interrupt}.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def keys(self, patience_s: float) -> list[str]:
        """Return the keys that were pressed, at the latest after `patience_s`."""
        return self._keyboard.read(patience_s)

    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        found = os.get_terminal_size(sys.stdout.fileno())
        # The old Windows console goes to the next line after the last column.
        return max(1, found.columns - self._console.legacy_windows) or 80, found.lines or 24

    def show(self, lines: Sequence[Text]) -> None:
        """Draw these lines over what is there."""
        self._console.size = ConsoleDimensions(*self.size())
        self._live.update(Group(*lines), refresh=True)

    def _new_live(self) -> Live:
        # What else is printed meanwhile is nobody's: rich is not to catch it.
        return Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )

    def _open(self) -> None:
        self._keyboard.take()
        self._live.start()

    def _close(self) -> None:
        # If the window is gone, there is nothing to restore, and nobody reads an error.
        with contextlib.suppress(OSError):
            self._live.stop()
        self._keyboard.restore()

    def _end(self, signum: int, _frame: FrameType | None) -> None:
        for each in _END_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Killed(signum)

    def _suspend(self, _signum: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets the terminal as it was, and `fg` brings the screen back."""
        if sys.platform != "win32":
            self._close()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._live = self._new_live()
            self._open()
