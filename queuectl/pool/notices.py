"""The events of a pool: reports of its workers, rescued jobs and notices, passed on after each round of the loop."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.maintenance.rescuer import Rescued
from queuectl.model.notice import WARNING, Notice
from queuectl.worker.messages import Report

Event = Report | Rescued | Notice
HandOn = Callable[[list[Event]], None]


class Outbox:
    """Collects the events of a round and passes them on with one call. Nothing in a pool prints."""

    def __init__(self, hand_on: HandOn) -> None:
        self._hand_on = hand_on
        self._events: list[Event] = []
        self.put = self._events.append

    def flush(self) -> None:
        """Pass on the events of this round, if there are any."""
        if self._events:
            events = self._events.copy()
            self._events.clear()
            self._hand_on(events)


def restored(folder: str) -> Notice:
    """Return the notice that a folder of the spool was created again."""
    return Notice(WARNING, "restored", f"{folder}/ was missing and was created again; its files are gone")
