"""Make the JSON file that tells a command about the jobs that its job waited for (FORMAT.md, section 4, "The desk").

What parents gave back is the text of strangers: it is handed on as JSON if it is JSON, and is bounded. The folder is
the truth for each run (P13), so a text is used for another child only while the files that it was made of are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from queuectl.errors import DamagedRecordError
from queuectl.model import parents, result
from queuectl.model.lifecycle import DLQ, DONE
from queuectl.model.members import Members
from queuectl.model.record import Record
from queuectl.model.spec import Parent
from queuectl.spool import groups
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import record_name
from queuectl.system import files
from queuectl.system.clock import Clock

STAR = "*"
# Of all results of the parents of a job: what is larger is named by its path only.
_ALL_MAX_BYTES = 1024 * 1024
# A batch of starts is one message (`cluster.wire`).
_ELSEWHERE_MAX_BYTES = 256 * 1024
_DEAD_IDS = 1000
# Texts of more parents, longer texts, and more texts than this are not kept.
_KEPT_PARENTS, _KEPT_BYTES, _KEPT_TEXTS = 8, 64 * 1024, 32
# Files are stamped in steps of at most 16 ms. A text counts only if its files had their stamps this long before it was
# read, because a file may change twice within a step.
_SAME_STAMP_S = 0.02

Seen = list[tuple[str, tuple[files.FileSig, int] | None]]
"""Paths, and what was there; None: nothing."""
_NEVER = (files.FileSig(-1, -1, -1), -1)
"""What no file is."""


class _Text(msgspec.Struct, frozen=True):
    """A text about parents, and the files that it was made of."""

    data: bytes
    seen: Seen
    """The files as they were just before they were read."""
    since_s: float
    """Since when they are known to be so (monotonic)."""
    is_sure: bool
    """They had been so for long enough when they were read."""


class ParentResults:
    """Makes the files of one worker. The children of one parent share a text while nothing about the parent changes."""

    def __init__(self, spool: SpoolDir, *, clock: Clock | None = None) -> None:
        self._spool = spool
        self._clock = clock or Clock()
        self._texts: dict[tuple[Any, str], _Text] = {}

    def document(self, item: Record) -> bytes:
        """Return the same as the function `document`. Raises OSError."""
        after = item.extras.after
        key = (after, groups.token_of(item.id))
        known = self._texts.get(key)
        if known is not None and known.is_sure and _are_same(known.seen):
            return known.data
        if len(after) > _KEPT_PARENTS or any(not isinstance(each, str) and each.batch for each in after):
            return document(self._spool, item)
        now_s = self._clock.monotonic()
        seen: Seen = []
        data = document(self._spool, item, seen=seen)
        since_s = known.since_s if known is not None and known.seen == seen else now_s
        self._texts.pop(key, None)
        if len(data) <= _KEPT_BYTES:
            if len(self._texts) >= _KEPT_TEXTS:
                del self._texts[next(iter(self._texts))]  # the oldest
            self._texts[key] = _Text(data, seen, since_s, now_s - since_s >= _SAME_STAMP_S)
        return data


def _are_same(seen: Seen) -> bool:
    try:
        return all(files.sig_and_change(path) == found for path, found in seen)
    except OSError:
        return False


def document(spool: SpoolDir, item: Record, *, is_here: bool = True, seen: Seen | None = None) -> bytes:
    """Return the file for a job with parents: a line per parent, and no line longer than its result makes it.

    `is_here` False: for a command on another machine, which has no path of this spool and gets less. `seen` gets the
    files that the text depends on, as they were before they were read; not those of ranges.

    Raises:
        OSError: the folders cannot be looked at.
    """
    seen = [] if seen is None else seen
    left = _ALL_MAX_BYTES if is_here else _ELSEWHERE_MAX_BYTES
    made: dict[str, Any] = {}
    for each in item.extras.after:
        parent = Parent(each) if isinstance(each, str) else each
        if parent.batch:
            made[STAR] = _members(spool, parents.range_of(parent))
            continue
        row, used = _parent(spool, parent.id, left, seen)
        left -= used
        if not is_here:
            row["result"] = None
        made[_name(item.id, parent.id)] = row
    # Without indents: they would make megabytes of a small text of brackets.
    rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in made.items())
    return f"{{\n{rows}\n}}\n".encode("ascii")


def _name(child: str, parent: str) -> str:
    """Return the ref of a parent of the same file, else its id."""
    token = groups.token_of(child)
    return parent.removeprefix(f"{token}-") if token and groups.token_of(parent) == token else parent


def _parent(spool: SpoolDir, job_id: str, left: int, seen: Seen) -> tuple[dict[str, Any], int]:
    """Return what is known of a parent, and how many bytes of its result are in it; at most `left`."""
    row: dict[str, Any] = {"id": job_id, "state": None, "attempt": 0, "exit_code": None, "result": None, "json": None}
    states = (DONE, DLQ)
    state = next((each for each in states if _look(spool.path(each, record_name(job_id)), seen)), "")
    if not state:
        return row, 0  # it was deleted, or a person released the job from it
    row["state"] = state
    try:
        item = spool.read(state, record_name(job_id)).record
    except (FileNotFoundError, DamagedRecordError, files.NotRegularError):
        return row, 0
    standing = item.standing()
    row["attempt"] = standing.starts
    row["exit_code"] = None if standing.last is None else standing.last.exit_code
    path = spool.result_path(job_id, standing.starts)
    try:
        _look(path, seen)
        content = files.read(path, min(result.SHOWN_MAX_BYTES, left))
    except (FileNotFoundError, files.NotRegularError, PermissionError):
        return row, 0
    row["result"] = path
    if content.oversize:
        return row, 0
    row["json"] = result.as_json(content.data)
    return row, 0 if row["json"] is None else len(content.data)


def _look(path: str, seen: Seen) -> bool:
    """Note what is at a path; return whether anything is."""
    found: tuple[files.FileSig, int] | None = _NEVER
    try:
        found = files.sig_and_change(path)
    finally:
        seen.append((path, found))
    return found is not None


def _members(spool: SpoolDir, members: Members) -> dict[str, Any]:
    """Count the members of a range by one listing of each folder."""
    dead = sorted(_in(spool, members, DLQ))
    done = sum(1 for _ in _in(spool, members, DONE))
    return {"count": len(members), DONE: done, "dead": len(dead), "dead_ids": dead[:_DEAD_IDS]}


def _in(spool: SpoolDir, members: Members, state: str) -> Iterator[str]:
    for name in groups.of(spool.job_names(state), members.token):
        job_id = groups.id_of(name)
        if members.find(job_id) >= 0:
            yield job_id
