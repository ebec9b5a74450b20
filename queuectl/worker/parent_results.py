"""Make the JSON file that tells a command about the jobs that its job waited for (FORMAT.md, section 4, "The desk").

What parents gave back is the text of strangers: it is handed on as JSON if it is JSON, and is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

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

STAR = "*"
# Of all results of the parents of a job: what is larger is named by its path only.
_ALL_MAX_BYTES = 1024 * 1024
# A batch of starts is one message (`cluster.wire`).
_ELSEWHERE_MAX_BYTES = 256 * 1024
_DEAD_IDS = 1000


def document(spool: SpoolDir, item: Record, *, is_here: bool = True) -> bytes:
    """Return the file for a job with parents: a line per parent, and no line longer than its result makes it.

    `is_here` False: for a command on another machine, which has no path of this spool and gets less.

    Raises:
        OSError: the folders cannot be looked at.
    """
    left = _ALL_MAX_BYTES if is_here else _ELSEWHERE_MAX_BYTES
    made: dict[str, Any] = {}
    for each in item.extras.after:
        parent = Parent(each) if isinstance(each, str) else each
        if parent.batch:
            made[STAR] = _members(spool, parents.range_of(parent))
            continue
        row, used = _parent(spool, parent.id, left)
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


def _parent(spool: SpoolDir, job_id: str, left: int) -> tuple[dict[str, Any], int]:
    """Return what is known of a parent, and how many bytes of its result are in it; at most `left`."""
    row: dict[str, Any] = {"id": job_id, "state": None, "attempt": 0, "exit_code": None, "result": None, "json": None}
    state = spool.holds(job_id, (DONE, DLQ))
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
        content = files.read(path, min(result.SHOWN_MAX_BYTES, left))
    except (FileNotFoundError, files.NotRegularError, PermissionError):
        return row, 0
    row["result"] = path
    if content.oversize:
        return row, 0
    row["json"] = result.as_json(content.data)
    return row, 0 if row["json"] is None else len(content.data)


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
