"""Keys that sign jobs, as files: NAME.key, one line of at least 43 printable characters.

32 random bytes in base64 or in hex make such a line. White space around it is ignored. `trust` judges who may read
the file; no message here shows a key.
"""

from __future__ import annotations

import re
import secrets

from queuectl.system import disk, files

ENDING = ".key"
# 32 bytes in base64 without padding; a password that a person made up is shorter or repeats its letters.
KEY_MIN_CHARS, KEY_MAX_BYTES, KEY_MIN_DIFFERENT = 43, 4096, 10
# No two dashes together and none at the end, so that NAME--ID can be split in only one way.
_NAME = re.compile(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_NAME_MAX_CHARS = 64
_KEY_TEXT = re.compile(r"[!-~]+")


def is_name(name: str) -> bool:
    """Return whether a key may have this name."""
    return len(name) <= _NAME_MAX_CHARS and _NAME.fullmatch(name) is not None


def read(path: str) -> bytes:
    """Return the key in a file.

    Raises:
        ValueError: the file holds no valid key; the message says why and never shows the content.
        OSError: the system call failed; `files.NotRegularError` for a link or a pipe.
    """
    content = files.read(path, KEY_MAX_BYTES)
    text = content.data.decode("ascii", "replace").strip()
    if content.oversize or not _KEY_TEXT.fullmatch(text):
        raise ValueError("a key is one line of printable characters, without spaces")
    if len(text) < KEY_MIN_CHARS or len(set(text)) < KEY_MIN_DIFFERENT:
        raise ValueError(f"a key has at least {KEY_MIN_CHARS} random characters")
    return text.encode("ascii")


def create(path: str) -> None:
    """Make a new key that only its owner can read.

    Raises:
        FileExistsError: the file exists; it stays unchanged.
        OSError: the system call failed.
    """
    disk.create(path, secrets.token_urlsafe(32).encode() + b"\n", sync=True, mode=disk.PRIVATE_MODE)
