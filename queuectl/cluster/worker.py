"""A worker whose commands run on the nodes of a cluster: the worker's loop, with another executor in its place.

It claims nothing that cannot start now: it has as many slots as the nodes have places for it. One process, many runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import Connection

import msgspec

from queuectl.cluster.adoption import Adopted, Adoption
from queuectl.cluster.command import Command
from queuectl.cluster.executor import ClusterExecutor
from queuectl.cluster.link import Link as NodeLink
from queuectl.errors import DamagedRecordError
from queuectl.flows.admission import NO_PLACE
from queuectl.jobs import budget
from queuectl.jobs.verdict import Claimed, Gated, Paused
from queuectl.model import names, needs
from queuectl.model.lifecycle import FAILED, PENDING, SNOOZED, Outcome
from queuectl.spool import stamps
from queuectl.spool.session import Session
from queuectl.system.locks import NamedLock
from queuectl.worker.attendant import Attended
from queuectl.worker.executors.base import Ended
from queuectl.worker.messages import Left, Offers, Passed, Places, Remark
from queuectl.worker.run import Run
from queuectl.worker.slot import Slot
from queuectl.worker.worker import Worker

# So many claims go into one batch of starts: a node then starts the first while the next are claimed.
_BATCH = 16
# In the name of a job that needs resources.
_NEEDS = ",needs="
_NEEDS_KEPT = 1000


class NodeStarter:
    """See `worker.run.Starter`: starts a claimed job on the node that was chosen before the claim."""

    def __init__(self, executor: ClusterExecutor) -> None:
        self._executor = executor
        self.is_homeless = False
        self.place: NodeLink | None = None
        """Where the next job starts."""
        self.adopted: Adopted | None = None
        """The run to take over instead."""
        self.unsent = 0
        """How many jobs were started since the last messages left."""

    def start(self, claimed: Claimed, slot: Slot) -> Command:
        """Start the command of a claimed job, or take it over."""
        if (adopted := self.adopted) is not None:
            self.adopted = None
            where = {"session": adopted.session, "node": adopted.node, "member": adopted.member}
            return self._executor.adopt(claimed, slot.output_fd, **where)
        assert self.place is not None
        self.unsent += 1
        return self._executor.start_on(self.place, claimed, slot.output_fd)

    def check_folder(self) -> None:
        """Do nothing: folders are the node's."""


class NodeRun(Run):
    """See `worker.run.Run`. The node's keeper keeps the limits, also while it is cut off."""

    process: Command
    keeps_limits = False

    def outcome(self, ended: Ended, duration_s: float, *, is_stop: bool = False) -> Outcome:
        """Return the outcome that the node told, or what its silence means."""
        outcome = self.process.outcome
        assert outcome is not None
        code, item = outcome.exit_code, self.claimed.record
        if outcome.kind == FAILED and code is not None and budget.is_snooze(code, item, self._session.settings):
            return msgspec.structs.replace(outcome, kind=SNOOZED)
        return outcome


class AdoptedSlot(Slot):
    """The slot of a run that a dead worker has begun: its lease and its output."""

    def __init__(self, session: Session, worker: str, numbers: Iterator[int], lock: NamedLock, lease: str) -> None:
        super().__init__(session, worker, numbers)
        self.lease.take_over(lock, lease)
        self.output_fd = self.output.take_over(lease)

    def renew(self, *, is_plain: bool, is_free: bool = False) -> None:
        """Leave the old lease in any case: the next run is another session's."""
        super().renew(is_plain=False)


