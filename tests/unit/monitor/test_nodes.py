"""nodes: what people see of a cluster, from the boards of its workers."""

from __future__ import annotations

import json

import pytest

from queuectl.monitor import live, nodes
from queuectl.monitor.rows import ClusterRow, NodeStateRow
from queuectl.monitor.snapshot import is_same
from queuectl.monitor.status import collect, document
from queuectl.spool import node_boards, pools, stamps
from queuectl.spool.node_boards import NodeBoard, NodeRow
from queuectl.spool.pools import Pool, WorkerInfo
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
        board = NodeBoard(boot.boot_id(), now_s, "tls://head:8786", 40, lost, since_s, rows)
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
