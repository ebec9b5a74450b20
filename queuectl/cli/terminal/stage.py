"""The terminal while `queuectl top` has it: which driver of Textual draws on it, and the signals that end that.

Textual puts the terminal back after its app has ended, however it ended. So a signal ends the app first and takes
effect afterwards. Only a kill that no program can catch leaves the terminal as it is; `reset` puts it right then.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError

if TYPE_CHECKING:
    from textual.driver import Driver

END_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)]


@contextlib.contextmanager
def ended_by(end: Callable[[int], None]) -> Iterator[None]:
    """Call `end` with the number of the first signal that asks this program to end; ignore further ones."""

    def handle(signum: int, _frame: FrameType | None) -> None:
        for each in END_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        end(signum)

    before = {signum: signal.signal(signum, handle) for signum in END_SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def take_effect(signum: int) -> None:
    """Let a signal do what it does to every program."""
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)


if sys.platform == "win32":
    from textual.drivers import win32

    def driver() -> type[Driver] | None:
        """Return the driver for this terminal: Textual's own.

        Raises:
            QueuectlError: standard input and output are no console that understands escape sequences.
        """
        keys, screen = (win32.get_console_mode(stream) for stream in (sys.stdin, sys.stdout))
        # A null device says that it is a terminal, too.
        if not keys or not screen or not _has_sequences(screen):
            raise QueuectlError(
                "`queuectl top` needs a Windows console with a keyboard and a screen",
                cause="standard input or output is none, or the console is older than Windows 10",
                hint="use Windows Terminal, or `queuectl status`",
            )
        return None

    def _has_sequences(mode: int) -> bool:
        done = win32.set_console_mode(sys.stdout, mode | win32.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
        win32.set_console_mode(sys.stdout, mode)
        return done

else:
    from textual.drivers.linux_driver import LinuxDriver

    class _Output:
        """Standard output, which Textual replaces for the app. Once the terminal is gone, writing does nothing."""

        def __init__(self) -> None:
            self._stream = sys.stdout

        def write(self, text: str) -> None:
            with _without_terminal():
                self._stream.write(text)

        def flush(self) -> None:
            with _without_terminal():
                self._stream.flush()

        def fileno(self) -> int:
            return self._stream.fileno()

    @contextlib.contextmanager
    def _without_terminal() -> Iterator[None]:
        try:
            yield
        except OSError:
            printing.silence()

    class _Driver(LinuxDriver):
        """Draws on standard output, where Textual's own takes standard error, and ends the app without a terminal."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            self._file = _Output()  # type: ignore[assignment]

        def disable_input(self) -> None:
            """Read no more keys; what was typed and not read is thrown away, but not what is typed afterwards.

            Textual asks again when the terminal is the shell's already.
            """
            if self._key_thread is not None:
                super().disable_input()
                self._key_thread = None

        def _run_input_thread(self) -> None:
            try:
                self.run_input_thread()
            except OSError:
                self._app.call_later(self._app.exit, None, 1)

    def driver() -> type[Driver] | None:
        """Return the driver for this terminal."""
        return _Driver
