"""Sorts waiting names into the order of runs: makes their keys, and lines of sorted keys. Computes only.

A higher priority comes first. Within a priority, the earlier instant comes first: the due time of a delayed job, else
the arrival. The name contains that instant: in its flag `due` or `in`, or in the generated id at its beginning. Names
with the same instant are sorted by name. A name without an instant (a drop that was not judged yet) has the instant at
which it was first listed.

A key is a text that sorts in this order within a priority. Names that begin with a generated id are their own keys, so
a million of them need no memory and no parsing. The keys of other names are the stamp of the instant and the name.
"""

from __future__ import annotations

import functools
import heapq
import operator
import re
from collections import deque

from queuectl.model import names

# A key that begins with this comes before all stamps.
_FIRST = "\0"
# In a key, the name follows this character, which no name can contain.
_NAME = "\0"
_MERGE_FROM = 64
# Of more keys than this, a line sorts only some thousand first ones before they are taken: a pool with a million
# waiting jobs starts the first command half a second earlier.
_LATER_FROM, _FIRST_KEYS = 50_000, 5000
# So many of them tell about where the first ones end.
_SAMPLE = 1000


def key_of(name: str, parts: names.NameParts | None) -> str:
    """Return the key of a name that contains its instant, else ""."""
    if parts is None:
        return ""
    if parts.due_at is not None:
        return key_at(names.stamp(parts.due_at), name)
    if parts.arrived:
        return key_at(parts.arrived, name)
    return name if names.is_generated(parts.stem) else ""


def key_at(stamp: str, name: str) -> str:
    """Return the key of a name for the instant of a stamp. Generated ids of one instant are sorted by name, too."""
    return f"{stamp}{_NAME}{name}" if name < stamp else f"{stamp}\x7f{_NAME}{name}"


def split_timed(listed: list[str]) -> tuple[list[str], list[str]]:
    """Split names of waiting files into those that `names.TIMED` matches, and all others.

    Searches thousands of names at once: a hundred thousand take 25 ms instead of 250 ms.
    """
    timed: list[str] = []
    others: list[str] = []
    for start in range(0, len(listed), names.SPLIT_AT_ONCE):
        some = listed[start : start + names.SPLIT_AT_ONCE]
        text = "\n".join(some)
        if ",in=" not in text or text.count("\n") != len(some) - 1:  # a line feed in a name
            others += some
            continue
        found = _timed_line().findall(text)
        timed += found
        if len(found) < len(some):
            known = set(found)
            others += [name for name in some if name not in known]
    return timed, others


@functools.cache
def _timed_line() -> re.Pattern[str]:
    return re.compile(f"^{names.TIMED.pattern.replace('(?:', '(').replace('(', '(?:')}$", re.MULTILINE)


def keys_of_timed(timed: list[str]) -> list[str]:
    """Return `key_of` of each of many names that `split_timed` has found: their ends are equally long."""
    stamps = [f"{name[-28:-20]}-{name[-19:-13]}-{name[-12:-6]}" for name in timed]
    return [
        f"{stamp}{_NAME}{name}" if name < stamp else f"{stamp}\x7f{_NAME}{name}"
        for stamp, name in zip(stamps, timed, strict=True)
    ]


stamp_of_timed = operator.itemgetter(slice(-28, -6))
"""Return the instant in a name that `split_timed` has found, as a text that sorts by time."""


def timed_stamp(key: str) -> str:
    """Return the instant in a key, as `stamp_of_timed` has it."""
    return f"{key[:8]}T{key[9:15]}.{key[16:22]}"


def key_before_all(name: str, number: int) -> str:
    """Return a key before the keys of all instants. Another number makes another key of the same name."""
    return f"{_FIRST}{number:08x}{_NAME}{name}"


def name_of(key: str) -> str:
    """Return the name in a key."""
    return key.rpartition(_NAME)[2]


class Line:
    """Keys in order, after the keys that were put first. Adding sorted later keys costs only their number.

    `pop` skips the keys in `gone` and removes them from it. So a caller removes a key from the middle by adding it to
    `gone`. No key is added twice, because only one of two equal keys could be removed.
    """

    __slots__ = ("_early", "_first", "_gone", "_late", "_sorted", "_unsorted")

    def __init__(self, gone: set[str]) -> None:
        self._gone = gone
        self._first: list[str] = []  # the last one comes next
        self._sorted: deque[str] = deque()
        self._late: list[str] = []  # a heap of keys that were added after later ones
        self._unsorted: list[str] = []  # very many keys in any order ...
        self._early = 0  # ... and how many of them, the first ones, are or were in _sorted

    def __len__(self) -> int:
        return len(self._first) + len(self._sorted) + len(self._late) + len(self._unsorted) - self._early

    def add(self, keys: list[str]) -> None:
        """Add keys in any order, in a list that the caller does not use any more."""
        if len(keys) >= _LATER_FROM and not self._sorted and not self._unsorted:
            sample = sorted(keys[:: len(keys) // _SAMPLE])
            last = sample[len(sample) * _FIRST_KEYS // len(keys)]
            self._sorted.extend(sorted(key for key in keys if key <= last))  # as fast in any order; a heap is not
            self._unsorted, self._early = keys, len(self._sorted)
            return
        keys.sort()
        if self._unsorted and len(keys) >= _MERGE_FROM:
            self._sort_rest()
        if not keys:
            return
        if not self._unsorted and (not self._sorted or self._sorted[-1] <= keys[0]):
            self._sorted.extend(keys)
        elif len(keys) < _MERGE_FROM:
            for key in keys:
                heapq.heappush(self._late, key)
        else:
            self._sorted = deque(sorted([*self._sorted, *keys]))  # two sorted runs: this only merges them

    def _sort_rest(self) -> None:
        """Sort the keys that were left unsorted, and place them after the first ones."""
        self._unsorted.sort()
        self._sorted.extend(self._unsorted[self._early :])
        self._unsorted, self._early = [], 0

    def add_first(self, key: str) -> None:
        """Put a key before all others."""
        self._first.append(key)

    def pop(self) -> str | None:
        """Return the next key, or None."""
        while True:
            if not self._sorted and self._unsorted:
                self._sort_rest()
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
