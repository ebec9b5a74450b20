"""Makes foreign texts safe to show, so that they cannot control a terminal or deceive a reader. Computes only."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

# C0 and C1 controls, DEL, soft hyphen, marks that join, hide or reverse text, line separators, lone surrogates, tags
# and variation selectors. Compiled at the first use, because most texts are plain.
_UNSAFE = (
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
# Characters that need no quotes in any shell, and the space between words.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./- ")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def safe(text: str) -> str:
    r"""Return `text` on one line, with escapes (\n, \x1b, \u202e) for characters that control a terminal or deceive."""
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_UNSAFE, _escape, text)


def printed_lines(data: bytes, *, is_cut: bool) -> list[str]:
    """Return the lines that a command printed; an overwritten line (a progress bar) has its last state. Not yet safe.

    `is_cut` means that the data begins in the middle of a line, which is left out unless it is the only line.
    """
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in data.decode("utf-8", "replace").split("\n")]
    if is_cut and len(lines) > 1:
        del lines[0]
    return lines


def command_text(command: str | Sequence[str]) -> str:
    """Return a command on one line, as a person would type it on this system. Not yet safe."""
    if isinstance(command, str):
        return command
    text = " ".join(command)
    if _PLAIN.issuperset(text) and text.count(" ") == len(command) - 1 and "" not in command:
        return text  # most commands; a worker calls this for each start
    return " ".join(map(windows_word, command)) if sys.platform == "win32" else shlex.join(command)


def windows_word(value: str) -> str:
    """Return one argument of a Windows command line, by the rules of CommandLineToArgvW."""
    # Backslashes count only before a quote, where each is doubled.
    inner = re.sub(r'(\\*)"', r'\1\1\\"', value)
    return inner if inner and not re.search("[ \t]", inner) else '"' + re.sub(r"(\\+)$", r"\1\1", inner) + '"'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
