"""The methods of `queuectl.Spool` for schedules (FORMAT.md, section 4)."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from queuectl.jobs import arguments
from queuectl.jobs.arguments import JobId
from queuectl.spool.session import Session

if TYPE_CHECKING:
    from queuectl.jobs.schedule_edit import ScheduleKeys
    from queuectl.monitor.schedules import ScheduleInfo


class SpoolSchedules(ABC):
    """The schedules of a spool; `queuectl.Spool` is derived from it."""

    session: Session

    @abstractmethod
    def _translated(self) -> contextlib.AbstractContextManager[None]:
        """Raise SpoolUnavailableError instead of an OSError."""

    def schedules(self) -> list[ScheduleInfo]:
        """Return the schedules in schedules/, by name: also those that are paused or have a mistake."""
        from queuectl.monitor import schedules

        with self._translated():
            return list(schedules.all_of(self.session))

    def schedule(self, name: str) -> ScheduleInfo:
        """Return one schedule. Raises UnknownScheduleError."""
        from queuectl.monitor import schedules

        with self._translated():
            return schedules.one(self.session, arguments.text("name", name))

    def add_schedule(
        self,
        name: str,
        command: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        replace: bool = False,
        **keys: Unpack[ScheduleKeys],
    ) -> ScheduleInfo:
        """Put a schedule into the spool: `command`, `cwd` and `keys` are those of its jobs, and say when they are made.

        `cron` or `every` is required. FORMAT.md, section 4, explains the keys of a schedule. With `replace` the
        schedule takes the place of one with this name.

        Raises:
            InvalidJobError: a key is not allowed; names the key and the reason.
            QueuectlError: there is a schedule with this name.
            SpoolUnavailableError, UntrustedSpoolError: as `enqueue`.
        """
        from queuectl.jobs import schedule_edit

        given = {"command": command, "cwd": arguments.working_folder(cwd), **keys}
        found = {key: value for key, value in given.items() if value is not None}
        with self._translated():
            schedule_edit.add(self.session, arguments.text("name", name), arguments.document(found), replace=replace)
        return self.schedule(name)

    def remove_schedule(self, name: str) -> None:
        """Delete a schedule. Its jobs stay. Raises UnknownScheduleError, SpoolUnavailableError."""
        from queuectl.jobs import schedule_edit

        with self._translated():
            schedule_edit.remove(self.session, arguments.text("name", name))

    def pause_schedule(self, name: str) -> bool:
        """Keep a schedule from making jobs; return False if it is paused already. Raises as `remove_schedule`."""
        from queuectl.jobs import schedule_edit

        with self._translated():
            return schedule_edit.hold(self.session, arguments.text("name", name), held=True)

    def resume_schedule(self, name: str) -> bool:
        """Let a paused schedule make jobs again, from the next tick on; return False if it was not paused."""
        from queuectl.jobs import schedule_edit

        with self._translated():
            return schedule_edit.hold(self.session, arguments.text("name", name), held=False)

    def run_schedule(self, name: str) -> JobId:
        """Make a job of a schedule now, and leave its ticks as they are; return the id.

        Unless the schedule has `overlap` = `allow`, nothing is added while a job of the schedule waits or runs: the id
        is that job's, and its attribute `added` is False.

        Raises:
            UnknownScheduleError: there is no such schedule.
            InvalidJobError: its file has a mistake.
            SpoolUnavailableError, UntrustedSpoolError: as `enqueue`.
        """
        from queuectl.jobs import schedule_edit

        with self._translated():
            return schedule_edit.run(self.session, arguments.text("name", name))
