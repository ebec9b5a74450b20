"""A worker process: receives names from the supervisor, claims them, runs commands in its slots, settles, reports.

A worker never decides which job is next and never looks for work; a name is only a suggestion, and the claim proves it.
If the supervisor is gone (its end of the pipe closes), the worker ends after its jobs. Every problem of the machine is
reported, and none counts against a job (promise P9).

One loop waits for the ends of commands, for orders, and for the next step of a run (see `attendant`). Nothing else
waits, so that no run delays another. A defect of queuectl that a run meets ends that run alone: see `Worker._isolate`.
"""

from __future__ import annotations

import errno
import functools
import itertools
import math
import os
import time
from multiprocessing.connection import Connection
from typing import Any, ClassVar

from queuectl.flows.admission import Admission
from queuectl.jobs import error_text
from queuectl.jobs.claim import Claims
from queuectl.jobs.settle import Settlements
from queuectl.jobs.verdict import Claimed, Dead, Declined, Foreign, Gated, Paused, Returned
from queuectl.model import queues
from queuectl.spool import batch, pause
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.worker.attendant import Attendant, Attended
from queuectl.worker.executors import choose
from queuectl.worker.executors.base import Ended, Executor, Process
from queuectl.worker.link import Link
from queuectl.worker.messages import Defect, Passed, Trouble
from queuectl.worker.recorder import Recorder
from queuectl.worker.run import Run, Starter
from queuectl.worker.slot import Slot

# How long a worker may take to notice the file PAUSED, so that short jobs share a look.
_PAUSED_WITHIN_S = 0.005
# If the system cannot wait, the worker continues after this long.
_CANNOT_WAIT_S = 0.05
# With more runs than this, steps are due together, at multiples of this time: each wait looks at every run.
_MANY_RUNS, _TOGETHER_S = 64, 0.1


