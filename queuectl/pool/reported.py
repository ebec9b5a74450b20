"""Report a problem once, and not at each try while it lasts."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.system.clock import Clock

# This many reports are remembered; further files with problems are reported together.
REMEMBERED_AT_MOST = 1000
# If there is no room for another report, the remembered ones are checked at most this often.
_FORGET_EVERY_S = 60.0


class ReportedOnce:
    """Reports each problem once.

    Args:
        clock: for the checks.
        notify: called for each report.
        is_lasting: says whether a file still has a problem.
    """

    def __init__(self, clock: Clock, notify: Notify, is_lasting: Callable[[str], bool]) -> None:
        self._clock = clock
        self._notify = notify
        self._is_lasting = is_lasting
        self.known: dict[str, str] = {}
        """The cause (a file's name, or the path of a lock), and the file that needs it."""
        self._next_forget_s = 0.0
        self._too_many = False

    def __len__(self) -> int:
        return len(self.known)

    def report(self, kind: str, at_fault: str, text: str, *, name: str = "") -> None:
        """Report once what is wrong with a file, or with a lock (`at_fault`) that the file `name` needs."""
        if at_fault in self.known:
            return
        if len(self.known) >= REMEMBERED_AT_MOST and not self._make_room():
            if not self._too_many:
                self._too_many = True
                more = "more files have problems; to list them: queuectl check"
                self._notify(Notice(WARNING, kind, f"{text} ({more})"))
            return
        self._too_many = False
        self.known[at_fault] = name or at_fault
        self._notify(Notice(WARNING, kind, text))

    def forget(self, name: str) -> None:
        """Forget a file whose problem is over, so that its next problem is reported again."""
        self.known.pop(name, None)

    def _make_room(self) -> bool:
        """Forget files whose problems are over; return False if there is still no room."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_forget_s:
            self._next_forget_s = now_s + _FORGET_EVERY_S
            self.known = {what: name for what, name in self.known.items() if self._is_lasting(name)}
        return len(self.known) < REMEMBERED_AT_MOST
