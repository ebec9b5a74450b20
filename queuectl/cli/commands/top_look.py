"""Looks at the spool again and again for `queuectl top`, in a thread of its own, so that the screen goes on meanwhile.

A look is taken in small steps: between two steps it can end at once. Looking takes a bounded share of the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.survey import Survey

# Of the time, looking takes at most one part in this many; in more where no file came or went meanwhile.
_REST_PARTS, _IDLE_PARTS = 5, 20
# A change is looked for this often while a costly look rests.
_ASK_S = 1.0


class Looker:
    """Takes a snapshot every `every_s`, and hands each to `report`; the error of a look as well."""

    def __init__(self, survey: Survey, every_s: float, report: Callable[[Snapshot | Exception], None]) -> None:
        self._survey = survey
        self._every_s = every_s
        self._report = report
        self._woken = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="top-look", daemon=True)

    def start(self) -> None:
        """Take the first look now."""
        self._thread.start()

    def look_now(self) -> None:
        """Look again at once: something was changed."""
        self._woken.set()

    def stop(self) -> None:
        """Take no further step."""
        self._is_over = True
        self._woken.set()

    def _run(self) -> None:
        while not self._is_over:
            try:
                self._woken.clear()
                marks, began_s = self._survey.marks(), time.monotonic()
                found = self._look()
                if found is None:
                    return
                self._report(found)
                self._rest(marks, time.monotonic() - began_s)
            except OSError as error:
                self._report(error)
                self._woken.wait(self._every_s)
            except Exception as error:  # a bug: nobody looks at the end of a thread, so the app has to end with it
                self._report(error)
                return

    def _look(self) -> Snapshot | None:
        steps = self._survey.take(time.time())
        while not self._is_over:
            try:
                next(steps)
            except StopIteration as end:
                made: Snapshot = end.value
                return made
        return None

    def _rest(self, marks: object, took_s: float) -> None:
        """Wait until the next look is due, or was asked for."""
        ended_s = time.monotonic()
        while not self._is_over:
            parts = _REST_PARTS if self._survey.marks() != marks else _IDLE_PARTS
            left_s = ended_s + max(self._every_s, parts * took_s) - time.monotonic()
            if left_s <= 0 or self._woken.wait(min(left_s, max(_ASK_S, self._every_s))):
                return
