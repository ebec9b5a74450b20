"""A worker whose command runs on a node is killed at every change of the disk: in the claim, in the settling of a run,
and while it takes over the run of another worker that died. The keeper is a real one, and lives on.

The stamp of the session protects the run, so each kill is followed by an adoption, not by another run. The order of
some changes depends on the node; a kill whose place is not reached is none, and the run is judged all the same.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest

from queuectl.cluster.executor import ClusterExecutor
from queuectl.cluster.loopback import LoopbackCarrier
from queuectl.cluster.worker import ClusterWorker
from queuectl.maintenance.rescuer import Rescue
from queuectl.model.lifecycle import DONE, PENDING, RUNNING
from queuectl.model.settings import defaults
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from queuectl.worker.messages import Feed, Passed, Stop, pack_order, unpack
from tests.crash.child import Ran, in_child
from tests.crash.inject import CHANGES, TORN, Call, Plan, injected
from tests.helpers import Desk, make_spool
from tests.keeper import RealKeeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes run on Linux")

# Its evidence: a line at its begin and its end, and one where another run was under way.
COMMAND = """
cd "$WITNESS"
mkdir live 2>/dev/null || echo OVERLAP >> runs
echo begin >> runs
echo "printed by $QUEUECTL_ATTEMPT"
sleep 0.03
echo end >> runs
rmdir live
"""
ONCE = ["enqueued", "started", "succeeded"]
# Killed between the record of the start and the message to the node: the node says that it never got it.
NEVER_SENT = ["enqueued", "started", "released", "started", "succeeded"]
WITHIN_S = 60.0


class Place:
    """Spools on one node, one after the other."""

    def __init__(self, folder: Path, nodes: Path) -> None:
        self._folder = folder
        self._nodes = nodes
        self._count = 0

    def make(self) -> Path:
        """Return a new folder with a spool, in which a job waits."""
        shutil.rmtree(self._folder / str(self._count), ignore_errors=True)
        self._count += 1
        root = self._folder / str(self._count)
        (root / "witness").mkdir(parents=True)
        desk = Desk(make_spool(root / "spool"), worker="desk", clock=Clock())
        desk.enqueue(id="job", command=COMMAND, env={"WITNESS": str(root / "witness")}, backoff_base=0)
        desk.close()
        return root

    def work(self, root: Path, worker: str, *, rescues: bool) -> None:
        """Have a real worker run what waits, and go on with what another one has begun, until the job is done.

        `rescues`: beside it, a pool puts back what it finds without a worker.
        """
        spool = SpoolDir.open(root / "spool")
        settings = defaults()._replace(cluster_lease=60.0)
        session = Session(spool, settings, Clock(), random.Random())
        executor = ClusterExecutor(session, LoopbackCarrier(str(self._nodes)), worker=worker)
        ours, theirs = Pipe()
        made = ClusterWorker(theirs, session, executor, worker=worker, cwd=spool.root, slots=1)

        def supervise() -> None:
            fed: list[str] = []
            desk = Desk(spool, worker="supervisor", clock=Clock())
            rescue = Rescue(desk.session, desk.stripes)
            while not spool.job_names(DONE):
                if rescues:
                    rescue.rescue_all(set())
                waiting = sorted(spool.waiting_names())
                if waiting != fed:
                    ours.send_bytes(pack_order(Feed(waiting)))
                    fed = waiting
                if ours.poll(0.02) and any(isinstance(each, Passed) for each in unpack(ours.recv_bytes())):
                    fed = []  # a node that is not met yet has no place
            ours.send_bytes(pack_order(Stop()))
            desk.close()

        thread = threading.Thread(target=supervise, daemon=True)
        thread.start()
        made.run()
        thread.join()

    def work_in_child(self, root: Path, worker: str, at: int = 0, how: str = "", *, rescues: bool = False) -> Ran:
        """Do so in a child that is killed at a change; return whether it was, and else the changes."""

        def work(plan: Plan) -> None:
            with injected(plan):
                self.work(root, worker, rescues=rescues)

        return in_child(work, root / "told", at, how, within_s=WITHIN_S)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKeeper]:
    """The keeper of the node w1."""
    with RealKeeper(tmp_path_factory.mktemp("nodes") / "w1") as made:
        yield made


@pytest.fixture
def place(folder: Path, keeper: RealKeeper) -> Place:
    """Where spools are made."""
    return Place(folder, keeper.scratch.parent)


def points_of(calls: list[Call]) -> list[tuple[int, str]]:
    """Return where to kill, from the first stamp on: before each change, which is after another, and amid each write."""
    changes = [call for call in calls if call.kind in CHANGES]
    first = next(at for at, call in enumerate(changes, 1) if "/stamp." in call.path)
    points = [(at, "before") for at in range(first, len(changes) + 1)]
    return points + [
        (at, how) for at, call in enumerate(changes, 1) if call.kind == "write" and at > first for how in TORN
    ]


def judge(root: Path, keeper: RealKeeper, point: object) -> None:
    """Check that the job is done by one run, with its output, and that nothing is left anywhere."""
    spool = SpoolDir.open(root / "spool")
    runs = (root / "witness" / "runs").read_text().split()
    assert runs == ["begin", "end"], (point, runs)
    history = json.loads(Path(spool.path(DONE, "job.json")).read_text())["history"]
    kinds = [event["event"] for event in history]
    assert kinds in (ONCE, NEVER_SENT), (point, kinds)
    (attempt,) = [event["attempt"] for event in history if event["event"] == "succeeded"]
    assert Path(spool.log_path("job", attempt)).read_text() == f"printed by {attempt}\n", point
    assert spool.job_names(PENDING) == spool.job_names(RUNNING) == [], point
    assert keeper.look().runs == [], point


def sweep(place: Place, keeper: RealKeeper, points: list[tuple[int, str]], first: tuple[int, str] | None) -> int:
    """Kill a worker at each point, and let the next one finish; return how many were killed.

    `first`: where another worker was killed before, whose run it takes over.
    """
    killed = 0
    for number, (at, how) in enumerate(points):
        root = place.make()
        if first is not None:
            assert place.work_in_child(root, f"h-{number}-aaaa-c1", *first)[0]
        was_killed, _ = place.work_in_child(root, f"h-{number}-bbbb-c1", at, how, rescues=first is not None)
        killed += was_killed
        if was_killed:
            place.work_in_child(root, f"h-{number}-cccc-c1", rescues=True)
        judge(root, keeper, (first, at, how))
    return killed


@pytest.mark.slow
def test_a_kill_at_any_change_of_a_remote_run_breaks_no_promise(place: Place, keeper: RealKeeper) -> None:
    """P1 to P5: claim, start, settle, acknowledge."""
    root = place.make()
    _, calls = place.work_in_child(root, "h-1-0000-c1")
    judge(root, keeper, "whole")
    points = points_of(calls)
    killed = sweep(place, keeper, points, None)
    print(f"{killed} kills at {len(points)} points of a run on a node")
    assert killed >= 0.8 * len(points)


@pytest.mark.slow
def test_a_kill_at_any_change_of_an_adoption_breaks_no_promise(place: Place, keeper: RealKeeper) -> None:
    """P3 to P5: the worker that takes over the run of a dead one is killed too, and a third one finishes."""
    _, calls = place.work_in_child(place.make(), "h-1-0000-c1")
    changes = [call for call in calls if call.kind in CHANGES]
    unsettled = next(at for at, call in enumerate(changes, 1) if call.kind == "rename" and call.path.endswith(".out"))
    first = unsettled, "before"
    root = place.make()
    assert place.work_in_child(root, "h-1-aaaa-c1", *first)[0]
    _, calls = place.work_in_child(root, "h-1-bbbb-c1", rescues=True)
    judge(root, keeper, "whole")
    points = points_of(calls)
    killed = sweep(place, keeper, points, first)
    print(f"{killed} kills at {len(points)} points of an adoption")
    assert killed >= 0.7 * len(points)
