"""The state of an inbox as its process reports it, for the status and the page: .queuectl/inboxes/OWNER.json.

No other process reads the inbox itself, because its share may hang. The file is only for display: no decision depends
on it.
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
# The most rows of files.
ROWS = 20


class InboxFile(NamedTuple):
    """An incomplete file in an inbox: how long it has not changed (seconds), and what is missing."""

    name: str
    size: int
    quiet_s: float
    why: str


class Unmoved(NamedTuple):
    """A file whose job has ended, and why it cannot leave working/ now."""

    job_id: str
    name: str
    why: str


class InboxRefusal(msgspec.Struct, frozen=True):
    """A rejected file in an inbox: its present name, the reason, and the time ("": unknown)."""

    name: str
    why: str
    rejected_at: str


class InboxEnd(msgspec.Struct, frozen=True):
    """The last file whose job ended in one way: its name, the job, and when that ended, RFC 3339."""

    name: str
    job_id: str
    ended_at: str


class InboxState(msgspec.Struct, frozen=True, kw_only=True):
    """One inbox, as its process saw it last. `rejected` counts the rejected files that are there now."""

    owner: str
    path: str
    mode: str
    listed_at: str = ""
    """When it was listed last, RFC 3339; "" if never."""
    waiting: int = 0
    """How many files still have to be accepted."""
    next: tuple[str, ...] = ()
    """Names of some of those."""
    arriving: int = 0
    rows: tuple[InboxFile, ...] = ()
    """Some of the files that are arriving."""
    held_back: str = ""
    """The limit that keeps files in the inbox, or ""."""
    rejected: int = 0
    refused: tuple[InboxRefusal, ...] = ()
    """The newest rejected files whose reason is known."""
    kept: int = 0
    """How many files stay in the inbox because their jobs have succeeded (`on_success = "keep"`)."""
    unmoved: int = 0
    """How many files whose jobs have ended cannot leave working/ now."""
    unmoved_rows: tuple[Unmoved, ...] = ()
    """Some of those."""
    left_alone: int = 0
    foreign: tuple[str, ...] = ()
    """Names of some of the files that are not jobs."""
    subfolders: int = 0
    """How many subfolders are looked into (mode files)."""
    taken: int = 0
    """How many files were accepted since the process started."""
    trouble: str = ""
    command: str = ""
    """files: the command of the settings, as one text."""
    working: int = 0
    """files: how many files are in working/ for jobs that have not ended."""
    last_done: InboxEnd | None = None
    last_failed: InboxEnd | None = None


def publish(spool: SpoolDir, state: InboxState) -> None:
    """Write the state in one step. Raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(_as_texts(msgspec.to_builtins(state))), indent=1) + b"\n"
    path = spool.inbox_path(state.owner, "json")
    with spool.temporary("inbox", data, sync=False) as temporary:
        disk.replace(temporary, path, patience_s=sharing.GLANCE_S)


def _as_texts(value: Any) -> Any:
    """Return the same value with every text in a form that JSON can hold, because file names may not be UTF-8."""
    if isinstance(value, str):
        return names.as_text(value)
    if isinstance(value, dict):
        return {key: _as_texts(each) for key, each in value.items()}
    return [_as_texts(each) for each in value] if isinstance(value, list | tuple) else value


def read(spool: SpoolDir, owner: str) -> InboxState | None:
    """Return the state of an inbox; None if it has none, or it is unreadable."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(files.read(spool.inbox_path(owner, "json"), _MAX_BYTES).data, type=InboxState)
    return None


def read_all(spool: SpoolDir) -> list[InboxState]:
    """Return the states of all inboxes, by owner. Skip unreadable files."""
    try:
        listed = sorted(files.names(spool.inbox_dir))
    except OSError:
        return []
    found = [read(spool, name.removesuffix(_ENDING)) for name in listed if name.endswith(_ENDING)]
    return [state for state in found if state is not None]


def remove(spool: SpoolDir, owner: str) -> None:
    """Delete the state of an inbox that the settings no longer name."""
    with contextlib.suppress(OSError):
        disk.unlink(spool.inbox_path(owner, "json"))
