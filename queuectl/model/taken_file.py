"""Says of which file of an inbox a job was made (mode `files`), and how to run that file again. Computes only."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from queuectl.model.history import Event
from queuectl.model.lifecycle import DONE, ENQUEUED, SKIPPED
from queuectl.model.spec import UNTIL_DELETED

if TYPE_CHECKING:
    from queuectl.model.inbox import Inbox
    from queuectl.model.record import Record

KEPT = "keep"
"""The end of a file that went back to its place, as in `file_command`, which plain jobs need not import."""
_MARK = "\\" if sys.platform == "win32" else "/"


class TakenFile(NamedTuple):
    """A file that was taken."""

    path: str
    """Its path while its job exists, INBOX/working/SPOOL-ID/NAME, with its subfolder before the name."""
    folder: str
    """The folder that it was put into: the inbox, or its subfolder."""
    name: str
    sub: str = ""
    """The subfolder of the inbox, in the form of this system."""
    file: str = ""
    """Its path in the inbox, with slashes."""

    def way_back(self, end: str = "", *, holder: str = "") -> str:
        """Return what runs the file again when its job has ended, by hand. Not yet safe.

        `end` is where the settings let it go then (`end_of`), "" if that is unknown. `holder` is the job that keeps
        others with this content from running (`holder_of`).
        """
        first = f"queuectl purge {holder}, then " if holder else ""
        if end == KEPT:
            return f"{first}touch {self.folder}{_MARK}{self.name}: it becomes a new job"
        there = ""
        if end and end != "delete":
            from queuectl.model.command import is_absolute  # imported only for a file: plain jobs have none

            top = self.folder.removesuffix(f"{_MARK}{self.sub}") if self.sub else self.folder
            there = " from " + _MARK.join(
                each for each in (*([] if is_absolute(end) else [top]), end, self.sub) if each
            )
        return f"{first}move the file {self.name}{there} back into {self.folder}: it becomes a new job there"


def end_of(inboxes: Iterable[Inbox], item: Record, state: str) -> str:
    """Return where the settings let the file of a job go that has ended in this state; "" if they do not say."""
    inbox = next((each for each in inboxes if each.owner == item.owner), None)
    if inbox is None:
        return ""
    has_run = state == DONE and not _other(item)
    return inbox.on_success if has_run or (state == DONE and inbox.on_success == KEPT) else inbox.on_failure


def holder_of(item: Record, state: str) -> str:
    """Return the id of the job because of which no file with the content of this job's file is run, or "".

    With `unique` that is a job that has succeeded, until its record is deleted.
    """
    return _other(item) or item.id if state == DONE and item.extras.unique_until == UNTIL_DELETED else ""


def _other(item: Record) -> str:
    """Return the id of the job because of which this one was skipped, or ""."""
    last = item.standing().last
    return last.duplicate_of if last is not None and last.event == SKIPPED else ""


def of(history: Iterable[Event]) -> TakenFile | None:
    """Return the file of a job by the history of its record; None for a job that was not made of a file."""
    event = next((each for each in history if each.event == ENQUEUED), None)
    if event is None or not event.claimed:
        return None
    parts, sub = event.claimed.split(_MARK), event.file.split("/")[:-1]
    return TakenFile(event.claimed, _MARK.join([*parts[: -3 - len(sub)], *sub]), parts[-1], _MARK.join(sub), event.file)