class Worker:
    """The loop of one worker process. `cluster.worker` has another, whose commands run on other machines."""

    run_type: ClassVar[type[Run]] = Run
    is_local: ClassVar[bool] = True

    def __init__(
        self,
        conn: Connection,
        session: Session,
        *,
        worker: str,
        cwd: str,
        slots: int = 1,
        only: tuple[str, ...] = (),
        executor: Executor | None = None,
        starter: Starter | None = None,
    ) -> None:
        self._name = worker
        self._admission = Admission(session, only)
        self._spool = session.spool
        self._clock = session.clock
        self._stripes = Stripes(session.spool)
        self._executor = executor or choose.make(session.settings.shell)
        self._link = Link(conn, self._executor, session.clock)
        self._starter = starter or Starter(self._executor, session.spool, cwd)
        self._use(session)
        self._recorder = Recorder(session, self._settlements, self._claims.blame, link=self._link)
        self._attendant = self._new_attendant()
        self._numbers = itertools.count()
        self._new_slot = functools.partial(Slot, session, worker, self._numbers)
        self._link.slots = slots
        self._free = [self._new_slot() for _ in range(slots)]
        """The slots without a run; the last slot is used first."""
        self._runs: dict[Attended, None] = {}
        """The runs in progress, oldest first."""
        self._by_process: dict[Process, Attended] = {}
        """The runs that wait for the end of their command."""
        self._unsafe: list[Slot] = []
        """Slots whose command may still run, after a defect: their leases end with this process."""
        self._claimed_s = 0.0
        """When the last claim began (monotonic)."""
        self._unpaused_s = -_PAUSED_WITHIN_S
        """When PAUSED was last found missing (monotonic)."""

    def run(self) -> None:
        """Work until the supervisor orders a stop or is gone."""
        link, recorder = self._link, self._recorder
        link.flush()
        while self._runs or not link.is_stopping:
            if len(self._free) + len(self._runs) != link.slots:
                self._resize()
            if link.new_settings:
                self._reload()
            if link.new_queues is not None:
                self._use_queues(link.new_queues)
            if self._free and link.names and not link.is_stopping and not link.is_held():
                name = link.names.popleft()
                if link.lanes.queue_of:
                    self._work_in_lane(name)
                else:
                    self._work(name)
            if link.flush_by_s < math.inf:
                link.flush_in_time()
            again_s = math.inf
            if recorder.unsettled.runs:
                recorder.try_again()
                again_s = self._clock.monotonic() + (recorder.wait_s() or 0)
            self._wait(self._timeout_s(again_s))
        recorder.close()
        link.flush()
        for slot in self._free:
            slot.close()

    def stop(self) -> None:
        """Claim no more jobs; end after the running jobs."""
        self._link.stop()

    def note_stop(self) -> None:
        """Remember a request to stop, for this pool or for every process on this machine."""
        self._link.note_stop()

    def _use(self, session: Session) -> None:
        self._session = session
        self._admission.use(session)
        self._claims = Claims(
            session, self._stripes, worker=self._name, admission=self._admission, is_local=self.is_local
        )
        self._settlements = Settlements(session, self._stripes)

    def _new_attendant(self) -> Attendant:
        return Attendant(
            self._settlements, self._starter, self._recorder, self._link, give_up=self._give_up, run_type=self.run_type
        )

    def _reload(self) -> None:
        """Use new settings for the next attempts. Those that run keep the settings that they began with."""
        values, self._link.new_settings = self._link.new_settings, {}
        settings = self._session.settings._replace(**values)
        self._use(self._session._replace(settings=settings))
        self._executor.use_shell(settings.shell)
        self._recorder.session = self._session
        self._attendant = self._new_attendant()

    def _use_queues(self, values: dict[str, tuple[Any, ...]]) -> None:
        self._link.new_queues = None
        queues.replace(self._session.settings.queues, {name: queues.Queue(*fields) for name, fields in values.items()})

    def _resize(self) -> None:
        """Create slots, or close slots without a run, until their number is right."""
        missing = self._link.slots - len(self._free) - len(self._runs)
        for _ in range(missing):
            self._free.append(self._new_slot())
        while missing < 0 and self._free:
            self._free.pop().close()
            missing += 1

    # ---------------------------------------------------------------------------------------------------- loop

    def _timeout_s(self, due_s: float) -> float | None:
        """Return how long the loop may wait, not beyond `due_s` (monotonic); None: until an event."""
        link = self._link
        if link.is_stopping:
            if not self._runs:
                return 0
        elif self._free and link.names:
            if not link.is_held():
                return 0
            due_s = min(due_s, link.held_until_s)
        if link.flush_by_s < due_s:
            due_s = link.flush_by_s
        for each in self._runs:
            if each.due_s < due_s:
                due_s = each.due_s
        return None if due_s == math.inf else max(0.0, due_s - self._clock.monotonic())

    def _wait(self, timeout_s: float | None) -> None:
        """Wait for an event or a due step, and resume the runs that it concerns."""
        link = self._link
        try:
            link.wait(timeout_s)
        except OSError as error:
            self._cannot_wait(error)
        ended = link.channel.ended()
        if ended is not None:
            # First of all, because a run resumed for another reason would believe that its command still runs.
            for process, how in ended:
                self._resume(self._by_process[process], how)
            if self._runs:
                for each in [each for each in self._runs if each.is_ending]:
                    self._resume(each)
        if link.has_news:
            link.has_news = False
            for each in list(self._runs):
                self._resume(each)
            link.forget_news()
        if self._runs:
            now_s = self._clock.monotonic()
            for each in [each for each in self._runs if each.due_s <= now_s]:
                self._resume(each)

    def _cannot_wait(self, error: OSError) -> None:
        """End the runs that wait for their command, because its end would go unnoticed. Without any, end the worker."""
        if not self._by_process:
            self._link.stop()
        for each in list(self._by_process.values()):
            self._resume(each, error=error)
        time.sleep(_CANNOT_WAIT_S)

    def _resume(self, run: Attended, ended: Ended | None = None, *, error: OSError | None = None) -> None:
        """Let a run take its next step."""
        process = run.process
        try:
            wait_s = run.steps.send(ended) if error is None else run.steps.throw(error)
        except StopIteration:
            del self._runs[run]
            self._free.append(run.slot)
            if self._link.lanes.queue_of:
                self._leave_lane(run.name)
        except Exception as defect:
            self._isolate(run, defect)
        else:
            run.due_s = self._clock.monotonic() + wait_s
            if len(self._runs) > _MANY_RUNS:
                run.due_s = math.ceil(run.due_s / _TOGETHER_S) * _TOGETHER_S
        if run.process is not process:
            if process is not None:
                del self._by_process[process]
            if run.process is not None:
                self._by_process[run.process] = run

    def _isolate(self, run: Attended, defect: Exception) -> None:
        """End a run whose handling has failed by a defect of queuectl. The other runs go on.

        The run ends as if its worker had died: its command is ended, its lease is free, so it counts as abandoned, and
        a job that causes a defect runs as often as its retries allow. This process, which may be damaged, takes no more
        names and ends after its other runs; the supervisor starts another at once.
        """
        if not run.is_given_up:
            self._link.retire()
            self._link.report(Defect(run.name, run.claimed.job_id, describe(defect)))
            self._link.flush()
        run.is_given_up = True
        if run.process is not None:
            self._attendant.give_up(run)
            return
        del self._runs[run]
        if run.is_ending:
            self._unsafe.append(run.slot)
        else:
            self._attendant.leave(run)
            self._free.append(run.slot)

    # --------------------------------------------------------------------------------------------------- claim

    def _work(self, name: str) -> None:
        """Claim a name for a free slot and start its command, or report why not."""
        slot = self._free[-1]
        try:
            if self._is_paused():
                self._hand_back(name, Paused())
                return
            slot.check(self._claimed_s)
        except OSError as error:
            self._give_up(slot, error, name)
            return
        # Check the folder and the slot before the claim, so that failures do not end up on the job's record.
        if self._starter.is_homeless:
            try:
                self._starter.check_folder()
            except OSError as error:
                self._hand_back(name, Returned())
                self._link.report(Trouble(_line(error)))
                return
        if not slot.is_open:
            try:
                slot.open()
            except OSError as error:
                self._give_up(slot, error, name)
                return
        claimed = self._claim(name, slot)
        if claimed is not None:
            self._free.pop()
            run = self._attendant.attend(slot, name, claimed)
            self._runs[run] = None
            self._resume(run)

    def _work_in_lane(self, name: str) -> None:
        """Claim a name like `_work`, unless it must wait for the end of another one."""
        if not self._link.lanes.must_wait(name):
            self._work(name)
            if not any(run.name == name for run in self._runs):
                self._leave_lane(name)

    def _leave_lane(self, name: str) -> None:
        """Claim the name next that waited for this one, if there is one."""
        if (follower := self._link.lanes.ended(name)) is not None:
            self._link.names.appendleft(follower)

    def _is_paused(self) -> bool:
        """Return whether no job may be started now."""
        now_s = self._claimed_s = self._clock.monotonic()
        if now_s - self._unpaused_s < _PAUSED_WITHIN_S:
            return False
        paused = pause.is_paused(self._spool)
        if not paused:
            self._unpaused_s = now_s
        return paused

    def _claim(self, name: str, slot: Slot) -> Claimed | None:
        """Claim a name; if the claim is declined, report why and return None."""
        link = self._link
        try:
            if name in link.to_split:
                link.to_split.discard(name)
                claimed: Claimed | Declined = self._claims.splits.split(name)
            elif name.startswith(batch.IN_TAKEN):
                claimed = self._claims.splits.go_on(name)
            else:
                claimed = self._claims.claim(name, slot.lease.name)
        except OSError as error:
            stuck = self._claims.stuck(name, error)
            if stuck is None:
                self._give_up(slot, error, name)
            else:
                link.report(Passed(name, stuck))
                slot.change()
            return None
        except MemoryError:
            self._give_up(slot, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), name)
            return None
        except Exception as error:
            # A file that confuses the claim must not end one worker after the other (P6): report it and leave it alone.
            link.report(Passed(name, Foreign(None, describe(error))))
            slot.change()
            return None
        if isinstance(claimed, Claimed):
            return claimed
        if isinstance(claimed, Dead):
            error_text.write(self._session, claimed.name)
        link.report(Passed(name, claimed))
        if isinstance(claimed, Gated):
            link.return_behind(name)
        return None

    def _give_up(self, slot: Slot, error: OSError, name: str = "") -> None:
        """Return all names, because of a problem of the machine."""
        slot.abandon()
        self._hand_back(name, Returned())
        self._link.report(Trouble(_line(error)))

    def _hand_back(self, name: str, why: Paused | Returned) -> None:
        """Return this name and all queued ones, in reverse: each return goes to the front of the pool's queue."""
        link = self._link
        for other in reversed([name, *link.lanes.give_all_back(link.names), *link.names]):
            if other:
                link.report(Passed(other, why))
        link.names.clear()


def describe(defect: Exception) -> str:
    """Return an unexpected exception as one line, with the place in the program that raised it."""
    trace, where = defect.__traceback__, ""
    while trace is not None:
        where = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(defect).__name__}: {defect}{where}"


def _line(error: OSError) -> str:
    """Return an error of the operating system as one line."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"
