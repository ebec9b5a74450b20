"""The spool against a model of a few lines, under random operations, each of which may be cut short by a crash.

Two workers, a supervisor and a person with a command line and a mouse share one spool and one clock. Where a step is
cut short, the process that made it is gone, its locks are free, and a new supervisor looks after what it left; then
each job must be where the operation left it or where it had been, never anywhere else. After every step all files are
read again, by code that is not the package's.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from queuectl.errors import DuplicateJobError
from queuectl.jobs.verdict import Arriving, Claimed, Foreign, Unreadable
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES, Outcome
from queuectl.spool.layout import CANCELLED_ENDING, ERROR_ENDING
from tests.crash.driver import Hands
from tests.crash.inject import Crash, Plan, injected
from tests.helpers import FakeClock, make_spool, names_in, write_drop

pytestmark = pytest.mark.skipif(os.name == "nt", reason="stands in for POSIX calls")

OUTCOMES = {
    "success": Outcome("succeeded", 0, "", 1.0),
    "failure": Outcome("failed", 1, "", 1.0),
    "timeout": Outcome("timed_out", 143, "timed out", 1.0),
    "release": Outcome("released", None, "shutdown"),
}
COUNTED = ("failed", "timed_out", "abandoned")
ENDINGS = (*COUNTED, "succeeded", "released", "cancelled")


class State(NamedTuple):
    """What the model knows of a job: where it lies, its runs, its counted failures, its last event."""

    where: str
    starts: int
    failures: int
    last: str


NEW = State(PENDING, 0, 0, "enqueued")
GONE = None
Allowed = set[State | None]


class Seen(NamedTuple):
    """A job as it was found on disk."""

    state: State
    path: str
    max_retries: int
    due: tuple[str, float] | None
    history: list[dict[str, Any]]


class Raw(NamedTuple):
    """A dropped file that nobody has taken in yet. `ids` are those of the jobs that it holds, "" for none."""

    kind: str
    data: bytes
    ids: tuple[str, ...]


class Worker:
    """One worker process: its hands, and the job that it runs."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.runs: Claimed | None = None


CUTS = st.one_of(
    st.none(),
    st.none(),
    st.tuples(st.integers(1, 6), st.sampled_from(["before", "after", "torn", "torn late"])),
)
IDS = st.sampled_from(["a", "b", "c", "D"])
PICK = st.integers(0, 20)


