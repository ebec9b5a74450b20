"""nodes: what people see of a cluster, from the boards of its workers."""

from __future__ import annotations

import json
import sys

import pytest

from queuectl.monitor import live, nodes, page, why
from queuectl.monitor.headline import headline
from queuectl.monitor.reason import Reason
from queuectl.monitor.rows import ClusterRow, NodeStateRow
from queuectl.monitor.snapshot import is_same
from queuectl.monitor.status import collect, document
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import Survey
from queuectl.spool import node_boards, pools, stamps
from queuectl.spool.node_boards import NodeBoard, NodeRow
from queuectl.spool.pools import Pool, StopSummary, WorkerInfo
from queuectl.system import boot
from tests.helpers import NOON_AT, Desk


class Head:
    """A pool that leads a cluster, and the board of its worker."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        stamps.note_length(desk.spool, 35.0)
        self.pool = Pool(desk.session, count=2, cwd="/", cluster_slots=40)
        self.pool.enter()
        self.worker = f"{self.pool.name}-c1"
        workers = (WorkerInfo(f"{self.pool.name}-1", 1, 2, False), WorkerInfo(self.worker, 2, 0, False))
        self.pool.note_workers(workers)

    def show(self, *rows: NodeRow, lost: str = "") -> None:
        """Write the board."""
        now_s = boot.uptime_s()
        since_s = now_s - 12 if lost else None
        board = NodeBoard(boot.boot_id(), now_s, "tls://head:8786", 40, 3.0, lost, since_s, rows)
        node_boards.write(self.desk.spool, self.worker, board)

    def row(self) -> ClusterRow:
        """The cluster, as it is shown."""
        (pool,) = live.rows(self.desk.spool, NOON_AT)
        (row,) = pool.clusters
        return row

    def text(self) -> str:
        """The sentence about it."""
        return nodes.sentence(self.row(), NOON_AT)

    def node(self, number: int = 0) -> str:
        """What is said of a node."""
        row: NodeStateRow = self.row().nodes[number]
        return nodes.node_text(row, NOON_AT)


@pytest.fixture
def head(desk: Desk) -> Head:
    """A pool that leads a cluster."""
    return Head(desk)


def node(name: str, *, heard: float | None = 0.4, **facts: object) -> NodeRow:
    """A node of 16 slots that answered `heard` seconds ago."""
    now_s = boot.uptime_s()
    at = None if heard is None else now_s - heard
    row = NodeRow(name, f"tls://{name}", 16, 3, 13, {"GPU": 2.0}, at, None if at is None else at + 30)
    return row._replace(**facts)  # type: ignore[arg-type]


def test_a_cluster_in_a_sentence(head: Head) -> None:
    """Nodes, slots and the last beat; or since when nobody answers, and when the commands end for that."""
    head.show(node("w1"), node("w2", heard=1.2), node("w3", used=15))
    assert head.text() == "tls://head:8786: 3 nodes, 41 of 41 slots, beat 0.4 s ago"
    head.show(node("w1", heard=12.0))
    assert head.text() == "tls://head:8786: 1 node, 13 of 16 slots, no answer for 12 s, its commands end in 13 s"
    assert head.node() == "13 of 16 slots, GPU=2, no answer for 12 s, its commands end in 13 s"
    head.show(node("w1", heard=12.0, gone_s=boot.uptime_s() - 9), lost="nothing listens there")
    assert head.text() == ("tls://head:8786: no way to it for 12 s (nothing listens there), its commands end in 13 s")
    head.show()
    assert head.text() == "tls://head:8786: no node, 0 of 0 slots"
    head.show(node("w1", used=0, why="it cannot start commands: no space", is_draining=True))
    assert head.node() == (
        "0 of 16 slots, GPU=2, draining, beat 0.4 s ago, gets no commands: it cannot start commands: no space"
    )
    assert head.row().slots == 0


def test_slots_of_nodes_count(head: Head) -> None:
    """The pool's slots are those here and those on nodes that are there, as far as it may use them."""
    head.show(node("w1"), node("w2", gone_s=1.0, used=0), node("w3"))
    (pool,) = live.rows(head.desk.spool, NOON_AT)
    assert pool.workers == 2 + 32
    assert [row.slots for row in live.with_use([pool], [])[0].processes] == [2, 32]
    assert [row.used for row in live.with_use([pool], [])[0].processes] == [0, 26]


