"""Read the files of schedules/: which are schedules, and what is wrong with the others (promises P6, P10).

A file is read when it appears and when it changes. All files are looked at each time if there are few of them, and in
turns if there are many, because a thousand stats each 2 s would be most of what an idle pool does.
"""

from __future__ import annotations

import errno
import math

from queuectl.errors import InvalidJobError
from queuectl.model import document
from queuectl.model.schedule import Schedule
from queuectl.spool import schedule_files
from queuectl.spool.schedule_files import Entry
from queuectl.spool.schedule_reading import Reader
from queuectl.spool.session import Session
from queuectl.system import files, sharing

# Of more schedules than this, a part is looked at each time.
_LOOKED_AT_ONCE = 100


class Reading:
    """One schedule as its file was read last."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.sig: files.FileSig | None = None
        self.is_read = False
        self.schedule: Schedule | None = None
        self.why = ""
        """What is wrong with the file; "" if nothing is, or if it may still arrive."""
        self.hint = ""
        self.arrives_since_s = math.inf
        """Since when the file is not whole (monotonic)."""
        self.is_told = False
        """Whether `NAME.reason.txt` is as it should be."""
        self.skips = False
        """Whether the last tick made no job because of `overlap`."""
        self.gone_since_s = math.inf
        """Since when there are only notes (monotonic)."""
        self.is_compared = False
        """Whether `next` was compared with the expression since the clock was last set back."""
        self.late_why = ""
        """Why a file is not whole."""

    @property
    def arrives(self) -> bool:
        """Whether the file is not whole, and may become so."""
        return self.arrives_since_s < math.inf and not self.why

    def reset(self, sig: files.FileSig | None) -> None:
        """Forget what was read, for another version of the file."""
        self.sig, self.is_read, self.schedule = sig, True, None
        self.why = self.hint = self.late_why = ""
        self.arrives_since_s = math.inf
        self.is_told = self.is_compared = False


class Schedules:
    """The schedules of a spool, as far as they were read."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool = session.spool
        self._reader = Reader(session)
        self._listed: list[str] = []
        self._sorted: list[str] = []
        self._restless: set[str] = set()
        """Schedules that are looked at each time: new ones, and those that are gone or not whole."""
        self._turn = 0
        self.readings: dict[str, Reading] = {}

    def update(self, listed: list[str]) -> bool:
        """Take over a listing of schedules/; return whether it differs from the last one."""
        if listed is self._listed:
            return False
        self._listed, in_order = listed, sorted(listed)
        if in_order == self._sorted:
            return False
        self._sorted = in_order
        found = schedule_files.entries(in_order)
        for name in self.readings.keys() - found.keys():
            del self.readings[name]
        for name, entry in found.items():
            known = self.readings.get(name)
            if known is None:
                self.readings[name] = Reading(entry)
                self._restless.add(name)
                continue
            if (known.entry.file, known.entry.twin) != (entry.file, entry.twin):
                known.is_read = False
                self._restless.add(name)
            known.entry = entry
        return True

    def examine(self) -> bool:
        """Read files that are new or have changed; return whether anything may be different from the last time.

        Raises OSError if the machine has a problem.
        """
        names = list(self.readings)
        due = names
        if len(names) > _LOOKED_AT_ONCE:
            self._turn %= len(names)
            due = names[self._turn : self._turn + _LOOKED_AT_ONCE]
            self._turn += _LOOKED_AT_ONCE
            due = list({*due, *(name for name in self._restless if name in self.readings)})
        self._restless = {name for name in due if self.examine_one(self.readings[name])}
        return bool(self._restless)

    def examine_one(self, known: Reading) -> bool:
        """Read one file, if it has changed; return whether something about it may be different. Raises OSError."""
        now_s = self._session.clock.monotonic()
        if not known.entry.file:
            known.gone_since_s = min(known.gone_since_s, now_s)
            known.schedule = None
            return True
        known.gone_since_s = math.inf
        path = self._spool.schedule_path(known.entry.file)
        sig = files.sig_of(path)
        if known.is_read and sig == known.sig:
            if known.arrives and now_s - known.arrives_since_s >= self._session.settings.settle_s:
                known.why = known.late_why
                return True
            return known.arrives
        known.reset(sig)
        try:
            self._read(known)
        except InvalidJobError as error:
            known.why, known.hint = str(error), error.hint
        return True

    def _read(self, known: Reading) -> None:
        try:
            found = self._reader.read(known.entry)
        except FileNotFoundError:
            known.is_read = False
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                known.is_read = False
                raise
            known.is_read = not sharing.is_held(error)  # a program has it open: it is tried again
            if not known.is_read:
                return
            raise InvalidJobError(f"it cannot be read: {error.strerror}", hint="allow it to be read") from error
        if isinstance(found, document.Incomplete):
            known.arrives_since_s = self._session.clock.monotonic()
            known.late_why, known.hint = found.why, found.hint
        else:
            known.schedule = found
