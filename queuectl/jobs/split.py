"""Split files of many jobs, a step at a time, each under the stripe that says who makes it (P1, P6).

A file that holds many jobs is moved to taken/ under the stripe of its id. From then on its token's own stripe guards
each step; what a step does is in `splitter`.
"""

from __future__ import annotations

import os

from queuectl.jobs.judge import Judge
from queuectl.jobs.splitter import Splitter
from queuectl.jobs.verdict import Busy, Foreign, Gone, Rejected, Split, SplitStuck, Splitting, Unreadable
from queuectl.model import names
from queuectl.model.lifecycle import PENDING
from queuectl.spool import batch
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import files, sharing

Step = Gone | Foreign | Rejected | Splitting | Split | SplitStuck
"""What came of a step."""


class Splits:
    """Splits the files of many jobs of one spool."""

    def __init__(self, session: Session, stripes: Stripes, judge: Judge, roster: Roster) -> None:
        self._spool = session.spool
        self._stripes = stripes
        self._judge = judge
        self._splitter = Splitter(session, roster)

    def split(self, name: str) -> Step | Unreadable | Busy:
        """Take in a file of many jobs that has been quiet for long enough, and make its first step.

        Raises:
            OSError: trouble of the machine, or of this file.
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
        """As `split`, for a caller that holds the stripe of the file's id."""
        try:
            taken = self._splitter.take(name, job_id)
        except FileNotFoundError:
            return Gone()
        except PermissionError as error:
            if not sharing.is_held(error):
                raise
            return self._judge.unreadable(self._spool.path(PENDING, name), error)
        # The file's own stripe says that a step is being made. It may be the one of the id, which is held.
        if names.stripe_of(batch.token_of(taken)) == names.stripe_of(job_id):
            return self._step(taken)
        return self.go_on(batch.key_of(taken))

    def go_on(self, key: str) -> Step:
        """Make the next step of splitting a file of many jobs, which `batch.key_of` names.

        Raises:
            OSError: the machine's trouble; the step is to be made again.
        """
        taken = batch.taken_of(key)
        stripe = self._stripes.of(batch.token_of(taken))
        if not stripe.try_acquire():
            return Splitting(key)  # somebody else makes a step
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
            return Foreign(None, "it is no regular file")
        except PermissionError as error:
            if not sharing.is_held(error) and error.filename != os.path.join(self._spool.taken_dir, taken):
                raise
            return SplitStuck(key, f"it cannot be read: {error.strerror}")
        if step.kept:
            return Rejected(step.kept, step.why)
        if not step.note.is_over:
            return Splitting(key, step.note.made, step.names)
        return Split(step.note.file, step.note.made, step.names, batch.refused_text(step.note))