def test_the_headline_names_a_cluster_without_slots(head: Head, desk: Desk) -> None:
    """No slot at all is not `0 workers idle`."""
    head.pool.rescaled(count=0)
    desk.enqueue(id="job1")
    head.show(lost="nothing listens there")
    assert headline(collect(desk.spool, now_at=NOON_AT)).startswith("No way to the cluster, 1 waiting")
    head.show()
    assert headline(collect(desk.spool, now_at=NOON_AT)).startswith("No node takes jobs, 1 waiting")


def test_status_json_has_the_cluster_and_the_node_of_each_run(head: Head, desk: Desk) -> None:
    """For programs; a beat alone is no news for the page, silence is."""
    head.show(node("w1"))
    desk.claims.where = {"node": "w1", "member": "m1"}
    desk.start(desk.enqueue(id="job1"))
    first = collect(desk.spool, now_at=NOON_AT)
    made = json.loads(json.dumps(document(first)))
    assert made["running"][0]["node"] == "w1"
    (row,) = made["clusters"]
    assert (row["worker"], row["there"], row["used"], row["slots"]) == (head.worker, 1, 13, 16)
    assert row["text"].startswith("tls://head:8786: 1 node")
    assert row["nodes"][0]["node"] == "w1" and row["nodes"][0]["heard_at"].endswith("Z")
    head.show(node("w1", heard=0.1))
    assert is_same(first, collect(desk.spool, now_at=NOON_AT))
    head.show(node("w1", heard=9))
    assert not is_same(first, collect(desk.spool, now_at=NOON_AT))


@pytest.mark.parametrize("body", ["", "{", "[]", '{"boot": 3}', "\x00", '{"boot":"b","written_s":1e999}'])
def test_content_that_is_no_board_is_ignored(head: Head, body: str) -> None:
    """A board is for looking at: anything else there is no trouble."""
    with open(head.desk.spool.node_board_path(head.worker), "w", encoding="utf-8") as file:
        file.write(body)
    assert live.rows(head.desk.spool, NOON_AT)[0].clusters == ()


def test_a_request_for_slots_on_nodes(head: Head, desk: Desk) -> None:
    """`worker scale --cluster`; a pool without a cluster takes no such request."""
    pools.request_scale(desk.spool, head.pool.name, 400, is_cluster=True)
    assert head.pool.scale_request() == (400, True)
    head.pool.rescaled(cluster_slots=400)
    assert head.pool.scale_request() is None and pools.live(desk.spool)[0].cluster_slots == 400
    other = Pool(desk.session, count=1, cwd="/")
    other.enter()
    pools.request_scale(desk.spool, other.name, 400, is_cluster=True)
    assert other.scale_request() is None


def reason(head: Head, desk: Desk, job_id: str) -> Reason:
    """The most pressing reason of a job."""
    answer = why.explain(desk.session, job_id, now_at=NOON_AT)
    return answer.reasons[0]


