"""Split files with many jobs, a step at a time; each step holds the stripe of the file's token (P1, P6).

A file that holds many jobs is moved to taken/ under the stripe of its id. From then on the stripe of its token guards
each step; `splitter` has the steps.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from queuectl.jobs.judge import Judge
from queuectl.jobs.verdict import Busy, Foreign, Gone, Rejected, Split, SplitStuck, Splitting, Unreadable
from queuectl.model import names
from queuectl.model.lifecycle import PENDING
from queuectl.spool import batch
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import files, sharing

if TYPE_CHECKING:
    from queuectl.jobs.splitter import Splitter

Step = Gone | Foreign | Rejected | Splitting | Split | SplitStuck
"""The results of a step."""


class Splits:
    """Splits the files with many jobs of one spool."""

    def __init__(self, session: Session, stripes: Stripes, judge: Judge, roster: Roster) -> None:
        self._session, self._spool = session, session.spool
        self._stripes = stripes
        self._judge = judge
        self._roster = roster

    @cached_property
    def _splitter(self) -> Splitter:
        from queuectl.jobs.splitter import Splitter  # most workers never meet such a file

        return Splitter(self._session, self._roster)

    def split(self, name: str) -> Step | Unreadable | Busy:
        """Take a file with many jobs that has been quiet for long enough, and make its first step.

        Raises:
            OSError: a problem of the machine, or of this file.
        """
        job_id = names.clean_id(name.rpartition(".")[0])
        stripe = self._stripes.of(job_id)
        if not stripe.try_acquire():
            return Busy()
        try:
            return self.begin(name, job_id)
        finally:
            stripe.release()

    def begin(self, name: str, job_id: str) -> Step | Unreadable:
        """Do the same as `split`, for a caller that holds the stripe of the file's id."""
        try:
            taken = self._splitter.take(name, job_id)
        except FileNotFoundError:
            return Gone()
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return self._judge.unreadable(self._spool.path(PENDING, name), error)
        # The stripe of the token guards a step. It may be the same as the stripe of the id, which is held.
        if names.stripe_of(batch.token_of(taken)) == names.stripe_of(job_id):
            return self._step(taken)
        return self.go_on(batch.key_of(taken))

    def go_on(self, key: str) -> Step:
        """Make the next step of splitting the file that `key` names (see `batch.key_of`).

        Raises:
            OSError: a problem of the machine; make the step again.
        """
        taken = batch.taken_of(key)
        stripe = self._stripes.of(batch.token_of(taken))
        if not stripe.try_acquire():
            return Splitting(key)  # another worker makes a step
        try:
            return self._step(taken)
        finally:
            stripe.release()

    def _step(self, taken: str) -> Step:
        key = batch.key_of(taken)
        try:
            step = self._splitter.step(taken)
        except FileNotFoundError:
            return Gone()
        except files.NotRegularError:
            return Foreign(None, "it is not a regular file")
        except PermissionError as error:
            if not sharing.is_held(error) and error.filename != batch.path_of(self._spool, taken):
                raise
            return SplitStuck(key, f"it cannot be read: {error.strerror}")
        if step.kept:
            return Rejected(step.kept, step.why)
        if not step.note.is_over:
            return Splitting(key, step.note.made, step.names, is_step=True)
        return Split(step.note.file, step.note.made, step.names, batch.refused_text(step.note))
