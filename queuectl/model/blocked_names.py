"""Keeps the names of blocked jobs by the parent that each waits for. Computes only; part of the run queue.

Each blocked job names one parent, so jobs that wait for each other are a cycle of names (`cycles`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from queuectl.model import names

ALL = 10**9


class BlockedNames:
    """The names of blocked jobs that a pool knows."""

    def __init__(self) -> None:
        self.parent_of: dict[str, str] = {}
        """The parent of each name. Only this class changes it; a look into it costs no call."""
        self._pointer: dict[str, str] = {}  # the same by ids
        self._children: dict[str, list[str]] = {}  # may have names that are gone
        self._fresh: dict[str, None] = {}
        self._has_new = False
        self._unsorted: set[str] = set()
        self._ready: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.parent_of)

    def __contains__(self, name: str) -> bool:
        return name in self.parent_of

    def __iter__(self) -> Iterator[str]:
        return iter(self.parent_of)

    def add(self, name: str, parent: str) -> None:
        """Add a name that waits for a parent."""
        self.parent_of[name] = parent
        self._pointer[_stem(name)] = parent
        line = self._children.get(parent)
        if line is None:
            self._children[parent] = [name]
        else:
            if name < line[-1]:
                self._unsorted.add(parent)
            line.append(name)
        self._fresh[parent] = None
        self._has_new = True

    def add_many(self, some: list[str], parent: str) -> None:
        """Add names of a listing, in any order, that `split` has found for a parent."""
        ending = len(f"{names.AFTER}{parent}.json")
        self.parent_of.update(dict.fromkeys(some, parent))
        self._pointer.update(dict.fromkeys([name[:-ending] for name in some], parent))
        self._children.setdefault(parent, []).extend(some)
        self._unsorted.add(parent)
        self._fresh[parent] = None
        self._has_new = True

    def discard(self, name: str) -> None:
        """Remove a name, if it is here."""
        parent = self.parent_of.get(name)
        if parent is None:
            return
        self._drop(name)
        if not self.of(parent):
            del self._children[parent]

    def _drop(self, name: str) -> None:
        parent = self.parent_of.pop(name)
        if self._pointer.get(_stem(name)) == parent:
            del self._pointer[_stem(name)]

    def keep(self, listed: Iterable[str]) -> list[str]:
        """Remove the names that a listing does not have, and return them."""
        gone = list(self.parent_of.keys() - set(listed)) if self.parent_of else []
        for name in gone:
            self._drop(name)
        if gone:
            self._children = {parent: left for parent in self._children if (left := self.of(parent))}
        return gone

    def of(self, parent: str) -> list[str]:
        """Return the names that wait for a parent."""
        return [name for name in self._children.get(parent, ()) if self.parent_of.get(name) == parent]

    def is_awaited(self, parent: str) -> bool:
        """Return whether names may wait for a parent."""
        return parent in self._children

    def pop(self, parent: str, at_most: int = ALL) -> list[str]:
        """Remove names that wait for a parent, and return them. If some are left, the parent is fresh again."""
        line = self._children.pop(parent, [])
        self._fresh.pop(parent, None)
        if len(line) > at_most:
            self._children[parent] = line[at_most:]
            self._fresh[parent] = None
            line = line[:at_most]
        found = [name for name in dict.fromkeys(line) if self.parent_of.get(name) == parent]
        for name in found:
            self._drop(name)
        self._ready.update(dict.fromkeys(found))
        return found

    def sort(self) -> None:
        """Put the children of each parent in the order of their names, which is that of generated ids."""
        for parent in self._unsorted:
            if parent in self._children:
                self._children[parent].sort()
        self._unsorted.clear()

    def take_ready(self, at_most: int) -> list[str]:
        """Return names that were removed by `pop`, each once: their records may say another priority or queue."""
        taken = [name for name, _ in zip(self._ready, range(at_most), strict=False)]
        for name in taken:
            del self._ready[name]
        return taken

    @property
    def parents(self) -> list[str]:
        """The parents that names wait for."""
        return list(self._children)

    def take_fresh(self, at_most: int) -> list[str]:
        """Return parents of names that were added since, each once."""
        taken = [parent for parent, _ in zip(self._fresh, range(at_most), strict=False)]
        for parent in taken:
            del self._fresh[parent]
        return [parent for parent in taken if parent in self._children]

    @property
    def has_fresh(self) -> bool:
        """Whether `take_fresh` has something to return."""
        return bool(self._fresh)

    @property
    def roots(self) -> list[str]:
        """The parents that are not blocked themselves."""
        return [parent for parent in self._children if parent not in self._pointer]

    def waits_for(self, job_id: str) -> str:
        """Return the parent that a blocked job waits for, "" if the job is not blocked."""
        return self._pointer.get(job_id, "")

    def cycles(self) -> list[list[str]]:
        """Return the ids of the jobs of each cycle, each before the one that it waits for; [] if no name is new."""
        if not self._has_new:
            return []
        self._has_new = False
        pointer = self._pointer
        done: set[str] = set()
        found: list[list[str]] = []
        for start in pointer:
            path: list[str] = []
            on_path: set[str] = set()
            here = start
            while here in pointer and here not in done:
                if here in on_path:
                    found.append(path[path.index(here) :])
                    break
                path.append(here)
                on_path.add(here)
                here = pointer[here]
            done |= on_path
        return found


def split(listed: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the usual names of blocked jobs in a listing by their parents, and all other names.

    Searches thousands of names at once, because a hundred thousand jobs may wait when a pool starts.
    """
    by_parent: dict[str, list[str]] = {}
    others: list[str] = []
    listed = list(listed)
    for start in range(0, len(listed), names.SPLIT_AT_ONCE):
        some = listed[start : start + names.SPLIT_AT_ONCE]
        text = "\n".join(some)
        if names.AFTER not in text or text.count("\n") != len(some) - 1:  # a line feed in a name
            others += some
            continue
        found = _line().findall(text)
        for name, parent in found:
            by_parent.setdefault(parent, []).append(name)
        if len(found) < len(some):
            known = {name for name, _ in found}
            others += [name for name in some if name not in known]
    return by_parent, others


@functools.cache
def _line() -> re.Pattern[str]:
    stem, parent = names.BLOCKED.pattern.removesuffix(r"\.json").split(names.AFTER)
    return re.compile(rf"^({stem[1:-1]}{names.AFTER}{parent}\.json)$", re.MULTILINE)


def _stem(name: str) -> str:
    return name.partition(names.AFTER)[0]
