"""worker: jobs whose commands run on nodes, with a keeper in memory."""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl.cluster import command, protocol, wire
from queuectl.cluster.command import Command
from queuectl.cluster.executor import ClusterExecutor
from queuectl.cluster.worker import ClusterWorker
from queuectl.flows.admission import NO_PLACE
from queuectl.model.lifecycle import Outcome
from queuectl.model.settings import defaults
from queuectl.spool import node_boards, stamps
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import is_alive
from queuectl.spool.node_boards import NodeBoard
from queuectl.spool.session import Session
from queuectl.system import boot
from queuectl.system.clock import Clock
from queuectl.worker.messages import Kill, Leave, Left, Offers, Passed, Remark, unpack
from tests.helpers import Desk, names_in, wait_until
from tests.unit.cluster.fake_node import FakeCarrier, FakeKeeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Linux machine leads a cluster")


class Bench:
    """A worker on a spool, its carrier, and a desk to enqueue jobs."""

    def __init__(self, spool: SpoolDir, carrier: FakeCarrier, name: str = "h-1-aaaa-c1") -> None:
        settings = defaults()._replace(cluster_lease=30.0, cluster_output_max=1000)
        self.session = Session(spool, settings, Clock(), random.Random(3))
        self.spool, self.carrier = spool, carrier
        self.desk = Desk(spool, worker="desk", clock=self.session.clock)
        self.executor = ClusterExecutor(self.session, carrier, worker=name)
        self.conn, theirs = multiprocessing.Pipe()
        self.worker = ClusterWorker(theirs, self.session, self.executor, worker=name, cwd=spool.root, slots=8)

    def add(self, **keys: object) -> str:
        """Enqueue a job and suggest it to the worker."""
        name = self.desk.enqueue(backoff_base=0, **keys)
        self.suggest()
        return name

    def suggest(self) -> None:
        """Suggest all that waits."""
        self.worker._link.names.extend(names_in(self.spool, "pending"))

    def turn(self) -> None:
        """One turn of the worker's loop."""
        worker = self.worker
        if len(worker._free) + len(worker._runs) != worker._link.slots:
            worker._resize()
        if worker._free and worker._link.names:
            worker._work(worker._link.names.popleft())
        timeout_s = worker._timeout_s(math.inf)
        worker._wait(0.01 if timeout_s is None else min(0.01, timeout_s))

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until a condition holds."""

        def turned() -> object:
            self.turn()
            return condition()

        wait_until(turned)

    def events(self, state: str, job_id: str) -> list[str]:
        """The kinds of events of a job."""
        return self.desk.events(state, f"{job_id}.json")

    def die(self) -> None:
        """End as kill -9 ends a worker: its locks are free, its files are there."""
        for each in (*self.worker._runs, *self.worker._left):
            each.slot.lease.abandon()
            each.slot.lease.close()
        self.worker._lock.close()
        self.carrier.is_cut = True


@pytest.fixture
def keeper() -> FakeKeeper:
    """The keeper of the node w1."""
    return FakeKeeper("m1")


@pytest.fixture
def bench(spool: SpoolDir, keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A worker with one node, which writes its board often."""
    monkeypatch.setattr("queuectl.cluster.board._EVERY_S", 0.05)
    made = Bench(spool, FakeCarrier(w1=keeper))
    yield made
    made.desk.close()


