"""Record and report how the runs of a worker ended. No outcome is dropped because of a problem of the disk (P9)."""

from __future__ import annotations

import os
from collections.abc import Generator

from queuectl.jobs import error_text
from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Gone, Settled, Unrecorded
from queuectl.model import lifecycle
from queuectl.spool.blame import Blame, Fault
from queuectl.spool.session import Session
from queuectl.worker.link import Link
from queuectl.worker.messages import Finished, Halted, Passed, Restored, Trouble, Vanished
from queuectl.worker.slot import Slot
from queuectl.worker.unsettled import EndedRun, Unsettled

_RETRY_SETTLE_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
# After this many tries a worker keeps an outcome that one file does not accept, and continues with other jobs.
_KEEP_AFTER_TRIES = 2


class Recorder:
    """Settles the runs of one worker."""

    def __init__(self, session: Session, settlements: Settlements, blame: Blame, *, link: Link) -> None:
        self.session = session
        self._spool = session.spool
        self._settlements = settlements
        self._blame = blame
        self._link = link
        self.unsettled = Unsettled(session, settlements)
        """The outcomes that could not be recorded yet."""

    def wait_s(self) -> float | None:
        """Return the number of seconds until such an outcome is tried again; None if there is none."""
        return self.unsettled.wait_s()

    def record(self, run: EndedRun, slot: Slot) -> Generator[float, object, None]:
        """Record an outcome and move the job; prepare the slot for the next one.

        Yield the number of seconds until the next try, if the disk does not accept the outcome now.
        """
        claimed, outcome = run.claimed, run.outcome
        tries = 0
        settled: Settled | None = None
        while not self._link.is_abandoning:
            try:
                # Its size, for a tenth of the instructions of fstat. Whatever still writes there appends.
                if slot.output.fd < 0 or os.lseek(slot.output.fd, 0, os.SEEK_END):
                    slot.output.keep(claimed.job_id, claimed.attempt)
                if slot.desk.has_news(run.started_s):
                    claimed.given = slot.desk.collect(claimed.job_id, claimed.attempt, before=claimed.given)
                settled = self._settlements.settle(claimed, outcome)
                break
            except OSError as error:
                if self._spool.is_taken_away(error, lifecycle.RUNNING, claimed.name):
                    break
                fault = self._blame.fault(error, self._spool.path(lifecycle.RUNNING, claimed.name))
                if fault is not None and tries >= _KEEP_AFTER_TRIES and not self.unsettled.is_full:
                    self._keep(run, fault, slot)
                    return
                if tries == 0 and fault is None:
                    self._link.report(Trouble(f"cannot record how {claimed.job_id} ended: {error.strerror}"))
                    self._link.flush()
                if self._link.is_killing:
                    return  # the lease ends with this process, so the run counts as abandoned and is tried again
                wait_s = _RETRY_SETTLE_S[min(tries, len(_RETRY_SETTLE_S) - 1)]
                tries += 1
                yield wait_s
        self._report_end(run, settled)
        while self._spool.restored:
            self._link.report(Restored(self._spool.restored.pop()))
        is_plain = outcome.kind == lifecycle.SUCCEEDED and settled is not None and not outcome.left
        link = self._link
        has_more = bool(link.names or link.lanes.waiting)
        slot.renew(is_plain=is_plain, is_free=run.is_last and has_more and not link.is_stopping)

    def try_again(self, *, at_once: bool = False) -> None:
        """Try again to record the kept outcomes: those that are due, or all."""
        if self._link.is_abandoning:
            return
        for run, settled in self.unsettled.step(at_once=at_once):
            self._report_end(run, settled)
            if settled is None:
                self._link.report(Passed(run.name, Gone()))
            self._link.flush()

    def close(self) -> None:
        """Keep trying before the worker ends, until the supervisor wants an end at once or is gone."""
        link = self._link
        self.try_again(at_once=True)
        while (wait_s := self.unsettled.wait_s()) is not None and not link.is_killing and link.channel.is_connected:
            link.wait(wait_s)
            self.try_again()
        self.unsettled.close()

    def _report_end(self, run: EndedRun, settled: Settled | None) -> None:
        """Report how a run ended and its next state; `settled` is None if its file was moved or deleted."""
        claimed, outcome = run.claimed, run.outcome
        if settled is None:
            self._link.report(Vanished(run.name, claimed.job_id, outcome))
            return
        if settled.to == lifecycle.DLQ:
            error_text.write(self.session, settled.name)
        retries = claimed.record.max_retries
        left = max(0, retries - claimed.failures - (outcome.kind in lifecycle.COUNTED))
        if claimed.gate is not None and claimed.gate.halted:
            self._link.report(Halted(claimed.gate.halted))
        finished = Finished(run.name, claimed.job_id, claimed.attempt, outcome, settled, left, retries, run.command)
        self._link.report(finished)

    def _keep(self, run: EndedRun, fault: Fault, slot: Slot) -> None:
        """Keep an outcome that the job's file does not accept, and continue under another lease."""
        self.unsettled.keep(run, slot.hand_over_lease())
        text = f"cannot record how {run.claimed.job_id} ended: {fault.text}"
        self._link.report(Passed(run.name, Unrecorded(fault.path, text, fault.cure)))
