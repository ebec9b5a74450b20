"""The keys of a terminal, one by one, without waiting for Enter; the only module that changes how a terminal reads.

POSIX terminals send a key as bytes, special ones as an escape sequence; a Windows console gives characters, special
ones in two parts. Both come out as names: `q`, `up`, `enter`, `escape`. Ctrl-C stays what it is: KeyboardInterrupt.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

# The rest of an escape sequence follows its first byte at once, a person's next key does not. A slow line may need it.
_REST_S = 0.05
# A Windows console cannot be waited for with a limit: it is asked this often.
_ASK_S = 0.02
_READ_BYTES = 256

_SEQUENCES = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NUMBERED = {"1": "home", "4": "end", "5": "page up", "6": "page down", "7": "home", "8": "end"}
_PLAIN = {"\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "backspace", "\x08": "backspace"}
_SCAN_CODES = {
    "H": "up",
    "P": "down",
    "M": "right",
    "K": "left",
    "G": "home",
    "O": "end",
    "I": "page up",
    "Q": "page down",
}


class TerminalGoneError(OSError):
    """The terminal was closed: no key will come any more."""


def names_of(text: str) -> list[str]:
    """Return the keys in what a POSIX terminal sent; a sequence that is not known is left out."""
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "\x1b" and text[at + 1 : at + 2] in ("[", "O"):
            end = at + 2
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            final, inner = text[end : end + 1], text[at + 2 : end]
            name = _NUMBERED.get(inner.partition(";")[0], "") if final == "~" else _SEQUENCES.get(final, "")
            at = end + 1
        else:
            character = text[at]
            name = _PLAIN.get(character, character if character.isprintable() else "")
            at += 1
        if name:
            found.append(name)
    return found


if sys.platform == "win32":
    import msvcrt

    class Keyboard:
        """The console's keys, inside a `with`."""

        def __enter__(self) -> Keyboard:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            self.restore()

        def take(self) -> None:
            """Nothing is to be set."""

        def restore(self) -> None:
            """Nothing is to be put back."""

        def read(self, patience_s: float) -> list[str]:
            """Return the keys that were pressed, at the latest after `patience_s`.

            Raises:
                KeyboardInterrupt: Ctrl-C.
            """
            deadline = time.monotonic() + patience_s
            while not msvcrt.kbhit():
                if time.monotonic() >= deadline:
                    return []
                time.sleep(_ASK_S)
            character = msvcrt.getwch()
            if character == "\x03":
                raise KeyboardInterrupt
            if character in ("\x00", "\xe0"):
                name = _SCAN_CODES.get(msvcrt.getwch(), "")
                return [name] if name else []
            return names_of(character)

else:
    import select
    import termios
    import tty

    class Keyboard:
        """The terminal's keys, inside a `with`; it reads by lines again afterwards, however that ends."""

        def __init__(self) -> None:
            self._fd = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._fd)

        def __enter__(self) -> Keyboard:
            self.take()
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            self.restore()

        def take(self) -> None:
            """Get each key as it is pressed, and show none of them."""
            tty.setcbreak(self._fd, termios.TCSADRAIN)

        def restore(self) -> None:
            """Put the terminal back as it was. What was typed and not read is thrown away: it was meant for us."""
            try:
                termios.tcsetattr(self._fd, termios.TCSAFLUSH, self._before)
            except termios.error:
                return  # it is closed

        def read(self, patience_s: float) -> list[str]:
            """Return the keys that were pressed, at the latest after `patience_s`.

            Raises:
                TerminalGoneError: there is no terminal any more.
            """
            if not self._waits(patience_s):
                return []
            data = self._bytes()
            if data.endswith((b"\x1b", b"\x1b[", b"\x1bO")) and self._waits(_REST_S):
                data += self._bytes()
            return names_of(data.decode("utf-8", "ignore"))

        def _waits(self, patience_s: float) -> bool:
            return bool(select.select([self._fd], [], [], max(0.0, patience_s))[0])

        def _bytes(self) -> bytes:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except OSError as error:
                raise TerminalGoneError("the terminal is gone") from error
            if not data:
                raise TerminalGoneError("the terminal is gone")
            return data
