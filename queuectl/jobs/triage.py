"""Handle drops before their claim: give them their full names, repair or reject those that stay broken.

A pool does this beside its workers. A name is only a hint: the claim detects a file that changes later (P6, P11).
"""

from __future__ import annotations

import contextlib
import errno

from queuectl.errors import InvalidJobError
from queuectl.flows import dependencies
from queuectl.jobs import blocking, ending, reject, repair
from queuectl.jobs.adopt import Adopter
from queuectl.jobs.judge import Candidate, Drop, Judge, Whole
from queuectl.jobs.take import Take, Taken, put_back
from queuectl.jobs.verdict import (
    Arriving,
    Busy,
    Dead,
    Foreign,
    Gone,
    Later,
    Many,
    Open,
    Rejected,
    Repaired,
    Skipped,
    Stuck,
    Unreadable,
)
from queuectl.model import document, names, record, times
from queuectl.model.lifecycle import PENDING
from queuectl.spool import full_names
from queuectl.spool.layout import Located, name_for
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files, sharing

# Jobs with one of these keys are taken in before their turn.
_TAKEN_IN = frozenset({"expires_after", "after", "unique"})
Adopted = Busy | Arriving | Unreadable | Foreign | Gone | Dead | Skipped | Later | Rejected
"""The results of adopting a drop before its turn."""
Verdict = Adopted | Open | Many
"""The results of judging a drop before its turn."""