def test_why_a_job_waits_for_nodes(head: Head, desk: Desk) -> None:
    """No scheduler, no node, no node that takes jobs, all slots busy, slots of others: each with what changes it."""
    head.pool.rescaled(count=0)
    desk.enqueue(id="job1")
    assert reason(head, desk, "job1")[:2] == ("no_node", "the pool has just started, and looks for nodes")
    head.show(lost="nothing listens there")
    found = reason(head, desk, "job1")
    assert found.kind == "no_scheduler" and "queuectl cluster scheduler" in found.change
    assert found.text == "no way to the scheduler tls://head:8786 for 12 s: nothing listens there"
    head.show(node("w7", used=0, gone_s=boot.uptime_s() - 180))
    found = reason(head, desk, "job1")
    assert found.text == "no node is connected to tls://head:8786 (w7 has been gone for 3 min)"
    assert found.change == "on another machine: queuectl cluster node tls://head:8786 --keys FOLDER"
    head.show(node("w1", used=0, is_draining=True), node("w2", used=0, why="it cannot start commands: no space"))
    found = reason(head, desk, "job1")
    assert found.text == "no node takes jobs now: w1: draining; w2: it cannot start commands: no space"
    assert found.change == "queuectl cluster resume w1"
    head.show(node("w1", used=3, free=0))
    assert reason(head, desk, "job1").text == "all 16 slots of the nodes are busy, 13 of them with jobs of other spools"
    head.show(node("w1", used=1, slots=1, free=0))
    desk.claims.where = {"node": "w1", "member": "m1"}
    desk.start(desk.enqueue(id="job2"))
    assert reason(head, desk, "job1").text.startswith("the only slot is busy with job2")
    head.show(node("w1", used=1))
    assert reason(head, desk, "job1").kind == "next"


def test_why_a_job_waits_for_resources(head: Head, desk: Desk) -> None:
    """Which resources no node has, and who had them; or who has them and is busy."""
    desk.enqueue(id="job1", resources={"GPU": 3, "memory": "16GB"})
    head.show(node("w1"))
    found = reason(head, desk, "job1")
    assert found.text == "no node offers GPU=3, memory=16 GiB"
    assert found.change == "queuectl cluster node SCHEDULER --resource GPU=3 --resource memory=17179869184"
    desk.enqueue(id="job2", resources={"GPU": 2})
    head.show(node("w1", resources={}), node("w7", used=0, gone_s=boot.uptime_s() - 180))
    assert reason(head, desk, "job2").text == "no node offers GPU=2 (w7 had, gone for 3 min)"
    head.show(node("w1"))
    assert reason(head, desk, "job2").text == "it needs GPU=2; nodes that offer it run other jobs: w1"


@pytest.mark.skipif(sys.platform == "win32", reason="the head of a cluster is a Linux machine: its clock is asked")
def test_why_a_job_runs_on_a_node(head: Head, desk: Desk) -> None:
    """Where it runs; if its node is cut off, when it is given up; if its worker is gone, what the next one does."""
    session = Desk(desk.spool, worker=head.worker, clock=desk.clock)
    session.claims.where = {"node": "w1", "member": "m1"}
    session.start(session.enqueue(id="job1"))
    head.show(node("w1"))
    found = reason(head, desk, "job1")
    assert (
        found.text.startswith("it is running on node w1: attempt 1, started")
        and found.change == "queuectl logs -f job1"
    )
    head.show(node("w1", heard=12.0))
    found = reason(head, desk, "job1")
    assert found.kind == "cut_off" and "cut off for 12 s" in found.text
    assert found.text.endswith("it is ended there and given up in 21 s at the latest")
    stamps.write(desk.spool, head.worker, for_s=20)
    head.pool.leave(StopSummary([], 0), clean=True)
    session.close()
    found = reason(head, desk, "job1")
    assert "its command goes on on node w1" in found.text and "within 20 s" in found.text
    assert found.change == "queuectl worker start --cluster"


def test_the_page_shows_the_cluster_and_runs_no_text_of_a_node(head: Head, desk: Desk) -> None:
    """Nodes name themselves, so their texts are escaped; the page says when a node is silent, not the age of a beat."""
    pytest.importorskip("jinja2")
    evil = "<script>alert(1)</script>\x1b[2J"
    desk.claims.where = {"node": evil, "member": "m1"}
    desk.start(desk.enqueue(id="job1"))
    head.show(node(evil, why=evil, resources={evil: 1.0}), node("w2", heard=12.0))
    made = page.render(drain(Survey(desk.spool, is_full=True).take(NOON_AT)), advice=("", ""))
    assert "<script>alert" not in made and "\x1b" not in made
    assert "on node" in made and "no answer for 12 s" in made and "beat" not in made
    assert "Cluster <bdi>tls://head:8786: 2 nodes" in made
