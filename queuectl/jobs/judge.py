"""Say what a file in pending/ is: a record, a drop, many jobs, or not a job (yet). Moves and changes nothing (P6, P10).

A file is judged where its producer put it, and once more after the move to running/ if no worker has looked at it
before or if it has changed. `claim` and `triage` act on the judgement.
"""

from __future__ import annotations

import errno
import functools

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.jobs import lines
from queuectl.jobs.verdict import Arriving, Foreign, Gone, Held, Open, Stuck, Unreadable
from queuectl.model import document, names, record
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import PENDING
from queuectl.spool import trust
from queuectl.spool.blame import Blame
from queuectl.spool.session import Session
from queuectl.system import files, sharing

# If a program still has a whole drop open for writing, the drop must be quiet for this long: the last step of a copy
# (setting the file's time) comes after its last byte. Measured by the file's change time, so no worker has to remember
# anything, and a file that a program keeps open permanently runs all the same.
WRITER_S = 1.0
_LARGE_HINT = "put the data in a file of its own and pass its path"
_NO_FILE = "it is not a regular file"


class Candidate(msgspec.Struct, frozen=True):
    """A file in pending/ that may be a job: its name, the parts of the name, and the id whose stripe guards it."""

    name: str
    parts: names.NameParts
    job_id: str
    is_published: bool = False
    """queuectl published it whole, so it needs no check before the claim."""


class Whole(msgspec.Struct, frozen=True):
    """A record: its bytes at the time it was judged."""

    data: bytes


class Drop(msgspec.Struct, frozen=True):
    """One whole document: its bytes at the time it was judged, and the job in it.

    The bytes matter because a file that is overwritten in place can be half old and half new and still parse. So the
    judgement counts only if the file has the same bytes after the move.
    """

    data: bytes
    accepted: document.Accepted


Content = Drop | document.Many | document.Refused | Arriving
"""The kinds of a whole text."""
Judged = Whole | Content | Gone | Open | Foreign | Unreadable
"""The kinds of a file in pending/."""


def candidate_of(name: str) -> Candidate | Held | Foreign:
    """Return what the name of a file in pending/ says, without looking at the file."""
    stem = name[:-5]
    if names.is_generated(stem) and name.endswith(".json"):  # most names are like this and have no other parts
        return Candidate(name, names.NameParts(stem, None, 0), stem, True)
    if names.is_held(name):
        return Held()
    if (parts := names.parse(name)) is not None:
        if parts.stem != stem and names.is_generated(parts.stem):
            return Candidate(name, parts, parts.stem, True)
    elif names.is_batch(name):
        parts = names.NameParts(name[: -len(".jsonl")], None, 0)
    else:
        return Foreign(None, "its name is not the name of a job")
    return Candidate(name, parts, names.clean_id(parts.stem))


class Judge:
    """Judges the files in pending/ of one spool."""

    def __init__(self, session: Session) -> None:
        self._spool, self._settings, self._clock, _ = session
        self.blame = Blame(session.spool, clock=session.clock)

    @functools.cached_property
    def owners(self) -> frozenset[int] | None:
        """The users whose files are taken (P10); None: all.

        Found at the first use, so a worker can start while the spool is out of reach. Raises OSError.
        """
        return trust.owners(self._spool, self._settings)

    def judge_file(self, name: str, *, is_adopted_next: bool = False) -> Judged:
        """Say what pending/`name` is; with `is_adopted_next` as in `judge_content`.

        Raises:
            OSError: a problem of the machine, or of this file, see `stuck`.
        """
        path = self._spool.path(PENDING, name)
        incomplete = None
        written_at: float | None = None
        is_batch = names.is_batch(name)
        try:
            if is_batch:
                content, incomplete, _ = lines.examine(path, document.BATCH_MAX_BYTES, patience_s=sharing.GLANCE_S)
            else:
                content, written_at = self._spool.read_drop(path, patience_s=sharing.GLANCE_S)
        except FileNotFoundError:
            return Gone()
        except files.NotRegularError:
            return Foreign(signature(path), _NO_FILE)
        except OSError as error:
            return self.unreadable(path, error)
        if (refused := self.refuse_owner(content)) is not None:
            return refused
        if content.oversize:
            return too_large(content.sig, document.BATCH_MAX_BYTES if is_batch else JOB_MAX_BYTES)
        if is_batch:
            # At some moment of a slow copy every line is whole JSON, so whole lines prove nothing: the file is split
            # only once it has been quiet.
            why, hint = (incomplete.why, incomplete.hint) if incomplete is not None else ("", "")
            return Arriving(content.sig, why, hint)
        judged: Whole | Content
        if record.exact(content.data) is not None:
            judged = Whole(content.data)
        else:
            judged = self.judge_content(content.data, content.sig, is_adopted_next=is_adopted_next)
        is_complete = isinstance(judged, Whole | Drop | document.Many)
        if is_complete and written_at is not None and 0 <= self._clock.now() - written_at < WRITER_S:
            return Open()
        return judged

    def judge_content(self, data: bytes, sig: files.FileSig | None, *, is_adopted_next: bool = False) -> Content:
        """Say what a text is that is not a record, or that is adopted like a drop although it is one.

        With `is_adopted_next` the caller adopts the drop at once, which finds whether it can be kept as a record. A
        unique job may replace others before that, so it is checked here in any case.
        """
        if len(data) > JOB_MAX_BYTES and record.exact(data) is None:
            return too_large(sig, JOB_MAX_BYTES)
        parsed = document.parse(data, lines=False)
        if isinstance(parsed, document.Incomplete):
            return Arriving(sig, parsed.why, parsed.hint)
        if not isinstance(parsed, document.Single):
            return parsed
        try:
            defaults, now_at = self._settings.retry_defaults, self._clock.now()
            is_framed_next = is_adopted_next and "unique" not in parsed.document
            accepted = document.accept(parsed.document, defaults=defaults, now_at=now_at, is_framed_next=is_framed_next)
            return Drop(data, accepted)
        except InvalidJobError as error:
            return document.Refused(str(error), error.hint)

    def refuse_owner(self, content: files.Content) -> document.Refused | None:
        """Return why a file is refused whose owner's jobs do not run here (P10), else None."""
        if self.owners is None or content.owner in self.owners:
            return None
        return document.Refused(*trust.foreign_owner(content.owner))

    def unreadable(self, path: str, error: OSError) -> Unreadable:
        """Return that a file cannot be read now: another program has locked it, or its mode forbids reading.

        Such a file is tried again later and never rejected. Raises `error` again if the machine has a problem.
        """
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM) or (
            sharing.may_be_of_one_file(error) and self.blame.fault(error, path) is None
        ):
            raise error
        return Unreadable(signature(path), f"it cannot be read: {error.strerror}")

    def stuck(self, name: str, error: OSError) -> Stuck | None:
        """Return why this one file cannot be claimed, after a move of it raised; None if the machine is at fault."""
        path = self._spool.path(PENDING, name)
        fault = self.blame.fault(error, path)
        return None if fault is None else Stuck(signature(path), fault.path, fault.text, fault.cure)


def too_large(sig: files.FileSig | None, limit: int) -> Arriving:
    """Return that a file is too large to be a job; if it stays too large, it is rejected."""
    return Arriving(sig, f"the file is larger than {limit} bytes", _LARGE_HINT)


def signature(path: str) -> files.FileSig | None:
    """Return the signature of a file with a problem; None if it is gone or cannot be examined."""
    try:
        return files.sig_of(path)
    except OSError:
        return None
