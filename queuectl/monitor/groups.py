"""Group jobs by tag and by owner, from names and from the records that a snapshot reads anyway. Computes only."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.monitor.rows import GroupRow

# Rows, at most; and tags of one job that count.
GROUPS = 50
TAGS = 20
_BY = ",by="


class Labels(NamedTuple):
    """The tags and the owner in a record. `owner` is "" if the job was counted by its name already."""

    state: str
    tags: tuple[str, ...]
    owner: str


def tag_rows(found: Iterable[Labels]) -> tuple[GroupRow, ...]:
    """Return the tags of most jobs."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for labels in found:
        for tag in dict.fromkeys(labels.tags):
            counted[tag][labels.state] += 1
    return _rows(counted)


def owner_rows(found: Iterable[Labels], waiting: Mapping[str, int]) -> tuple[GroupRow, ...]:
    """Return the owners of most jobs; `waiting` has the jobs in pending/ by owner."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for owner, jobs in waiting.items():
        counted[owner][PENDING] = jobs
    for labels in found:
        if labels.owner:
            counted[labels.owner][labels.state] += 1
    return _rows(counted)


def _rows(counted: Mapping[str, Counter[str]]) -> tuple[GroupRow, ...]:
    most = heapq.nsmallest(GROUPS, counted.items(), key=lambda pair: (-pair[1].total(), pair[0]))
    return tuple(GroupRow(name, each[PENDING], each[RUNNING], each[DONE], each[DLQ]) for name, each in most)


class OwnersOfNames:
    """Counts the owners that names in pending/ tell. A name is not parsed, but only its end."""

    def __init__(self) -> None:
        self._ends: Counter[str] = Counter()

    def add(self, listed: Iterable[str]) -> None:
        """Count some names."""
        self._ends.update(name.rpartition(_BY)[2] for name in listed if _BY in name)

    def add_ends(self, counted: Mapping[str, int]) -> None:
        """Count names by their ends, as `UsualNames.ends` has them."""
        for end, jobs in counted.items():
            if _BY in end:
                self._ends[end.rpartition(_BY)[2]] += jobs

    def jobs(self) -> dict[str, int]:
        """Return the jobs by owner."""
        found: Counter[str] = Counter()
        for end, jobs in self._ends.items():
            parts = names.parse(f"x{_BY}{end}")
            if parts is not None and parts.owner:
                found[parts.owner] += jobs
        return dict(found)
