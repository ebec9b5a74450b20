"""The order of runs: what waiting names are sorted by, and lines of names that are sorted so. Computes only.

Higher priority first. Within a priority one instant decides, the earlier first: the due time of a job that waited for
one, else its arrival. A name tells that instant: by its flag `due` or `in`, or by the generated id that it begins with.
Two names of one instant go by name. A name that tells no instant (a drop that nobody has looked at) has that of the
first look.

A key is a text that sorts so within a priority. Names that begin with a generated id are their own keys, so that a
million of them cost no memory and no parsing; the others' keys are the stamp of the instant and the name.
"""

from __future__ import annotations

import heapq
from collections import deque

from queuectl.model import names

# A key that begins so comes before all stamps.
_FIRST = "\0"
# In a key the name comes after this; a name cannot hold it.
_NAME = "\0"
_MERGE_FROM = 64


def key_of(name: str, parts: names.NameParts | None) -> str:
    """The key of a name that tells its instant, else ""."""
    if parts is None:
        return ""
    if parts.due_at is not None:
        return key_at(names.stamp(parts.due_at), name)
    if parts.arrived:
        return key_at(parts.arrived, name)
    return name if names.is_generated(parts.stem) else ""


def key_at(stamp: str, name: str) -> str:
    """The key of a name for the instant that a stamp tells. Of one instant, also generated ids go by name."""
    return f"{stamp}{_NAME}{name}" if name < stamp else f"{stamp}\x7f{_NAME}{name}"


def key_before_all(name: str, number: int) -> str:
    """A key that comes before those of all instants. With another number it is another key of the same name."""
    return f"{_FIRST}{number:08x}{_NAME}{name}"


def name_of(key: str) -> str:
    """The name that a key was made of."""
    return key.rpartition(_NAME)[2]


class Line:
    """Keys in order; what is put first comes before them. Adding a sorted list that lies behind costs only its length.

    `gone` are keys that are passed over: whoever adds to it takes a key out of the middle. The line takes a key out of
    `gone` when it comes to it. So each key is put in once: of two that are equal only one could be taken out.
    """

    __slots__ = ("_first", "_gone", "_late", "_sorted")

    def __init__(self, gone: set[str]) -> None:
        self._gone = gone
        self._first: list[str] = []  # the last one is the next
        self._sorted: deque[str] = deque()
        self._late: list[str] = []  # a heap of keys that came after later ones

    def __len__(self) -> int:
        return len(self._first) + len(self._sorted) + len(self._late)

    def add(self, keys: list[str]) -> None:
        """Put in keys, in order already."""
        if not keys:
            return
        if not self._sorted or self._sorted[-1] <= keys[0]:
            self._sorted.extend(keys)
        elif len(keys) < _MERGE_FROM:
            for key in keys:
                heapq.heappush(self._late, key)
        else:
            self._sorted = deque(sorted([*self._sorted, *keys]))  # two runs that are sorted: merged, not sorted anew

    def add_first(self, key: str) -> None:
        """Put a key before all others."""
        self._first.append(key)

    def pop(self) -> str | None:
        """The next key, or None where there is none."""
        while True:
            if self._first:
                key = self._first.pop()
            elif self._late and not (self._sorted and self._sorted[0] <= self._late[0]):
                key = heapq.heappop(self._late)
            elif self._sorted:
                key = self._sorted.popleft()
            else:
                return None
            if key not in self._gone:
                return key
            self._gone.discard(key)
