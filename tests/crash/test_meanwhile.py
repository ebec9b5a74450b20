"""Before any change that one process makes, another looks after the whole spool: rescues, finishes, claims, runs.

The two are interleaved at every change in turn, so what the locks are for is tried without waiting for luck. Where the
crash sweep leaves files to a process that comes later, here both live, and each must leave alone what the other has.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from queuectl.errors import DuplicateJobError, QueuectlError
from queuectl.jobs.verdict import Claimed, Declined
from tests.crash.driver import OK, OPERATIONS, Hands, Operation, Template, judge, recover
from tests.crash.inject import Plan, injected
from tests.crash.points import by_default
from tests.crash.test_faults import allowed, uncounted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stands in for POSIX calls")

# A waiting job that the other starts is cancelled as a running one, which waits for its end: see tests/e2e/test_control.
# At a gate the two would wait for each other by a clock that stands still: see tests/stress/test_gate_storm.
_LEFT_OUT = ("work", "cancel: waiting", "cancel: drop", "gate:")
_SWEPT = [made for name, made in OPERATIONS.items() if not name.startswith(_LEFT_OUT)]


class Other:
    """Another pool: it takes whatever it can get, and is still at it when the operation goes on.

    As the rival of a producer it enqueues a job with the same id instead. (Were that claimed at once, before the other
    has published, its name would be free again: ids are looked up without a lock, and both jobs would be kept.)
    """

    def __init__(self, root: Path, *, rival: bool) -> None:
        self.hands = Hands(root, "other")
        self.rival = rival
        self.accepted: list[str] = []
        self.runs: list[Claimed] = []
        self.wrong: list[str] = []

    def come_by(self) -> None:
        """Rescue, finish what was cut short, heal; start every job that can be started."""
        hands = self.hands
        if self.rival:
            with contextlib.suppress(DuplicateJobError):
                self.accepted += [hands.api.enqueue("true", id="job")]
            return
        hands.rescue.rescue_all(set())
        hands.finish_splits()
        hands.rejected.readmit()
        for name in sorted(hands.spool.waiting_names()):
            claimed: Claimed | Declined = hands.claim(name)
            if isinstance(claimed, Claimed):
                self.runs.append(claimed)

    def finish(self) -> None:
        """End what it runs: each of its jobs must be where it was put."""
        for claimed in self.runs:
            try:
                self.hands.settlements.settle(claimed, OK)
            except FileNotFoundError:
                self.wrong.append(f"{claimed.job_id} was taken away while the other ran it (P3)")
        self.hands.end()


def _meet(template: Template, place: int, how: str) -> tuple[Plan, list[str]]:
    """Let the other come by before, or in the midst of, change number `place`; what was seen, and what is wrong."""
    operation = template.operation
    root = template.copy()
    hands, other = Hands(root, "swept"), Other(root, rival=operation.name == "enqueue")
    begun = operation.begin(hands)
    plan = Plan(place, how, end=other.come_by)
    made: object = None
    endings = allowed(operation)
    with injected(plan):
        try:
            made = operation.act(hands, begun)
            if other.rival:
                other.accepted += [str(made)]
        except (FileNotFoundError, QueuectlError):  # the other was first
            endings = operation.refused or endings
    mine = {made.job_id} if isinstance(made, Claimed) else set()
    wrong = ["both were told that their job was accepted (P7)"] if len(other.accepted) > 1 else []
    wrong += [f"both run {job.job_id} (P3)" for job in other.runs if job.job_id in mine]
    if isinstance(made, Claimed):
        try:
            hands.settlements.settle(made, OK)
        except FileNotFoundError:
            wrong.append(f"{made.job_id} was taken away from the run under way (P3)")
    other.finish()
    hands.end()
    recover(root, operation, cut=True)
    return plan, [*wrong, *other.wrong, *judge(root, template, endings, shorten=uncounted)]


@pytest.mark.parametrize("nth", by_default(2))
@pytest.mark.parametrize("operation", _SWEPT, ids=[made.name for made in _SWEPT])
def test_another_pool_at_any_moment_breaks_no_promise(operation: Operation, nth: int, folder: Path) -> None:
    """P2, P3, P7: whatever two processes do at once, one of them does it, once, and the other leaves it alone."""
    template = Template(operation, folder)
    place, meetings, happened = 1 - nth, 0, True
    while happened:
        place, happened = place + nth, False
        for how in ("meanwhile", "meanwhile torn"):
            plan, wrong = _meet(template, place, how)
            if plan.happened is not None:
                happened, meetings = True, meetings + 1
            assert not wrong, f"{operation.name}, {how} change {place}, {plan.happened}:\n" + "\n".join(wrong)
    print(f"{meetings} meetings: {operation.name}")
    assert meetings
