"""Remember the selected job of `queuectl top` while a look has missed it.

A job that moves while a look lists the folders may be in none of them. Without this the cursor would be on the job
below, and the next key would be for that one, although the next look finds the selected job in another group.
"""

from __future__ import annotations

# A job that so many looks have missed is gone.
_LOOKS = 3


class Missed:
    """The name of a job that was selected, and that no look has found since."""

    def __init__(self) -> None:
        self.name = ""
        """The job; "" for none."""
        self._cursor = ""
        self._looks = 0

    def note(self, name: str) -> None:
        """Note that a look did not find the selected job."""
        self.name, self._looks = name, 0

    def looked(self) -> None:
        """Count a look."""
        self._looks += 1
        if self._looks >= _LOOKS:
            self.name = ""

    def selected(self, name: str) -> None:
        """Forget the job if another row is selected than after the last look: a person has moved the cursor."""
        if name != self._cursor:
            self.name = ""

    def stays_at(self, name: str) -> None:
        """Note which row is selected meanwhile."""
        self._cursor = name
