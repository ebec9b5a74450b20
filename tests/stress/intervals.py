"""How many commands ran at once, by the lines that the commands themselves have written."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.pool import Witness


class Most(NamedTuple):
    """The most commands at once, the most with one key, and how many ran."""

    at_once: int
    of_a_key: int
    ran: int


def most(witness: Witness, killed: Mapping[int, int], key_of: Callable[[str], str]) -> Most:
    """Count the commands that ran at once.

    Args:
        killed: when the kill of a process began (monotonic nanoseconds). A command that has no end counts until then.
        key_of: the key of a job, by its id.
    """
    open_since: dict[int, tuple[int, str]] = {}
    changes: list[tuple[int, int, str]] = []
    for kind, job_id, pid, at in witness.lines():
        if kind == "S":
            if pid in open_since:  # the pid of a process that was killed was given again
                changes += _cut(pid, *open_since.pop(pid), killed)
            open_since[pid] = at, key_of(job_id)
        elif kind == "E":
            since, key = open_since.pop(pid)
            changes += [(since, 1, key), (at, -1, key)]
    for pid, (since, key) in open_since.items():
        changes += _cut(pid, since, key, killed)
    inside: Counter[str] = Counter()
    at_once = of_a_key = 0
    for _, change, key in sorted(changes):
        inside[key] += change
        at_once, of_a_key = max(at_once, inside.total()), max(of_a_key, inside[key])
    return Most(at_once, of_a_key, len(changes) // 2)


def gaps(witness: Witness, killed: Mapping[int, int], key_of: Callable[[str], str]) -> list[tuple[bool, float]]:
    """Return the seconds from each end of a command to the next start with its key, and whether that was a kill."""
    lines = witness.lines()
    ended = {pid for kind, _, pid, _ in lines if kind == "E"}
    ends = [(False, key_of(job_id), at) for kind, job_id, _, at in lines if kind == "E"]
    ends += [
        (True, key_of(job_id), killed[pid])
        for kind, job_id, pid, _ in lines
        if kind == "S" and pid in killed and pid not in ended
    ]
    starts: dict[str, list[int]] = {}
    for kind, job_id, _, at in lines:
        if kind == "S":
            starts.setdefault(key_of(job_id), []).append(at)
    found = []
    for was_killed, key, at in ends:
        place = bisect.bisect(starts[key], at)
        if place < len(starts[key]):
            found.append((was_killed, (starts[key][place] - at) / 1e9))
    return found


def _cut(pid: int, since: int, key: str, killed: Mapping[int, int]) -> list[tuple[int, int, str]]:
    return [(since, 1, key), (max(since + 1, killed.get(pid, since + 1)), -1, key)]
