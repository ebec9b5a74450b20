"""The board of a queue, kept open by a process that passes its gate: read, and change, its lines (see `boards`).

Each look at a board is one stat of its path, because another process may have put another file in its place, and one
read. Only the lines that have changed since the last look are parsed.
"""

from __future__ import annotations

import os

from queuectl.flows import boards
from queuectl.flows.boards import BLANK, LINE_BYTES
from queuectl.system import disk, files, inodes, sharing

# A line may be read while its owner blanks it; so many more readings tell a torn line from a broken board.
_MORE_READINGS = 2
# So many bytes are compared together, to find the lines that have changed.
_BLOCK_BYTES = 16 * LINE_BYTES
# Windows puts no other file in the place of one that is open.
_STAYS_OPEN = sharing.CAN_UNLINK_OPEN_FILES


class OpenBoard:
    """The board of one queue, as it was at the last look. Only the holder of the gate's lock may `look` and `take`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.leases: list[bytes] = []
        """The lease of each line; empty for a blank line."""
        self.keys: list[bytes] = []
        """The key of each line; empty for a blank line."""
        self._fd = -1
        self._inode = (0, 0)
        self._data = b""

    def look(self) -> bool:
        """Read the board; return False if it is lost or broken. Raises OSError."""
        size = self._find()
        if not LINE_BYTES <= size <= boards.MAX_BYTES:
            return False
        if self._parse(files.read_at(self._fd, 0, size + 1)):
            return True
        return any(self._parse(files.read_at(self._fd, 0, size + 1)) for _ in range(_MORE_READINGS))

    @property
    def outcomes(self) -> str:
        """How the last runs ended, as of the last look (see `boards`)."""
        return boards.outcomes_in(self._data) or ""

    def write_outcomes(self, outcomes: str) -> None:
        """Write the head after a look. Raises OSError."""
        disk.write_at(self._fd, boards.head_of(outcomes), 0)

    def line(self, index: int) -> bytes:
        """Return a line as it was at the last look."""
        return self._data[LINE_BYTES * (index + 1) : LINE_BYTES * (index + 2)]

    def write(self, index: int, line: bytes) -> None:
        """Write a line after a look. Raises OSError."""
        disk.write_at(self._fd, line, LINE_BYTES * (index + 1))

    def blank(self, index: int, line: bytes) -> bool:
        """Blank a line, without the lock, if it is still `line`; return False if it is not. Raises OSError.

        Only the holder of a lease writes its line. If the board was replaced, its file is another one.
        """
        if self._find() and files.read_at(self._fd, LINE_BYTES * (index + 1), LINE_BYTES) == line:
            disk.write_at(self._fd, BLANK, LINE_BYTES * (index + 1))
            return True
        return False

    def rest(self) -> None:
        """Close the board between two uses where it cannot stay open."""
        if not _STAYS_OPEN:
            self.close()

    def close(self) -> None:
        """Close the board."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _find(self) -> int:
        """Open the board that is at the path now, unless it is open; return its size (0: there is none)."""
        inode, size = inodes.inode_and_size(self.path)
        if self._fd >= 0 and inode == self._inode:
            return size
        self.close()
        if inode == (0, 0):
            return 0
        try:
            self._fd = disk.open_board(self.path)
        except FileNotFoundError:
            return 0
        self._inode, size = inodes.inode_and_size_of_open(self._fd)
        return size

    def _parse(self, data: bytes) -> bool:
        """Take a reading of the whole board over; return False if it is not a board."""
        if len(data) % LINE_BYTES or not boards.has_head(data):
            return False
        before, self._data = self._data, b""  # not to be compared with if a line is broken
        if len(data) != len(before):
            before = b""
            self.leases = [b""] * (len(data) // LINE_BYTES - 1)
            self.keys = self.leases.copy()
        for block in range(LINE_BYTES, len(data), _BLOCK_BYTES):
            end = min(block + _BLOCK_BYTES, len(data))
            if data[block:end] == before[block:end]:
                continue
            for at in range(block, end, LINE_BYTES):
                line = data[at : at + LINE_BYTES]
                if line != before[at : at + LINE_BYTES] and not self._parse_line(at // LINE_BYTES - 1, line):
                    return False
        self._data = data
        return True

    def _parse_line(self, index: int, line: bytes) -> bool:
        if line == BLANK:
            self.leases[index] = self.keys[index] = b""
            return True
        fields = boards.fields_of(line)
        if fields is None:
            return False
        self.leases[index], self.keys[index] = fields[0], fields[1]
        return True
