"""What the receiver of an inbox tells of it, for whoever looks: .queuectl/inboxes/OWNER.json.

Nobody else ever looks at the inbox itself: its share may hang. Nothing is decided by what stands there.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import msgspec

from queuectl.model import names
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files, sharing

_ENDING = ".json"
_MAX_BYTES = 256 * 1024
# Rows of files, at most.
ROWS = 20


class InboxFile(NamedTuple):
    """A file in an inbox that is not whole yet: for how long it has not changed (seconds), and what is missing."""

    name: str
    size: int
    quiet_s: float
    why: str


class InboxRefusal(NamedTuple):
    """A rejected file in an inbox: its name now, why, and since when ("": unknown)."""

    name: str
    why: str
    rejected_at: str


class InboxState(msgspec.Struct, frozen=True, kw_only=True):
    """One inbox, as its receiver saw it last. `rejected` are files that lie there now."""

    owner: str
    path: str
    mode: str
    listed_at: str = ""
    """When it was listed last, RFC 3339; "" where it never could be."""
    waiting: int = 0
    """Files that are to be taken in yet."""
    next: tuple[str, ...] = ()
    """Some of those, by name."""
    arriving: int = 0
    rows: tuple[InboxFile, ...] = ()
    """Some of those that arrive."""
    held_back: str = ""
    """Which limit keeps files in the inbox, and why."""
    rejected: int = 0
    refused: tuple[InboxRefusal, ...] = ()
    """The newest of those, as far as it is known why."""
    left_alone: int = 0
    foreign: tuple[str, ...] = ()
    """Some of the files that are no jobs, by name."""
    taken: int = 0
    """Files taken in since the receiver started."""
    trouble: str = ""


def publish(spool: SpoolDir, state: InboxState) -> None:
    """Put the state there in one step. Raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(_as_texts(msgspec.to_builtins(state))), indent=1) + b"\n"
    path = spool.inbox_path(state.owner, "json")
    with spool.temporary("inbox", data, sync=False) as temporary:
        disk.replace(temporary, path, patience_s=sharing.GLANCE_S)


def _as_texts(value: Any) -> Any:
    """The same, with every text such as JSON can hold: names of files, and what quotes them, may be no UTF-8."""
    if isinstance(value, str):
        return names.as_text(value)
    if isinstance(value, dict):
        return {key: _as_texts(each) for key, each in value.items()}
    return [_as_texts(each) for each in value] if isinstance(value, list | tuple) else value


def read_all(spool: SpoolDir) -> list[InboxState]:
    """The states of all inboxes, by owner. What cannot be read is left out."""
    try:
        listed = sorted(files.names(spool.inbox_dir))
    except OSError:
        return []
    found = []
    for name in listed:
        if name.endswith(_ENDING):
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                data = files.read(spool.inbox_path(name.removesuffix(_ENDING), "json"), _MAX_BYTES).data
                found.append(msgspec.json.decode(data, type=InboxState))
    return found


def remove(spool: SpoolDir, owner: str) -> None:
    """Take the state of an inbox away that the settings do not name any more."""
    with contextlib.suppress(OSError):
        disk.unlink(spool.inbox_path(owner, "json"))