def ahead(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of leases go ahead."""
    now_s = boot.uptime_s
    monkeypatch.setattr(boot, "uptime_s", lambda: now_s() + seconds)


def test_a_job_runs_on_a_node(bench: Bench, keeper: FakeKeeper) -> None:
    """The start is on record with its node, the output and the true outcome arrive, and the node may forget (P4)."""
    bench.add(id="job1", command="make", env={"A": "1"}, timeout=7)
    bench.until(lambda: keeper.runs)
    ((run, spec),) = keeper.runs.items()
    assert (spec.command, spec.timeout_s) == ("make", 7.0)
    assert (run.split(".")[1:], spec.env) == (["job1", "1"], {"A": "1"})
    start = bench.desk.record("running", "job1.json").history[-1]
    assert (start.event, start.node, start.member) == ("started", "w1", "m1")
    keeper.end(run, 0, printed=b"hello\n")
    bench.until(lambda: names_in(bench.spool, "done") and not keeper.ended)
    last = bench.desk.record("done", "job1.json").history[-1]
    assert (last.event, last.exit_code, last.duration_s) == ("succeeded", 0, 1.5)
    with open(bench.spool.log_path("job1", 1), "rb") as file:
        assert file.read() == b"hello\n"


def test_nothing_is_claimed_without_a_place(bench: Bench, keeper: FakeKeeper) -> None:
    """A full node gets nothing, and the job stays in pending/ without a run (P9)."""
    keeper.slots = 1
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    bench.add(id="job2")
    for _ in range(20):
        bench.turn()
    assert names_in(bench.spool, "pending") != []
    assert len(keeper.started) == 1
    bench.worker._link.flush()
    reports = [each for _ in range(9) if bench.conn.poll() for each in unpack(bench.conn.recv_bytes())]
    assert [each.slots for each in reports if type(each).__name__ == "Places"] == [1]


def test_long_output_keeps_both_ends(bench: Bench, keeper: FakeKeeper) -> None:
    """Of an output above the limit the log has the first and the last half, and says what is missing."""
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    (run,) = keeper.runs
    keeper.printed[run] = b"a" * 600
    bench.until(lambda: next(iter(bench.worker._commands.values())).output.got == 500)
    keeper.end(run, 0, printed=b"b" * 2400)
    bench.until(lambda: names_in(bench.spool, "done"))
    with open(bench.spool.log_path("job1", 1), "rb") as file:
        data = file.read()
    assert data.startswith(b"a" * 500 + b"\n[queuectl: 2000 bytes left out here")
    assert data.endswith(b"]\n" + b"b" * 500)


@pytest.mark.parametrize(("fate", "starts"), [("way", 2), ("answer", 1)])
def test_a_start_without_answer_is_fenced(bench: Bench, keeper: FakeKeeper, fate: str, starts: int) -> None:
    """A start whose answer is lost runs once: the next beat says whether the node has it (P3, P9)."""
    bench.until(lambda: bench.executor.places())
    lost = iter([fate])
    bench.carrier.loses = lambda op: next(lost, "") if op == protocol.START else ""
    bench.add(id="job1")

    def has_run() -> bool:
        bench.suggest()
        return bool(keeper.runs)

    bench.until(has_run)
    assert len(keeper.started) == 1
    (run,) = keeper.runs
    assert run.endswith(f".{starts}")
    keeper.end(run)
    bench.until(lambda: names_in(bench.spool, "done"))
    expected = ["enqueued", *(["started", "released"] if starts == 2 else []), "started", "succeeded"]
    assert bench.events("done", "job1") == expected


def test_a_refused_start_goes_back_uncounted(bench: Bench, keeper: FakeKeeper) -> None:
    """A node that cannot start a command now hands it back (P9)."""
    keeper.refuses = "no memory for a process"
    bench.add(id="job1")
    bench.until(lambda: "released" in (bench.events("pending", "job1") if names_in(bench.spool, "pending") else []))
    assert bench.desk.record("pending", "job1.json").standing().failures == 0


def test_a_node_in_trouble_rests(bench: Bench, keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without space gets the job once, says why, and gets it again after a while, not in a loop (P9)."""
    keeper.refuses = "trouble: [Errno 28] No space left on device"
    bench.until(bench.executor.places)
    now_s = boot.uptime_s()
    with monkeypatch.context() as still:  # on a busy machine the turns may take longer than the rest
        still.setattr(boot, "uptime_s", lambda: now_s)
        bench.add(id="job1")
        bench.until(lambda: "released" in (bench.events("pending", "job1") if names_in(bench.spool, "pending") else []))
        for _ in range(30):
            bench.suggest()
            bench.turn()
    assert bench.events("pending", "job1").count("started") == 1
    ahead(monkeypatch, 1)
    board = board_of(bench, lambda board: board.nodes[0].why)
    assert board.nodes[0].why == "it cannot start commands: [Errno 28] No space left on device"
    keeper.refuses = ""

    def has_run() -> bool:
        bench.suggest()
        return bool(keeper.runs)

    bench.until(has_run)
    bench.until(lambda: not bench.executor._links[bench.executor.session, "w1"].health.trouble)


def test_a_node_of_another_version_gets_nothing(bench: Bench, keeper: FakeKeeper) -> None:
    """The job waits, and the board says what to do; people hear of it once."""
    keeper.version = 99
    bench.add(id="job1")
    board = board_of(bench, lambda board: board.nodes and board.nodes[0].why)
    assert (
        f"it speaks version 99 of the cluster's protocol, and this queuectl {protocol.VERSION}:" in board.nodes[0].why
    )
    assert names_in(bench.spool, "pending") and board.slots == 0
    bench.worker._link.flush()
    reports = [each for _ in range(9) if bench.conn.poll() for each in unpack(bench.conn.recv_bytes())]
    assert len([each for each in reports if isinstance(each, Remark)]) == 1


def board_of(bench: Bench, condition: Callable[[NodeBoard], object]) -> NodeBoard:
    """Return the worker's board once a condition holds."""
    found: list[NodeBoard] = []

    def is_there() -> object:
        board = node_boards.read(bench.spool, bench.executor.session)
        if board is None or not condition(board):
            return False
        found.append(board)
        return True

    bench.until(is_there)
    return found[-1]


def test_the_board_shows_the_nodes(bench: Bench, keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is there, what is used, when a silent node's commands end; it goes with its worker."""
    keeper.resources = {"GPU": 2.0}
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    board = board_of(bench, lambda board: board.used == 1)
    (row,) = board.nodes
    assert (row.node, row.slots, row.used, row.resources, row.gone_s) == ("w1", 4, 1, {"GPU": 2.0}, None)
    assert (board.slots, board.most, board.lost) == (4, 8, "")
    now_s = boot.uptime_s()
    assert row.heard_s is not None and row.until_s is not None
    assert now_s - 5 < row.heard_s <= now_s and 20 < row.until_s - now_s <= 30
    del bench.carrier.keepers["w1"]
    bench.carrier.lost = "nothing listens there"
    ahead(monkeypatch, 2)
    board = board_of(bench, lambda board: board.lost)
    assert board.nodes[0].gone_s is not None and board.used == 1
    bench.worker._link._take_in(Leave())
    bench.worker.run()
    assert node_boards.read(bench.spool, bench.executor.session) is None


def test_a_job_with_resources_starts_where_they_are_free(bench: Bench, keeper: FakeKeeper) -> None:
    """It is not claimed before: it waits, others pass it, and the pool hears when a node has what it needs."""
    keeper.resources = {"GPU": 1.0}
    bench.until(lambda: bench.executor.places())
    bench.add(id="big", resources={"GPU": 2})
    first = bench.add(id="first", resources={"GPU": 1})
    assert first == "first,needs=GPU-1.json"
    bench.add(id="plain")
    bench.until(lambda: len(keeper.runs) == 2)
    second = bench.desk.enqueue(id="second", resources={"GPU": 1})
    bench.worker._link.names.append(second)
    bench.until(lambda: not bench.worker._link.names)
    bench.worker._link.flush()
    reports = [each for _ in range(9) if bench.conn.poll() for each in unpack(bench.conn.recv_bytes())]
    gated = {
        each.name for each in reports if isinstance(each, Passed) and getattr(each.declined, "why", "") == NO_PLACE
    }
    assert {"big,needs=GPU-2.json", second} <= gated
    assert sorted(names_in(bench.spool, "running")) == ["first.json", "plain.json"]
    (run,) = [run for run in keeper.runs if ".first." in run]
    keeper.end(run)
    bench.until(lambda: names_in(bench.spool, "done"))
    reports = [each for _ in range(9) if bench.conn.poll() for each in unpack(bench.conn.recv_bytes())]
    assert [each.needs for each in reports if isinstance(each, Offers)] == ["GPU-1"]
    bench.worker._link.names.append(second)
    bench.until(lambda: any(".second." in run for run in keeper.runs))


def test_variables_do_not_cross_an_open_network(bench: Bench, keeper: FakeKeeper) -> None:
    """Without TLS a job with variables fails with a text that says why; nothing of it leaves this machine."""
    bench.executor._sends_env = False
    bench.add(id="job1", env={"TOKEN": "secret"})
    bench.until(lambda: names_in(bench.spool, "dlq"))
    assert "without TLS" in bench.desk.record("dlq", "job1.json").history[-1].reason
    assert keeper.started == []


def test_input_and_results_of_parents_travel(bench: Bench, keeper: FakeKeeper) -> None:
    """A text for standard input and the JSON of parents go with the start; paths of the spool do not."""
    first = bench.desk.enqueue(id="load")
    claimed = bench.desk.start(first)
    Path(bench.spool.result_path("load", 1)).write_text('{"rows": 3}')
    bench.desk.settlements.settle(claimed, Outcome("succeeded", 0))
    bench.add(id="sum", after="load", stdin="ä\n", command="sum")
    bench.until(lambda: keeper.runs)
    (spec,) = keeper.runs.values()
    row = {"id": "load", "state": "done", "attempt": 1, "exit_code": 0, "result": None, "json": {"rows": 3}}
    assert (spec.stdin, spec.stdin_file, json.loads(spec.parents)) == ("ä\n", "", {"load": row})


def test_input_does_not_cross_an_open_network(bench: Bench, keeper: FakeKeeper) -> None:
    """P10: without TLS a job with `stdin` fails at once, as one with `env` does; one with `stdin_file` starts."""
    bench.executor._sends_env = False
    bench.add(id="job1", stdin="secret")
    bench.until(lambda: names_in(bench.spool, "dlq"))
    assert "its stdin would cross the network" in bench.desk.record("dlq", "job1.json").history[-1].reason
    bench.add(id="job2", stdin_file="/data/in.txt")
    bench.until(lambda: keeper.runs)
    assert [spec.stdin_file for spec in keeper.runs.values()] == ["/data/in.txt"]


def test_an_exit_code_snoozes_on_a_node_too(bench: Bench, keeper: FakeKeeper) -> None:
    """75 is no failure there either: the job waits, and its budget is untouched."""
    bench.add(id="job1", max_retries=0)
    bench.until(lambda: keeper.runs)
    keeper.end(next(iter(keeper.runs)), 75)
    bench.until(lambda: names_in(bench.spool, "pending"))
    (name,) = names_in(bench.spool, "pending")
    assert bench.desk.record("pending", name).history[-1].event == "snoozed"


@pytest.mark.parametrize("text", ["\x01" * 170_000, "ä" * 260_000, "x" * 520_000])
def test_batches_of_starts_fit_into_a_message(text: str) -> None:
    """The longest inputs, some of which take six times as much in a message, are shared out among messages."""
    specs = [protocol.RunSpec(f"s.{number}.1", "true", stdin=text, parents='"' * 100_000) for number in range(40)]
    made = [Command(spec, None, None, member="m", ask_end=lambda *_: None) for spec in specs]  # type: ignore[arg-type]
    batches = list(command.batches(made))
    assert sum(map(len, batches)) == 40 and len(batches) > 1
    for batch in batches:
        wire.encode(protocol.StartRequest("s", "m", "g", 1, [each.spec for each in batch]))


def test_a_dead_keeper_is_proof(bench: Bench, keeper: FakeKeeper) -> None:
    """The next keeper of a node says that the last one is dead: the run counts as abandoned, at once (P5)."""
    bench.add(id="job1", max_retries=0)
    bench.until(lambda: keeper.runs)
    bench.carrier.keepers["w1"] = FakeKeeper("m2", before=keeper)
    bench.until(lambda: names_in(bench.spool, "dlq"))
    assert bench.events("dlq", "job1")[-1] == "abandoned"


def test_an_outcome_outlives_its_keeper(bench: Bench, keeper: FakeKeeper) -> None:
    """What ended before its keeper died has its true outcome, from the next keeper (P4)."""
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    bench.carrier.is_cut = True
    (run,) = keeper.runs
    keeper.end(run, 3)
    bench.carrier.keepers["w1"] = FakeKeeper("m2", before=keeper)
    bench.carrier.is_cut = False
    bench.until(lambda: "failed" in bench.events(*_where(bench, "job1")))


def _where(bench: Bench, job_id: str) -> tuple[str, str]:
    found = bench.spool.find(job_id)
    assert found is not None
    return found.state, job_id


def test_a_node_that_is_cut_off_is_given_up_at_its_bound(
    bench: Bench, keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before its lease and the margin are over does another node get the job (P3); then it does (P5)."""
    bench.add(id="job1", max_retries=0)
    bench.until(lambda: keeper.runs and bench.executor.has_any_of(bench.executor.session))
    bench.carrier.is_cut = True
    link = next(iter(bench.executor._links.values()))
    left_s = link.lease.give_up_s - boot.uptime_s()
    assert 30.0 < left_s <= 33.1
    ahead(monkeypatch, left_s - 5.0)
    for _ in range(20):
        bench.turn()
    assert names_in(bench.spool, "running") != []
    ahead(monkeypatch, 6.0)
    bench.until(lambda: names_in(bench.spool, "dlq"))
    last = bench.desk.record("dlq", "job1.json").history[-1]
    assert (last.event, "out of reach" in last.reason) == ("abandoned", True)
    bench.carrier.is_cut = False
    bench.until(lambda: not keeper.runs and bench.executor.places())
    assert link._void == ""


def test_a_cancel_reaches_the_node(bench: Bench, keeper: FakeKeeper) -> None:
    """The command ends on its node, and the job is cancelled."""
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    from queuectl.worker.messages import Cancel

    bench.worker._link._take_in(Cancel("job1", 1, "enough"))
    bench.until(lambda: names_in(bench.spool, "dlq"))
    assert bench.events("dlq", "job1")[-1] == "cancelled"
    assert not keeper.runs


@pytest.mark.parametrize("torn", [b"", b',\n  {"event":"succ'], ids=["whole", "torn"])
def test_the_runs_of_a_dead_worker_are_adopted(bench: Bench, keeper: FakeKeeper, spool: SpoolDir, torn: bytes) -> None:
    """The command goes on under its stamp, and the next worker settles it with its true outcome (P3, P4).

    The dead one may have died while it wrote an outcome.
    """
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    (run,) = keeper.runs
    keeper.printed[run] = b"first "
    bench.until(lambda: next(iter(bench.worker._commands.values())).output.got == 6)
    lease = bench.desk.record("running", "job1.json").history[-1].lease
    bench.die()
    if torn:
        path = Path(spool.path("running", "job1.json"))
        path.write_bytes(path.read_bytes().rstrip().removesuffix(b"}").rstrip().removesuffix(b"]").rstrip() + torn)
    assert is_alive(spool, lease)
    assert bench.desk.orphans.rescue("job1.json") is None
    other = Bench(spool, FakeCarrier(w1=keeper), "h-2-bbbb-c1")
    other.until(lambda: other.worker._runs)
    assert bench.desk.orphans.rescue("job1.json") is None
    keeper.end(run, 0, printed=b"last")
    other.until(lambda: names_in(spool, "done") and not keeper.ended)
    assert bench.events("done", "job1") == ["enqueued", "started", "succeeded"]
    assert keeper.started == [run]
    with open(spool.log_path("job1", 1), "rb") as file:
        assert file.read() == b"first last"
    assert (first := other.worker._free[-1].lease.name).startswith("h-2-bbbb-c1"), first
    assert "h-1-aaaa-c1" in stamps.sessions(spool)


def test_a_worker_leaves_its_commands_to_the_next(bench: Bench, keeper: FakeKeeper, spool: SpoolDir) -> None:
    """`worker stop --leave`: what runs goes on, what no node was asked for is put back, the next worker settles."""
    bench.add(id="job1")
    bench.until(lambda: keeper.runs)
    (run,) = keeper.runs
    bench.add(id="job2")
    bench.worker._work(bench.worker._link.names.pop())
    bench.worker._link._take_in(Leave())
    bench.worker._link._take_in(Kill())
    bench.worker._leave()
    bench.worker.run()
    reports = [each for _ in range(9) if bench.conn.poll() for each in unpack(bench.conn.recv_bytes())]
    (left,) = [each for each in reports if isinstance(each, Left)]
    assert left.job_ids == ["job1"] and 15 < left.within_s <= 25
    assert [*keeper.runs] == [run] and names_in(spool, "running") == ["job1.json"]
    assert bench.events("pending", "job2")[-1] == "released"
    bench.die()
    assert bench.desk.orphans.rescue("job1.json") is None
    other = Bench(spool, FakeCarrier(w1=keeper), "h-2-bbbb-c1")
    other.until(lambda: other.worker._runs)
    keeper.end(run, 0)
    other.until(lambda: names_in(spool, "done"))
    assert bench.events("done", "job1") == ["enqueued", "started", "succeeded"]


def test_a_start_that_never_left_is_released_by_the_adopter(bench: Bench, keeper: FakeKeeper, spool: SpoolDir) -> None:
    """A worker dies between the record and the message: the node has never got it, so it is uncounted (P9)."""
    bench.until(lambda: bench.executor.places())
    bench.carrier.loses = lambda op: "way" if op == protocol.START else ""
    bench.add(id="job1")
    bench.until(lambda: names_in(spool, "running"))
    bench.die()
    other = Bench(spool, FakeCarrier(w1=keeper), "h-2-bbbb-c1")
    other.until(lambda: names_in(spool, "pending"))
    assert bench.events("pending", "job1")[-1] == "released"
