"""Pass requests to cancel a run on to the worker that runs it."""

from __future__ import annotations

from queuectl.jobs.triage import Triage
from queuectl.model.notice import WARNING, Notice
from queuectl.pool.core import Core
from queuectl.spool import cancel_requests
from queuectl.worker.messages import Cancel


class Cancellations:
    """Passes the requests in .queuectl/cancel/ on to the workers of one pool."""

    def __init__(self, core: Core, triage: Triage) -> None:
        self._core = core
        self._spool = core.session.spool
        self._triage = triage
        self.seen: set[tuple[str, int]] = set()
        """Runs whose request was passed on, or reported because it cannot be read."""

    def step(self, _now_s: float) -> None:
        """Tell the workers to end the runs that somebody wants to cancel."""
        if not any(worker.running for worker in self._core.workers):
            return
        with self._core.breaker.guard():
            for job_id, attempt in cancel_requests.waiting(self._spool):
                worker = next((worker for worker in self._core.workers if job_id in worker.running.values()), None)
                if worker is None or (job_id, attempt) in self.seen:
                    continue
                try:
                    request = cancel_requests.find(self._spool, job_id, attempt)
                except OSError as error:
                    fault = self._triage.blame.fault(error, self._spool.cancel_dir)
                    if fault is None:
                        raise
                    self.seen.add((job_id, attempt))
                    cure = f"; to fix this: {fault.cure}, then cancel the job again" if fault.cure else ""
                    text = f"cannot read the request to cancel {job_id}: {fault.text}{cure}"
                    self._core.notify(Notice(WARNING, "stuck", text))
                    continue
                if request is not None:
                    self.seen.add((job_id, attempt))
                    worker.send(Cancel(job_id, attempt, request.text))

    def finished(self, job_id: str, attempt: int) -> None:
        """Remove the request of a run that has ended."""
        if (job_id, attempt) in self.seen:
            self.seen.discard((job_id, attempt))
            cancel_requests.remove(self._spool, job_id, attempt)
