"""Says of which file of an inbox a job was made (mode `files`), and how to run that file again. Computes only."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from queuectl.model.history import Event
from queuectl.model.lifecycle import ENQUEUED

_MARK = "\\" if sys.platform == "win32" else "/"


class TakenFile(NamedTuple):
    """A file that was taken."""

    path: str
    """Its path while its job exists, INBOX/working/SPOOL-ID/NAME, with its subfolder before the name."""
    folder: str
    """The folder that it was put into: the inbox, or its subfolder."""
    name: str

    @property
    def way_back(self) -> str:
        """What runs the file again when its job has ended: a move by hand. Not yet safe."""
        return f"move the file {self.name} back into {self.folder}: it becomes a new job there"


def of(history: Iterable[Event]) -> TakenFile | None:
    """Return the file of a job by the history of its record; None for a job that was not made of a file."""
    event = next((each for each in history if each.event == ENQUEUED), None)
    if event is None or not event.claimed:
        return None
    parts, sub = event.claimed.split(_MARK), event.file.split("/")[:-1]
    return TakenFile(event.claimed, _MARK.join([*parts[: -3 - len(sub)], *sub]), parts[-1])
