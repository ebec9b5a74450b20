"""Check schedules/: files with a mistake, and notes that nobody needs (FORMAT.md, section 6). Starts no job."""

from __future__ import annotations

from queuectl.maintenance.findings import Act, GoneError, Inspection, Repair
from queuectl.monitor import schedules
from queuectl.spool import schedule_files
from queuectl.system import disk


class ScheduleLeftovers:
    """Looks through schedules/ of one spool."""

    def __init__(self, inspection: Inspection) -> None:
        self._session = inspection.session
        self._findings = inspection.findings

    def examine(self, *, pool_lives: bool) -> None:
        """Report what is wrong, and delete notes of schedules that are gone. Raises OSError."""
        spool = self._session.spool
        listed = schedule_files.names(spool)
        if not listed:
            return
        for found in schedules.all_of(self._session):
            if found.why:
                hint = f"; {found.hint}" if found.hint else ""
                path = f"schedules/{found.path.rpartition('/')[2]}"
                self._findings.problem("schedule", path, f"makes no jobs: {found.why}{hint}")
        for entry in schedule_files.entries(listed).values():
            kept = schedule_files.best(entry.notes) if entry.file else None
            for note in entry.notes:
                if note == kept or pool_lives:
                    continue
                why = "the schedule has another note, which counts" if kept else "there is no such schedule any more"
                self._findings.info(
                    "tick", f"schedules/{note.name}", why, Repair("deleted", _deletion(spool.schedule_path(note.name)))
                )


def _deletion(path: str) -> Act:
    def act() -> None:
        if not disk.unlink(path):
            raise GoneError

    return act