class ClusterWorker(Worker):
    """The loop of a worker process whose commands run on nodes. `slots` is the most that it runs at once."""

    run_type = NodeRun
    is_local = False

    def __init__(
        self,
        conn: Connection,
        session: Session,
        executor: ClusterExecutor,
        *,
        worker: str,
        cwd: str,
        slots: int,
        only: tuple[str, ...] = (),
    ) -> None:
        self._nodes = executor
        self._most = executor.board.most = slots
        self._known_needs: dict[str, dict[str, float]] = {}
        """What jobs need, by the flag in their names."""
        self._lacking: dict[str, dict[str, float]] = {}
        """What jobs need for which no node had a place."""
        self._told = 0
        """How many slots the pool knows of."""
        self._node_starter = NodeStarter(executor)
        self._commands: dict[Attended, Command] = {}
        self._left: list[Attended] = []
        """Runs that go on without this worker. Their leases are free when this process has ended."""
        super().__init__(
            conn,
            session,
            worker=worker,
            cwd=cwd,
            slots=0,
            only=only,
            executor=executor,  # type: ignore[arg-type]  # a node is chosen before the start: `start_on`
            starter=self._node_starter,  # type: ignore[arg-type]  # for nodes
        )
        executor.remark_to = self._remark
        lock = stamps.lock(session.spool, worker)
        assert lock is not None, "another process has this worker's name"
        self._lock = lock
        self._adoption = Adoption(session, self._stripes, own=worker)

    def run(self) -> None:
        """Work until the supervisor orders a stop or is gone; tell the nodes what they may forget."""
        super().run()
        if self._left:
            self._link.report(Left([run.claimed.job_id for run in self._left], self._nodes.left_s()))
            self._link.flush()
        self._nodes.close()
        self._nodes.board.remove()
        if not self._nodes.has_any_of(self._name):
            stamps.remove(self._spool, self._name, self._lock)

    def _remark(self, text: str, is_warning: bool) -> None:
        """Tell the pool at once: without a node this worker may wait for long."""
        self._link.report(Remark(text, is_warning))
        self._link.flush()

    # ---------------------------------------------------------------------------------------------------- loop

    def _wait(self, timeout_s: float | None) -> None:
        """Take the steps of the nodes, then wait as every worker does."""
        has_more = self._free and self._link.names and timeout_s == 0
        if not has_more or self._node_starter.unsent >= _BATCH:  # else the next claim goes into the same batch
            self._node_starter.unsent = 0
            step_s = self._nodes.step()
            self._adopt()
            timeout_s = step_s if timeout_s is None else min(timeout_s, step_s)
        self._resume_ended()
        self._fit_slots()
        if self._lacking:
            self._look_for_places()
        super()._wait(timeout_s)
        self._resume_ended()
        if self._link.is_leaving:
            self._leave()

    def _leave(self) -> None:
        """Part with the runs that nodes go on with; put back those that no node was asked to start."""
        self._nodes.release_unsent()
        self._resume_ended()
        for run, command in list(self._commands.items()):
            if command.outcome is None and run in self._runs:
                del self._runs[run]
                self._by_process.pop(command, None)
                self._left.append(run)

    def _resume_ended(self) -> None:
        for process, how in self._nodes.ended():
            self._resume(self._by_process[process], how)

    def _resume(self, run: Attended, ended: Ended | None = None, *, error: OSError | None = None) -> None:
        super()._resume(run, ended, error=error)
        if isinstance(run.process, Command):
            self._commands[run] = run.process
        elif run not in self._runs and (command := self._commands.pop(run, None)) is not None:
            self._nodes.settled(command)

    def _reload(self) -> None:
        self._most = self._nodes.board.most = self._link.new_settings.get("cluster_slots", self._most)
        super()._reload()

    def _fit_slots(self) -> None:
        """Have as many free slots as the nodes have places, and tell the pool."""
        slots = len(self._runs)
        if not self._link.is_stopping:
            slots = max(slots, min(self._most, slots + self._nodes.places()))
        self._link.slots = slots
        if slots != self._told:
            self._told = slots
            self._link.report(Places(slots))
            if slots == len(self._runs) and self._link.names:
                self._hand_back("", Paused())
            if not self._link.names:  # else the news goes with the next reports
                self._link.flush()

    # -------------------------------------------------------------------------------------------------- claim

    def _work(self, name: str) -> None:
        """Choose a node, then claim."""
        parts = names.parse(name) if _NEEDS in name else None
        resources = {} if parts is None else self._resources_of(name, parts.needs)
        place = self._nodes.choose(resources)
        if place is None and parts is not None and resources:
            self._lacking[parts.needs] = resources
            self._link.report(Passed(name, Gated(name, parts.queue, "", NO_PLACE)))
            return
        if place is None:
            self._hand_back(name, Paused())
            return
        self._admission.offers = resources
        self._node_starter.place = place
        self._claims.where = {"node": place.node, "member": place.member}
        super()._work(name)

    def _resources_of(self, name: str, needed: str) -> dict[str, float]:
        """Return what a job in pending/ needs. Its name says it, but not always whole."""
        if needed not in self._known_needs:
            try:
                found = self._spool.read(PENDING, name).record.extras.resources
            except (OSError, DamagedRecordError):
                return {}  # gone, or a drop: the claim finds out
            if not found or needs.flag(found) != needed:
                return found
            if len(self._known_needs) >= _NEEDS_KEPT:
                self._known_needs.clear()
            self._known_needs[needed] = found
        return self._known_needs[needed]

    def _look_for_places(self) -> None:
        """Tell the pool which jobs fit now that did not before."""
        for needed, resources in list(self._lacking.items()):
            if self._nodes.choose(resources) is not None:
                del self._lacking[needed]
                self._link.report(Offers(needed))
                self._link.flush()

    def _adopt(self) -> None:
        """Take over the runs of dead workers, one after the other."""
        if self._link.is_stopping:
            return
        for session in self._adoption.sessions:
            if not self._nodes.has_any_of(session):
                self._adoption.release(session)
        for adopted in self._adoption.step():
            slot = AdoptedSlot(self._session, self._name, self._numbers, adopted.lock, adopted.claimed.lease)
            self._node_starter.adopted = adopted
            run = self._attendant.attend(slot, adopted.claimed.name, adopted.claimed)
            self._runs[run] = None
            self._resume(run)
            self._link.report(Remark(f"{adopted.claimed.job_id} goes on: its worker died, and its command runs on"))