class Triage:
    """Judges, names, repairs and rejects the drops of one spool. Starts nothing."""

    def __init__(self, session: Session, stripes: Stripes) -> None:
        self._session = session
        self._spool, self._clock = session.spool, session.clock
        self._stripes = stripes
        self._judge = Judge(session)
        self.blame = self._judge.blame
        self._take = Take(session, self._judge)
        self._adopter = Adopter(session, stripes, Roster(session.spool, clock=session.clock))

    def stuck(self, name: str, error: OSError) -> Stuck | None:
        """Return why this one file cannot be claimed, after a method here raised; None if the machine is at fault."""
        return self._judge.stuck(name, error)

    # ------------------------------------------------------------------------------------------- before its turn

    def judge(self, name: str) -> Verdict | None:
        """Judge a drop in pending/ before its turn and give it its full name: one rename, under the stripe of its id.

        A drop with a delay is adopted, because its wait begins now, and so is a drop that expires, has parents, or is
        unique. Return `Later` with the new name; for a file that cannot be claimed, the result of `claim`, but `Many`
        for a file that it would split; or None if the file keeps its name.

        Raises:
            OSError: the same as `claim`.
        """
        parts = names.parse(name)
        if parts is None or names.is_held(name):
            return None
        candidate = Candidate(name, parts, names.clean_id(parts.stem))
        stripe = self._stripes.of(candidate.job_id)
        if not stripe.try_acquire():
            return Busy()
        try:
            judged = self._judge.judge_file(name)
            if isinstance(judged, Drop) and _counts_from_now(judged.accepted, self._clock.now()):
                return self._take_in_to_wait(candidate, judged)
            if isinstance(judged, Whole) and parts.after:
                return self._unblock(candidate, judged)
            if isinstance(judged, Whole | Drop):
                return self._give_full_name(candidate, judged)
            if isinstance(judged, document.Refused):
                here = Located(PENDING, name, self._spool.path(PENDING, name))
                return reject.refuse(self._session, here, name, judged)
            return Many() if isinstance(judged, document.Many) else judged
        finally:
            stripe.release()

    def _give_full_name(self, candidate: Candidate, judged: Whole | Drop) -> Gone | Busy | Later | None:
        """Rename a drop in pending/ according to its content."""
        path = self._spool.path(PENDING, candidate.name)
        accepted = judged.accepted if isinstance(judged, Drop) else None
        try:
            changed_at = files.last_change(path)[1]
            now_at = self._clock.now()
            wanted = full_names.full_name(candidate.parts, accepted, judged.data, changed_at=changed_at, now_at=now_at)
            if wanted in ("", candidate.name):
                return None
            disk.move(path, self._spool.path(PENDING, wanted), patience_s=sharing.GLANCE_S)
        except FileNotFoundError:
            return Gone()
        except FileExistsError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # this file system allows only shorter names
                return None
            if isinstance(error, PermissionError) and sharing.is_held(error):
                return Busy()
            raise
        return Later(wanted)

    def _unblock(self, candidate: Candidate, judged: Whole) -> Gone | Busy | Later | None:
        """Give a job whose parents are met its full name, if the order of runs or a gate must know more about it."""
        item = record.decode(judged.data)
        if item.blocked is None:
            return self._give_full_name(candidate, judged)
        if dependencies.look(self._spool, item) is not None:
            return None  # its claim decides
        here = Located(PENDING, candidate.name, self._spool.path(PENDING, candidate.name))
        met = record.decode(record.append(len(judged.data), [blocking.unblocked(self._clock.now())]).on(judged.data))
        parts = names.parse(name_for(met, met.standing(), self._clock.now()))
        if parts is None or parts == names.NameParts(item.id, None, 0):
            return None
        try:
            data = blocking.settle_parents(self._session, here, judged.data, item)
        except FileNotFoundError:
            return Gone()
        except BlockingIOError:
            return Busy()
        return self._give_full_name(candidate, Whole(data)) or Busy()

    def _take_in_to_wait(self, candidate: Candidate, drop: Drop) -> Adopted:
        """Make a record of a drop with a delay, as a claim does, and put it back to wait."""
        try:
            here = self._take.move(candidate)
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return Busy()
        if not isinstance(here, Located):
            return here
        try:
            taken = self._take.open(candidate, here, drop)
            return self._adopt(taken, drop.accepted) if isinstance(taken, Taken) else taken
        except ending.UnburiedError:
            raise
        except OSError:
            with contextlib.suppress(OSError):
                put_back(self._session, here, candidate.name)
            raise

    def _adopt(
        self, taken: Taken, accepted: document.Accepted
    ) -> Busy | Arriving | Gone | Dead | Skipped | Later | Rejected:
        try:
            with contextlib.ExitStack() as held:
                adopted = self._adopter.adopt(taken, accepted, None, held)
        except InvalidJobError as error:
            refused = document.Refused(str(error), error.hint)
            return reject.refuse(self._session, taken.here, taken.candidate.name, refused)
        finally:
            taken.close()
        assert isinstance(adopted, Dead | Skipped | Later | Busy), "nothing is started without a lease"
        return adopted

    # -------------------------------------------------------------------------------------------- no job so far

    def reject_quiet(self, name: str, arriving: Arriving) -> Busy | Arriving | Repaired | Gone | Rejected:
        """Reject a file that has not become whole, if it is still the version that `arriving` describes.

        A record that lost its end (power cut, aborted copy) is repaired instead.

        Raises:
            OSError: a problem of the machine, or of this file, see `stuck`.
        """
        parts = names.parse(name)
        stripe = self._stripes.of(names.clean_id(parts.stem if parts else name.rpartition(".")[0]))
        if not stripe.try_acquire():
            return Busy()
        where = Located(PENDING, name, self._spool.path(PENDING, name))
        try:
            if files.sig_of(where.path) != arriving.sig:
                return Arriving(None, arriving.why)
            if self._repair(where):
                return Repaired()
            return reject.refuse(self._session, where, name, document.Refused(arriving.why, arriving.hint))
        finally:
            stripe.release()

    def _repair(self, where: Located) -> bool:
        try:
            content = self._spool.read_document(where.path)
        except (FileNotFoundError, files.NotRegularError, PermissionError):
            return False  # any other error is a problem of the machine, not a reason to refuse a file (P9)
        return repair.repair(self._session, where, content.data) is not None


def _counts_from_now(accepted: document.Accepted, now_at: float) -> bool:
    """Whether a drop has a time that counts from when it is taken in, has expired, has parents, or is unique."""
    if accepted.history:
        return False
    limit = accepted.spec.get("expires_at")
    is_expired = limit is not None and times.from_text(limit) < now_at
    return accepted.due_at is not None or is_expired or not _TAKEN_IN.isdisjoint(accepted.spec)