class SpoolModel(RuleBasedStateMachine):
    """See the top of this file."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(
            tempfile.mkdtemp(prefix="queuectl-model-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        )
        self.clock = FakeClock()
        self.processes = 0
        self.spool = make_spool(self.root / "spool")
        write_drop(self.spool, "notes.txt", b"somebody's")
        self.jobs: dict[str, Seen] = {}
        self.raw: dict[str, Raw] = {}
        self.rejected: list[bytes] = []
        self.held: dict[str, str] = {}  # by job id: the lease under which its last run began
        self.drops = 0
        self.supervisor = self._hands()
        self.workers = [Worker(self._hands()), Worker(self._hands())]

    def _hands(self) -> Hands:
        self.processes += 1
        return Hands(self.root, f"p{self.processes}", clock=self.clock)

    def teardown(self) -> None:
        """End everything; take the folder away."""
        for hands in (self.supervisor, *(worker.hands for worker in self.workers)):
            hands.end()
        shutil.rmtree(self.root)

    # ------------------------------------------------------------------------------------------------- the model

    def _alive(self, job_id: str) -> bool:
        """True while the worker that began the job's last run holds the lease of that run."""
        lease = self.held.get(job_id)
        return any(worker.hands.lease.name == lease for worker in self.workers)

    def _abandoned(self, job_id: str, state: State, max_retries: int) -> State:
        failures = state.failures + 1
        return State(DLQ if failures > max_retries else PENDING, state.starts, failures, "abandoned")

    def _rescued(self, job_id: str, state: State, max_retries: int) -> State:
        """Where a job is after a look at running/."""
        if state.where == RUNNING and not self._alive(job_id):
            if state.last == "started":
                return self._abandoned(job_id, state, max_retries)
            return state._replace(where=DONE if state.last == "succeeded" else DLQ)
        return state

    def _is_due(self, seen: Seen) -> bool:
        if seen.due is None:
            return True
        wait_s = _instant(seen.due[0]) - self.clock.now()
        return wait_s <= 0 or wait_s > seen.due[1]

    def _settled(self, seen: Seen, kind: str) -> State:
        _, starts, failures, _ = seen.state
        if kind == "succeeded":
            return State(DONE, starts, failures, kind)
        if kind == "released":
            return State(PENDING, starts, failures, kind)
        return State(DLQ if failures >= seen.max_retries else PENDING, starts, failures + 1, kind)

    # --------------------------------------------------------------------------------- one step, perhaps cut short

    def _do(
        self,
        act: Callable[[], Any],
        cut: tuple[int, str] | None,
        *,
        by: Worker | None = None,
        after: dict[str, Allowed],
        crashed: dict[str, Allowed] | None = None,
        again: bool = False,
    ) -> Any:
        """Make a step. `after` and `crashed` are where the jobs it touches may be; all others must stay as they are."""
        plan = Plan(*cut) if cut else Plan()
        result: Any = None
        try:
            with injected(plan):
                result = act()
        except Crash:
            with injected(Plan()):
                if by is not None:
                    by.hands.end()
                    by.hands, by.runs = self._hands(), None
                self.supervisor.end()
                self.supervisor = self._hands()
                if again:
                    result = act()
                self._look()
            allowed = dict(crashed if crashed is not None else after)
            self._expect(allowed, looked=True)
            return result
        self._expect(after)
        return result

    def _look(self) -> None:
        self.supervisor.rescue.rescue_all(set())
        self.supervisor.finish_splits()

    def _expect(self, allowed: dict[str, Allowed], *, looked: bool = False) -> None:
        """Read all jobs, and compare each with where it may be."""
        found = self._read()
        for job_id in sorted({*found, *self.jobs, *allowed}):
            before = self.jobs.get(job_id)
            here = found.get(job_id)
            may = allowed.get(job_id)
            if may is None:
                may = {before.state if before else GONE}
            if looked:
                tries = (here or before).max_retries if here or before else 0  # type: ignore[union-attr]
                may = {state and self._rescued(job_id, state, tries) for state in may}
            assert (here and here.state) in may, f"{job_id} is {here and here.state}, not {may}"
            if before and here:
                assert here.history[: len(before.history)] == before.history, f"the history of {job_id} was changed"
        self.jobs = found

    # -------------------------------------------------------------------------------------------- what is on disk

    def _read(self) -> dict[str, Seen]:
        """Every job on disk, by id, once each; the raw files must be as they were dropped."""
        found: dict[str, Seen] = {}
        raw: set[str] = set()
        for where in STATES:
            for name in names_in(self.spool, where):
                if where == DLQ and name.endswith((CANCELLED_ENDING, ERROR_ENDING)):
                    continue  # a comfort; the model is of the jobs
                path = os.path.join(self.spool.folder(where), name)
                data = Path(path).read_bytes()
                if name == "notes.txt":
                    assert data == b"somebody's"
                    continue
                if name in self.raw and not data.startswith(b'{\n "format": 1,\n "id": "'):
                    assert where == PENDING and data == self.raw[name].data, f"{where}/{name} was changed"
                    raw.add(name)
                    continue
                assert data.endswith(b"}\n ]\n}\n"), f"{where}/{name} is torn: {data[-60:]!r}"
                document = json.loads(data)
                job_id = document["id"]
                assert job_id not in found, f"{job_id} is in {where}/ and at {found[job_id].path}"
                assert name.split(",")[0].removesuffix(".json") == job_id, f"{where}/{name} holds {job_id}"
                found[job_id] = _seen(document, where, path)
        self.raw = {name: self.raw[name] for name in raw}
        return found

    @invariant()
    def budgets_and_attempts_are_right(self) -> None:
        """P4, P5: attempts are numbered without a gap, and no job has had more runs than it may have."""
        for job_id, seen in self.jobs.items():
            kinds = [event["event"] for event in seen.history]
            attempts = [event["attempt"] for event in seen.history if event["event"] == "started"]
            assert attempts == list(range(1, len(attempts) + 1)), (job_id, attempts)
            assert seen.state.failures <= seen.max_retries + 1, (job_id, kinds)
            if seen.state.where == DLQ and seen.state.last != "requeued":
                assert seen.state.failures == seen.max_retries + 1, (job_id, kinds)
            if seen.state.where == DONE and seen.state.last != "requeued":
                assert seen.state.last == "succeeded", (job_id, kinds)
            if seen.state.where == RUNNING:
                assert seen.state.last == "started" or self._alive(job_id), (job_id, kinds)

    @invariant()
    def what_was_rejected_is_kept(self) -> None:
        """P6: each rejected file is there unchanged, beside its reason."""
        folder = Path(self.spool.folder(REJECTED))
        kept = sorted(path.read_bytes() for path in folder.glob("*.json"))
        assert kept == sorted(self.rejected)
        assert all(Path(f"{path}.reason.txt").exists() for path in folder.glob("*.json"))

    @invariant()
    def who_runs_runs_alone(self) -> None:
        """P3: a job whose lease is held is left by every look at running/."""
        for worker in self.workers:
            if worker.runs is not None and self.jobs[worker.runs.job_id].state.where == RUNNING:
                assert self.supervisor.orphans.rescue(worker.runs.name) is None

    # ------------------------------------------------------------------------------------------------ putting in

    @initialize()
    def begin(self) -> None:
        """Some jobs to begin with."""
        for job_id, max_retries in (("a", 0), ("b", 1), ("c", 2)):
            self.enqueue(job_id, max_retries, 0, 2, None)

    @rule(
        job_id=IDS,
        max_retries=st.integers(0, 2),
        priority=st.sampled_from([0, 0, 5]),
        base=st.sampled_from([0, 2]),
        cut=CUTS,
    )
    def enqueue(self, job_id: str, max_retries: int, priority: int, base: int, cut: tuple[int, str] | None) -> None:
        """P1, P7: a new job, or a refusal where the id is there."""

        def act() -> None:
            self.supervisor.api.enqueue(
                "true", id=job_id, max_retries=max_retries, priority=priority, backoff_base=base
            )

        if job_id in self.jobs:
            with pytest.raises(DuplicateJobError):
                act()
            self._expect({})
        else:
            self._do(act, cut, after={job_id: {NEW}}, crashed={job_id: {NEW, GONE}})

    @rule(kind=st.sampled_from(["whole", "other id", "id that is there", "broken", "array"]))
    def drop(self, kind: str) -> None:
        """A file of any kind from any program."""
        self.drops += 1
        name, one, two = f"drop{self.drops}.json", f"in{self.drops}x", f"in{self.drops}y"
        job = {"command": "true", "max_retries": 1}
        content: dict[str, tuple[object, tuple[str, ...]]] = {
            "whole": (job, (f"drop{self.drops}",)),
            "other id": ({**job, "id": one}, (one,)),
            "id that is there": ({**job, "id": min(self.jobs, default=one)}, (min(self.jobs, default=one),)),
            "broken": (b'{"command": "tr', ()),
            "array": ([{**job, "id": one}, {**job, "id": two}], (one, two)),
        }
        path = write_drop(self.spool, name, content[kind][0])
        self.raw[name] = Raw(kind, path.read_bytes(), content[kind][1])

    # -------------------------------------------------------------------------------------------------- workers

    @precondition(lambda self: self._names())
    @rule(pick=PICK, cut=CUTS)
    def claim(self, pick: int, cut: tuple[int, str] | None) -> None:
        """P2, P3: an idle worker tries a name."""
        worker = next((worker for worker in self.workers if worker.runs is None), None)
        if worker is None:
            return
        names = self._names()
        name = names[pick % len(names)]
        if name in self.raw:
            self._claim_raw(worker, name, self.raw[name], cut)
        else:
            self._claim_record(worker, name, self._id_at(name), cut)

    @precondition(lambda self: self._due())
    @rule(pick=PICK, how=st.sampled_from(sorted(OUTCOMES)), cut=CUTS)
    def run(self, pick: int, how: str, cut: tuple[int, str] | None) -> None:
        """P4, P5: a job from its claim to its outcome, which is where histories grow."""
        worker = next((worker for worker in self.workers if worker.runs is None), None)
        if worker is None:
            return
        names = self._due()
        name = names[pick % len(names)]
        self._claim_record(worker, name, self._id_at(name), None)
        if worker.runs is not None:
            self._settle(worker, how, cut)

    def _names(self) -> list[str]:
        return [name for name in sorted(names_in(self.spool, PENDING)) if name != "notes.txt"]

    def _due(self) -> list[str]:
        """The names of records that a worker would get now."""
        return [name for name in self._names() if name not in self.raw and self._is_due(self.jobs[self._id_at(name)])]

    def _id_at(self, name: str) -> str:
        return next(job_id for job_id, seen in self.jobs.items() if os.path.basename(seen.path) == name)

    def _claim_record(self, worker: Worker, name: str, job_id: str, cut: tuple[int, str] | None) -> None:
        seen = self.jobs[job_id]
        state, tries = seen.state, seen.max_retries
        if state.last == "started":  # dragged out of running/
            may: Allowed = {state if self._alive(job_id) else self._abandoned(job_id, state, tries)}
            crashed = {state, *may}
            if self._alive(job_id):  # between the two moves: back under the run that goes on
                crashed.add(state._replace(where=RUNNING))
        elif not self._is_due(seen):
            may = crashed = {state}
        else:
            dragged = state.last == "succeeded" or (state.last in COUNTED and state.failures > tries)
            failures = 0 if dragged or state.last == "requeued" else state.failures
            may = {State(RUNNING, state.starts + 1, failures, "started")}
            crashed = {state, self._abandoned(job_id, State(RUNNING, state.starts + 1, failures, ""), tries)}
            if dragged:  # in the middle of the write of both events
                crashed.add(State(PENDING, state.starts, 0, "requeued"))
            if dragged:  # between the move and the start: back to where it was dragged from, once that worker ends
                crashed.add(state._replace(where=DONE if state.last == "succeeded" else DLQ))
                if self._alive(job_id):
                    crashed.add(state._replace(where=RUNNING))
        self._claim(worker, name, cut, {job_id: may}, {job_id: crashed})

    def _claim_raw(self, worker: Worker, name: str, raw: Raw, cut: tuple[int, str] | None) -> None:
        if raw.kind == "broken":
            self._claim(worker, name, cut, {}, {})
            return
        if raw.kind == "array":
            self._claim(worker, name, cut, {key: {NEW} for key in raw.ids}, {key: {NEW, GONE} for key in raw.ids})
            new = {key in self.jobs for key in raw.ids}
            assert new == {name not in self.raw}, "half of a file of many jobs was taken in"
            return
        (job_id,) = raw.ids
        if job_id in self.jobs:
            self._claim(worker, name, cut, {}, {})
            if name not in self.raw:
                self.rejected.append(raw.data)
            return
        tried = self._abandoned(job_id, State(RUNNING, 1, 0, ""), 1)
        self._claim(worker, name, cut, {job_id: {State(RUNNING, 1, 0, "started")}}, {job_id: {GONE, NEW, tried}})
        assert (name in self.raw) != (job_id in self.jobs), f"{name} was lost, or is there twice"

    def _claim(
        self,
        worker: Worker,
        name: str,
        cut: tuple[int, str] | None,
        after: dict[str, Allowed],
        crashed: dict[str, Allowed],
    ) -> None:
        lease = worker.hands.lease.name
        claimed = self._do(lambda: worker.hands.begin(name), cut, by=worker, after=after, crashed=crashed)
        if isinstance(claimed, Claimed):
            worker.runs = claimed
            self.held[claimed.job_id] = lease
            assert claimed.attempt == self.jobs[claimed.job_id].state.starts

    @precondition(lambda self: any(worker.runs for worker in self.workers))
    @rule(which=st.sampled_from([0, 1]), how=st.sampled_from(sorted(OUTCOMES)), cut=CUTS)
    def settle(self, which: int, how: str, cut: tuple[int, str] | None) -> None:
        """P2, P4: a run ends in some way."""
        worker = self.workers[which] if self.workers[which].runs else self.workers[1 - which]
        self._settle(worker, how, cut)

    def _settle(self, worker: Worker, how: str, cut: tuple[int, str] | None) -> None:
        assert worker.runs is not None
        claimed, outcome = worker.runs, OUTCOMES[how]
        seen = self.jobs.get(claimed.job_id)
        if seen is None or seen.state.where != RUNNING:  # dragged away
            with pytest.raises(FileNotFoundError), injected(Plan()):
                worker.hands.settlements.settle(claimed, outcome)
            worker.hands.lease.change()
            worker.runs = None
            self._expect({})
            return
        after = self._settled(seen, outcome.kind)
        tried = self._abandoned(claimed.job_id, seen.state, seen.max_retries)
        self._do(
            lambda: worker.hands.settlements.settle(claimed, outcome),
            cut,
            by=worker,
            after={claimed.job_id: {after}},
            crashed={claimed.job_id: {after, tried}},
        )
        if worker.runs is not None and outcome.kind != "succeeded":
            worker.hands.lease.change()  # as a worker does: the lease of a run that may be tried again names it alone
        worker.runs = None

    @rule(which=st.sampled_from([0, 1]))
    def kill_worker(self, which: int) -> None:
        """A worker dies; what it ran is found by its lease, now or later."""
        worker = self.workers[which]
        worker.hands.end()
        worker.hands, worker.runs = self._hands(), None

    @rule(cut=CUTS)
    def rescue(self, cut: tuple[int, str] | None) -> None:
        """P5: a look at running/ finds what nobody runs."""
        after: dict[str, Allowed] = {
            job_id: {self._rescued(job_id, seen.state, seen.max_retries)} for job_id, seen in self.jobs.items()
        }
        self._do(self._look, cut, after=after)

    @precondition(lambda self: any(raw.kind == "broken" for raw in self.raw.values()))
    @rule(cut=CUTS)
    def reject(self, cut: tuple[int, str] | None) -> None:
        """P6: a file that has been broken for long enough is kept in rejected/."""
        name = next(name for name, raw in self.raw.items() if raw.kind == "broken")
        raw = self.raw[name]
        with injected(Plan()):
            declined = self.supervisor.claims.claim(name, "none")
        assert isinstance(declined, Arriving | Foreign | Unreadable) and declined.sig is not None
        sig = declined.sig
        self._do(lambda: self.supervisor.triage.reject_quiet(name, Arriving(sig, "broken")), cut, after={})
        if name not in self.raw:
            self.rejected.append(raw.data)
        else:
            assert cut, "it was not rejected"

    # --------------------------------------------------------------------------------------------------- a person

    @precondition(lambda self: self._ended())
    @rule(pick=PICK, cut=CUTS)
    def requeue(self, pick: int, cut: tuple[int, str] | None) -> None:
        """A fresh budget, the history kept; who saw it killed gives the command again."""
        job_id = self._ended()[pick % len(self._ended())]
        after: dict[str, Allowed] = {job_id: {State(PENDING, self.jobs[job_id].state.starts, 0, "requeued")}}

        def act() -> None:
            found = self.spool.find(job_id)
            if found is not None and found.state != PENDING:
                self.supervisor.api.requeue(job_id)

        self._do(act, cut, after=after, again=True)

    @precondition(lambda self: self._ended())
    @rule(pick=PICK, cut=CUTS)
    def purge(self, pick: int, cut: tuple[int, str] | None) -> None:
        """Gone for good, where a person says so."""
        job_id = self._ended()[pick % len(self._ended())]
        before = self.jobs[job_id].state
        self._do(
            lambda: self.supervisor.api.purge(job_id), cut, after={job_id: {GONE}}, crashed={job_id: {GONE, before}}
        )

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK)
    def drag(self, pick: int) -> None:
        """A file is dragged to pending/: out of done/ or dlq/, or from under the run that is under way."""
        job_id = sorted(self.jobs)[pick % len(self.jobs)]
        seen, name = self.jobs[job_id], f"{job_id}.json"
        target = self.spool.path(PENDING, name)
        if seen.state.where != PENDING and not os.path.exists(target):
            os.rename(seen.path, target)
            self._expect({job_id: {seen.state._replace(where=PENDING)}})

    def _ended(self) -> list[str]:
        return sorted(job_id for job_id, seen in self.jobs.items() if seen.state.where in (DONE, DLQ))

    @rule(seconds=st.sampled_from([1, 3, 10, 100]))
    def time_passes(self, seconds: int) -> None:
        """For both clocks."""
        self.clock.advance(seconds)

    @precondition(lambda self: any(seen.due for seen in self.jobs.values()))
    @rule(seconds=st.sampled_from([1, 3, 50]))
    def clock_is_set_back(self, seconds: int) -> None:
        """P5: the wall clock jumps, and no job waits for longer than its own delay."""
        self.clock.now_at -= seconds


def _seen(document: dict[str, Any], where: str, path: str) -> Seen:
    starts = failures = 0
    last: dict[str, Any] = {}
    for event in document["history"]:
        kind = event["event"]
        if kind == "warning":
            continue
        last = event
        starts += kind == "started"
        failures = 0 if kind in ("enqueued", "requeued") else failures + (kind in COUNTED)
    due = (last["due_at"], float(last["delay_s"])) if "due_at" in last else None
    return Seen(State(where, starts, failures, last["event"]), path, document["max_retries"], due, document["history"])


def _instant(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_the_spool_does_what_the_model_says_and_no_crash_breaks_a_promise() -> None:
    """P1 to P7: random operations by five hands, cut short at random; bounded for every run."""
    run_state_machine_as_test(SpoolModel, settings=settings(max_examples=120, stateful_step_count=40))


@pytest.mark.slow
def test_the_spool_does_what_the_model_says_for_much_longer() -> None:
    """P1 to P7: the same with ten times as many steps, and other ones in each run."""
    run_state_machine_as_test(
        SpoolModel, settings=settings(max_examples=1500, stateful_step_count=60, derandomize=False)
    )
