"""The outcomes that wait on a node until the pool has them: one file of lines (FORMAT.md, section 11; promise P4).

An outcome is a line, and so is its acknowledgement. A line that is torn or damaged counts as none. Nothing is fsynced
while the keeper runs, so after a power cut, or any boot that no stop of the keeper came before, no line is believed:
outputs may be older than the lines that name them. These runs count as lost and run again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from queuectl.cluster import protocol, wire
from queuectl.cluster.protocol import RunEnd
from queuectl.system import disk, files, outputs

_BOOT, _END, _ACK, _CLOSED = "boot", "end", "ack", "closed"
_MOST_BYTES = 256 * 1024 * 1024
# The file is written anew when it is longer than this, and most of it is acknowledged.
_LONG_BYTES = 256 * 1024
# An outcome that no pool has fetched for so long is deleted.
_KEPT_S = 30 * 86400.0


class Told(NamedTuple):
    """An outcome on disk, whose it is, and which place has its output (-1: none)."""

    session: str
    end: RunEnd
    place: int
    at: float = 0.0
    """When it was written, in seconds since 1970."""


class Ends:
    """The file, and what it says. `boot`: this boot of the machine."""

    def __init__(self, path: str, boot: str) -> None:
        self._path = path
        self._boot = boot
        self._kept: dict[str, Told] = {}
        self._unwritten: list[list[Any]] = []
        self._fd = -1
        self._size = 0

    def load(self) -> list[Told]:
        """Read what the last keeper left, and begin the file anew. Raises OSError."""
        boot, is_closed = "", False
        with contextlib.suppress(FileNotFoundError):
            for kind, *words in _lines(files.read(self._path, _MOST_BYTES).data):
                is_closed = kind == _CLOSED
                with contextlib.suppress(ValueError, TypeError):
                    if kind == _BOOT:
                        boot = str(words[0])
                    elif kind == _END:
                        at, session, place, text = words
                        end = wire.decode(RunEnd, text)
                        protocol.run_parts(end.run)
                        self._kept[end.run] = Told(str(session), end, int(place), float(at))
                    elif kind == _ACK:
                        self._kept.pop(words[0], None)
        if boot != self._boot and not is_closed:
            self._kept.clear()
        oldest = time.time() - _KEPT_S
        self._kept = {run: told for run, told in self._kept.items() if told.at >= oldest}
        self._begin(sync=True)
        return list(self._kept.values())

    def add(self, session: str, end: RunEnd, place: int) -> None:
        """Note an outcome; `flush` puts it on disk."""
        told = self._kept[end.run] = Told(session, end, place, time.time())
        self._unwritten.append(_as_line(told))

    def forget(self, run: str) -> Told | None:
        """Note that an outcome is acknowledged; return it. `flush` puts that on disk."""
        told = self._kept.pop(run, None)
        if told is not None:
            self._unwritten.append([_ACK, run])
        return told

    def find(self, run: str) -> Told | None:
        """Return an outcome that waits."""
        return self._kept.get(run)

    def flush(self) -> None:
        """Put on disk what was noted. Raises OSError: it is then written with the next call."""
        if not self._unwritten:
            return
        data = b"".join(map(_packed, self._unwritten))
        if self._size + len(data) > max(_LONG_BYTES, 2048 * len(self._kept)):
            self._begin(sync=False)
            return
        try:
            outputs.add(self._fd, data)
        except OSError:
            with contextlib.suppress(OSError):
                outputs.shorten(self._fd, self._size)
            raise
        self._size += len(data)
        self._unwritten.clear()

    def close(self) -> None:
        """Put everything on disk for certain, so that it is believed in the next boot. Raises OSError.

        The outputs must have been synced before.
        """
        self._unwritten.append([_CLOSED])
        self.flush()
        disk.sync_file(self._path)

    def _begin(self, *, sync: bool) -> None:
        """Write the file anew, with what is kept."""
        data = b"".join(map(_packed, [[_BOOT, self._boot], *map(_as_line, self._kept.values())]))
        disk.unlink(f"{self._path}.new")
        disk.create(f"{self._path}.new", data, sync=sync)
        disk.replace(f"{self._path}.new", self._path)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = outputs.open_file(self._path, keep=True)
        self._size = len(data)
        closed = [_CLOSED] in self._unwritten
        self._unwritten.clear()
        if closed:
            self._unwritten.append([_CLOSED])
            self.flush()


def _as_line(told: Told) -> list[Any]:
    return [_END, told.at, told.session, told.place, wire.encode(told.end)]


def _packed(words: list[Any]) -> bytes:
    text = json.dumps(words, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _lines(data: bytes) -> Iterator[list[Any]]:
    """Yield the lines that are whole."""
    for line in data.split(b"\n"):
        mark, _, text = line.partition(b" ")
        if mark == b"%08x" % zlib.crc32(text):
            with contextlib.suppress(ValueError):
                words = json.loads(text)
                if type(words) is list and words:
                    yield words
