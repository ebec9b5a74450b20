"""The names that most waiting jobs have, taken thousands at once: counted, and the first of them kept. Computes only.

`model.names` parses a name in full in some microseconds, several times per snapshot. Here one regular expression
splits a whole step of a listing (10,000 names with a priority: 6 ms instead of 140 ms). It knows the names that
queuectl gives: `ID,prio=9,by=anna.json` with a generated id, `ID,in=...` and `ID,due=...` with any plain id. Every
other name is left to the full parser.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict

from queuectl.model import names, order, times
from queuectl.model.run_order import NO_TURNS, Turns
from queuectl.monitor.order import next_to_run

_DATE = (  # the 29th of February is left to the full parser
    r"\d{4}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])(?:29|30)|(?:0[13578]|1[02])31)"
)
_TIME = r"(?:[01]\d|2[0-3])[0-5]\d[0-5]\d"
# No dot and no underscore, so that no name looks like that of an unfinished file.
_TAIL = r"(?:,prio=-?\d{1,6})?(?:,by=[A-Za-z0-9][A-Za-z0-9-]{0,31})?\.json"
_USUAL = re.compile(
    rf"^(?:([0-9]{{8}}-[0-9]{{6}}-[0-9]{{6}}-[0-9a-z]{{4}})({_TAIL})"
    rf"|([A-Za-z0-9][A-Za-z0-9-]{{0,99}}),"
    rf"(?:in=({_DATE})T({_TIME})\.(\d{{6}})Z|due=({_DATE}T{_TIME}(?:\.\d{{3}})?)Z)({_TAIL}))$",
    re.MULTILINE | re.ASCII,
)
_PLAIN = ".json"
# At least 8 characters, because names of devices are shorter.
_PLAIN_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9-]{7,99}\.json$", re.MULTILINE | re.ASCII)
# With more names than this in memory, only the first of all lines are kept on.
_KEPT = 5000


def split_plain(listed: list[str]) -> tuple[list[str], list[str]]:
    """Split names of running/, done/ or dlq/ into plain ids, which are jobs for sure, and all others."""
    text = "\n".join(listed)
    if text.count("\n") != len(listed) - 1:
        return [], listed  # a line feed in a name
    plain: list[str] = _PLAIN_ID.findall(text)
    if len(plain) == len(listed):
        return plain, []
    known = set(plain)
    return plain, [name for name in listed if name not in known]


class UsualNames:
    """The usual names of one listing of pending/.

    The first `rows` that run next are kept, and the first `dues` of those that are due later.
    """

    def __init__(self, now_at: float, *, rows: int, dues: int) -> None:
        stamp = names.stamp(now_at)
        self._now = f"{stamp[:8]}T{stamp[9:15]}.{stamp[16:19]}"
        self._now_at = now_at
        self._rows = rows
        self._dues = dues
        self._lines: dict[str, list[str]] = {}
        """The first keys of the order of runs, by the end of the name: priority and owner."""
        self._first: list[tuple[str, str]] = []
        self._last = ""
        self.ready = self.later = 0
        self.oldest_key = ""
        """See `order.arrival_key`."""
        self.ends: Counter[str] = Counter()
        """How many names have an end: priority and owner."""

    def add_generated(self, listed: list[str]) -> None:
        """Take in plain generated names."""
        if listed:
            self._take({_PLAIN: listed})

    def take_out(self, listed: list[str]) -> tuple[list[str], list[str]]:
        """Take the usual names out of some; return the others, and the names taken that may be drops."""
        dropped, listed = order.split_timed(listed)
        if dropped:
            self._take_timed(dropped)
        if not listed:
            return [], dropped
        text = "\n".join(listed)
        if text.count("\n") != len(listed) - 1:
            return listed, dropped  # a line feed in a name
        taken: set[str] = set()
        keys: defaultdict[str, list[str]] = defaultdict(list)
        dues: list[tuple[str, str]] = []
        for generated, end, stem, day, clock, micro, due, other_end in _USUAL.findall(text):
            if generated:
                name = f"{generated}{end}"
                keys[end].append(name)
            elif due:
                if due <= self._now:
                    continue  # about now: the full parser knows
                name = f"{stem},due={due}Z{other_end}"
                dues.append((due, name))
                self.ends[other_end] += 1
            else:
                name = f"{stem},in={day}T{clock}.{micro}Z{other_end}"
                keys[other_end].append(order.key_at(f"{day}-{clock}-{micro}", name))
                dropped.append(name)
            taken.add(name)
        self._take(keys)
        if dues:
            self.later += len(dues)
            self._first = heapq.nsmallest(self._dues, [*self._first, *dues])
            self._last = max(self._last, max(dues)[0])
        return ([] if len(taken) == len(listed) else [name for name in listed if name not in taken]), dropped

    def _take_timed(self, timed: list[str]) -> None:
        """Take in names that `order.split_timed` has found. Make keys only of those that can run among the first."""
        line = self._lines.get(_PLAIN, ())
        if not self._rows or len(line) < self._rows:
            self._take({_PLAIN: order.keys_of_timed(timed)})
            return
        stamps = list(map(order.stamp_of_timed, timed))
        oldest, last = min(stamps), order.timed_stamp(max(line))
        early = [name for name, stamp in zip(timed, stamps, strict=True) if stamp <= last or stamp == oldest]
        others = len(timed) - len(early)
        self.ready += others
        self.ends[_PLAIN] += others
        self._take({_PLAIN: order.keys_of_timed(early)})

    def _take(self, keys: dict[str, list[str]]) -> None:
        """Take in keys by the ends of their names."""
        for end, fresh in keys.items():
            self.ready += len(fresh)
            self.ends[end] += len(fresh)
            first = min(fresh)
            self.oldest_key = first if not self.oldest_key or first < self.oldest_key else self.oldest_key
            if self._rows:
                self._lines[end] = heapq.nsmallest(self._rows, [*self._lines.get(end, ()), *fresh])
        if sum(map(len, self._lines.values())) > max(_KEPT, 4 * self._rows):
            kept = set(self.nexts())
            self._lines = {
                end: found
                for end, line in self._lines.items()
                if (found := [key for key in line if order.name_of(key) in kept])
            }

    def nexts(self, others: list[str] | None = None, turns: Turns = NO_TURNS) -> list[str]:
        """Return the names that run next, in that order, with `others` that could run."""
        found = [order.name_of(key) for line in self._lines.values() for key in line]
        return next_to_run([*(others or []), *found], self._now_at, self._rows, turns)

    def first(self) -> list[tuple[float, str]]:
        """Return the names that are due next, with their instants."""
        found = ((times.from_name(f"{due}Z"), name) for due, name in self._first)
        return [(due_at, name) for due_at, name in found if due_at is not None]

    @property
    def last_due_at(self) -> float | None:
        """When the last name is due, or None."""
        return times.from_name(f"{self._last}Z") if self._last else None
