"""Read one file of schedules/ as a schedule, or say what is wrong with it (promises P6, P10). Changes nothing.

Imports what knows cron and time zones, so it is imported only where schedules are looked at.
"""

from __future__ import annotations

from queuectl.errors import InvalidJobError
from queuectl.model import document, schedule
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.schedule import Schedule
from queuectl.spool import schedule_files, trust
from queuectl.spool.schedule_files import Entry
from queuectl.spool.session import Session
from queuectl.system import files, sharing, zone

_NO_FILE = "it is not a regular file"


class Reader:
    """Reads the schedules of one spool."""

    def __init__(self, session: Session) -> None:
        self._spool, self._settings, _, _ = session
        self._owners = trust.owners(session.spool, session.settings)
        self._local_zone = ""

    def read(self, entry: Entry) -> Schedule | document.Incomplete:
        """Return the schedule in a file; Incomplete if the file is not (yet) whole.

        Raises:
            InvalidJobError: it is not a schedule; the error names the key and what the key takes.
            OSError: as `files.read`, but not for a link, a folder or the like.
        """
        if entry.twin:
            why = f"its name differs only in case from {entry.twin}.json"
            raise InvalidJobError(why, hint="rename one of them")
        try:
            content = files.read(self._spool.schedule_path(entry.file), JOB_MAX_BYTES, patience_s=sharing.GLANCE_S)
        except files.NotRegularError as error:
            raise InvalidJobError(_NO_FILE, hint="put the file itself here") from error
        if self._owners is not None and content.owner not in self._owners:
            why, hint = trust.foreign_owner(content.owner)
            raise InvalidJobError(why, hint=hint.replace(" and move it back", ""))
        if content.oversize:
            raise InvalidJobError(f"it is larger than {JOB_MAX_BYTES} bytes", hint="put the data in a file of its own")
        return schedule.read(
            content.data, entry.schedule, defaults=self._settings.retry_defaults, local_zone=self.zone_of(entry)
        )

    def zone_of(self, entry: Entry) -> str:
        """Return the time zone for an expression without one: the one in the note, else the machine's."""
        if (note := schedule_files.best(entry.notes)) is not None:
            kept = schedule_files.zone_in(schedule_files.content_of(self._spool, note))
            if kept:
                return kept
        self._local_zone = self._local_zone or zone.local_name()
        return self._local_zone
