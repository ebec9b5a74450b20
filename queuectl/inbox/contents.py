"""Compute the SHA-256 of claimed files, piece by piece, for inboxes with `unique = "content"`.

FORMAT.md, "Equal content", has the rules. A large file is read between two polls, some megabytes at a time, so it keeps
neither the other files of its inbox nor the supervisor waiting. Each file is read through one handle in working/, where
no other user can exchange it. What is read here is lost with the process: the next one gives the file back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from queuectl.inbox.file_box import ClaimedError, FileBox, Seen
from queuectl.system import files

SMALL_BYTES = 8 * 1024 * 1024
"""A file up to this size is read at once when it is taken."""
_A_POLL_BYTES = 64 * 1024 * 1024
"""So much is read of small files in one poll; others wait for the next one."""
_A_SLICE_BYTES = 16 * 1024 * 1024
"""So much of a larger file is read between two looks at the pipe of the supervisor."""
_AT_ONCE = 4
"""So many larger files are read at once, and are in working/ without a job meanwhile."""
_PIECE_BYTES = 1024 * 1024


def key_of(owner: str, digest: str) -> str:
    """Return the unique key of a content, by its SHA-256 in hexadecimal digits. The owner keeps inboxes apart."""
    return f"{owner}:content-{digest}"


def digest_of(path: str) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal digits. Raises as `files.read`."""
    fd = files.open_to_read(path)
    try:
        reading = _Reading(Claimed("", "", Seen(files.facts(fd, 0).sig, 0)), fd)
        while not reading.read(_A_SLICE_BYTES, lambda: None):
            pass
        return reading.digest()
    finally:
        os.close(fd)


class Claimed(NamedTuple):
    """A file in working/ whose job is not made yet."""

    job_id: str
    name: str
    found: Seen


class Read(NamedTuple):
    """A file that was read: its SHA-256; or why it is not known, as the end of a sentence."""

    claimed: Claimed
    digest: str
    why: str = ""


class Contents:
    """The files of one inbox that are being read. `beat` is called between two pieces."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._readings: list[_Reading] = []
        self._ended: list[Read] = []
        self._room = _A_POLL_BYTES

    @property
    def has_work(self) -> bool:
        """Whether a file is not read to its end yet."""
        return bool(self._readings)

    @property
    def under_way(self) -> list[Claimed]:
        """The files that are being read."""
        return [reading.claimed for reading in self._readings]

    def begin_poll(self) -> None:
        """Begin a poll, which may read some small files."""
        self._room = _A_POLL_BYTES

    def has_room(self, size: int) -> bool:
        """Return whether one more file of this size may be claimed now."""
        return self._room >= size if size <= SMALL_BYTES else len(self._readings) < _AT_ONCE

    def begin(self, box: FileBox, claimed: Claimed) -> None:
        """Open a claimed file; read a small one at once. `next_ended` has the result. Raises ClaimedError, OSError."""
        fd = box.open_claimed(claimed.job_id, claimed.name)
        reading = _Reading(claimed, fd)
        if not reading.is_unchanged():
            os.close(fd)
            raise ClaimedError("it was changed just now")
        self._readings.append(reading)
        if claimed.found.sig.size <= SMALL_BYTES:
            self._room -= claimed.found.sig.size
            self._read(reading, SMALL_BYTES + 1)

    def work(self) -> bool:
        """Read a slice of one file, the next time one of the next file; return whether that was the end of a file."""
        if not self._readings:
            return False
        reading = self._readings.pop(0)
        self._readings.append(reading)
        return self._read(reading, _A_SLICE_BYTES)

    def next_ended(self) -> Read | None:
        """Return a file that was read to its end, each once; None if there is none."""
        return self._ended.pop(0) if self._ended else None

    def close(self) -> list[Claimed]:
        """Close all handles; return the files that were being read, or read and not fetched."""
        left = [*self.under_way, *(read.claimed for read in self._ended)]
        for reading in self._readings:
            os.close(reading.fd)
        self._readings, self._ended = [], []
        return left

    def _read(self, reading: _Reading, at_most: int) -> bool:
        """Read a slice of a file; return whether that was its end."""
        try:
            if not reading.read(at_most, self._beat):
                return False
            why = ""
        except OSError as error:
            why = f"it cannot be read: {error.strerror or error}"
        self._readings.remove(reading)
        os.close(reading.fd)
        self._ended.append(Read(reading.claimed, "" if why else reading.digest(), why))
        return True


class _Reading:
    """One file and what has been read of it."""

    def __init__(self, claimed: Claimed, fd: int) -> None:
        import hashlib  # few inboxes need this

        self.claimed = claimed
        self.fd = fd
        self._hash = hashlib.sha256()
        self._offset = 0

    def read(self, at_most: int, beat: Callable[[], None]) -> bool:
        """Read up to so many bytes; return whether the file ends there. One that has grown does. Raises OSError."""
        until = self._offset + at_most
        while self._offset < until:
            beat()
            piece = files.read_at(self.fd, self._offset, _PIECE_BYTES)
            self._hash.update(piece)
            self._offset += len(piece)
            if not piece or self._offset > self.claimed.found.sig.size:
                return True
        return False

    def is_unchanged(self) -> bool:
        """Return whether the open file is the version that was claimed. Raises OSError."""
        return files.facts(self.fd, 0).sig == self.claimed.found.sig

    def digest(self) -> str:
        """Return the SHA-256 of what was read."""
        return self._hash.hexdigest()
