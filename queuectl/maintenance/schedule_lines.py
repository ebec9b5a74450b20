"""Say for `doctor` whether the schedules of a spool make jobs, and in which time zones. Only looks."""

from __future__ import annotations

from queuectl.maintenance.probes import OK, WARN, Line
from queuectl.monitor import schedules
from queuectl.spool.session import Session

_NAMED_AT_MOST = 5


def line(session: Session) -> Line:
    """Return the line about the schedules of a spool that has some. Raises OSError."""
    found = list(schedules.all_of(session))
    count = f"{len(found)} schedule{'' if len(found) == 1 else 's'}"
    wrong = [each.name for each in found if each.why]
    if wrong:
        named = ", ".join(wrong[:_NAMED_AT_MOST]) + (" ..." if len(wrong) > _NAMED_AT_MOST else "")
        text = f"{count}, of which {len(wrong)} make{'s' if len(wrong) == 1 else ''} no jobs: {named}"
        return Line("schedules", WARN, text, f"to see why: queuectl schedule show {wrong[0]}")
    zones = sorted({each.zone for each in found if each.zone})
    shown = ", ".join(zones[:_NAMED_AT_MOST]) + (" ..." if len(zones) > _NAMED_AT_MOST else "")
    return Line("schedules", OK, f"{count}" + (f", in {shown}" if zones else ""))
