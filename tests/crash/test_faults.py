"""Every call that an operation makes fails once, or from then on; then the disk works again and so does the operation.

What is shown: the machine's trouble is nobody's failed attempt (P9), a producer that was refused has left nothing and
one that was told "yes" has its job on disk (P1), and what was refused works when it is tried again.
"""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

import pytest

from queuectl.errors import QueuectlError, SpoolUnavailableError
from queuectl.jobs.verdict import Claimed
from queuectl.worker import desk, recorder, run
from tests.crash import driver
from tests.crash.driver import OK, OPERATIONS, Endings, Hands, Operation, Template, judge, recover
from tests.crash.inject import CHANGES, Call, Plan, injected
from tests.crash.points import by_default, each_nth

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stands in for POSIX calls")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot record an outcome waits for less from try to try, and its commands take no time.

    It never trusts the time of its desk, and never looks whether the file of a run is still there or how much it has
    printed: what calls it makes is not to depend on how fast the machine is.
    """
    monkeypatch.setattr(recorder, "_RETRY_SETTLE_S", (0.001,))
    monkeypatch.setattr(desk, "_SAME_STAMP_S", 3600.0)
    monkeypatch.setattr(run, "_LOOK_EVERY_S", 3600.0)
    monkeypatch.setattr(driver, "_DEFAULTS", driver._DEFAULTS._replace(output_max=None))
    monkeypatch.setenv("RUN_S", "0")


CODES = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE, errno.EROFS)
# What a start of a command can fail with, where it is the machine's fault.
_SPAWN_CODES = {errno.ENOSPC: errno.EAGAIN, errno.EDQUOT: errno.ENOMEM, errno.EROFS: errno.ENFILE}


def allowed(operation: Operation) -> Endings:
    """The endings that are right after a failure that was nobody's fault: none with a failure too many counted."""
    made: Endings = {}
    for key, endings in operation.ends.items():
        known = endings | {ending for ending in operation.cut.get(key, ()) if ending}
        least = min(ending.count("abandoned") for ending in known)
        made[key] = {uncounted(ending) for ending in known if ending.count("abandoned") == least}
    return made


def uncounted(ending: str) -> str:
    """A history without its runs that were put back."""
    return re.sub(r"started released ", "", ending)


class Failing:
    """One operation whose calls fail."""

    def __init__(self, operation: Operation, folder: Path) -> None:
        self.template = Template(operation, folder)
        self.operation = operation
        self.points = 0
        self._made: object = None
        plan = Plan()
        root = self.template.copy()
        hands = Hands(root, "swept", durability="full")
        hands.files = operation.files
        hands.open_stripes(operation.name)
        begun = operation.begin(hands)
        with injected(plan):
            operation.act(hands, begun)
        hands.end()
        self.calls = plan.calls

    def fail(self, call: Call, how: str, code: int, *, stays: int = 0) -> None:
        """Let one call fail, put everything right again, try again, recover, judge."""
        if call.kind == "spawn":
            code = _SPAWN_CODES.get(code, code)
        self.points += 1
        root = self.template.copy()
        hands = Hands(root, "swept", durability="full")
        hands.files = self.operation.files
        hands.open_stripes(self.operation.name)
        begun = self.operation.begin(hands)
        plan = Plan(call.number, how, code=code, stays=stays)
        wrong: list[str] = []
        endings = allowed(self.operation)
        with injected(plan):
            refused = self._act(hands, begun)
            plan.disarm()
            left = self._left(hands)
            if refused and left and stays:
                endings = {key: {*known, ""} for key, known in endings.items()}  # it could not be taken back
            elif refused and left:
                wrong.append(f"refused, and left {' and '.join(left)}")
            if refused and not left and self._act(hands, begun):
                wrong.append("does not work when it is tried again")
            if isinstance(self._made, Claimed):  # a worker that got its job in the end runs it
                hands.settlements.settle(self._made, OK)
        hands.end()
        recover(root, self.operation, cut=False)
        wrong += judge(root, self.template, endings, shorten=uncounted)
        name = errno.errorcode[code]
        was, now = ([each.kind for each in calls] for calls in (self.calls, plan.calls))
        assert plan.happened, f"{self.operation.name} makes fewer calls than it did: {now}, and before: {was}"
        assert not wrong, (
            f"{self.operation.name}, call {call.number}, {call.kind} {call.path}: {how} {name}{' that stays' if stays else ''}:\n"
            + "\n".join(wrong)
        )

    def _act(self, hands: Hands, begun: object) -> bool:
        """True where the operation was refused."""
        self._made = None
        try:
            self._made = self.operation.act(hands, begun)
        except (OSError, SpoolUnavailableError):
            return True
        except QueuectlError:
            # A person who gives a command again may hear that there is nothing left to do.
            if not self.operation.again:
                raise
        return False

    def _left(self, hands: Hands) -> list[str]:
        """What a producer that was refused has left."""
        if not self.operation.name.startswith("enqueue"):
            return []
        return [f"pending/{name}" for name in hands.spool.waiting_names()]


@pytest.mark.parametrize("nth", by_default(3))
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_call_that_fails_once_costs_no_attempt_and_no_job(operation: Operation, nth: int, folder: Path) -> None:
    """P1, P9: ENOSPC at every change, EIO at every other call, and ENOSPC after half of every write."""
    failing = Failing(operation, folder)
    for call in each_nth(failing.calls, nth, operation.name):
        failing.fail(call, "error", errno.ENOSPC if call.kind in CHANGES else errno.EIO)
        if call.kind == "write":
            failing.fail(call, "short", errno.ENOSPC)
    print(f"{failing.points} failures: {operation.name}")


@pytest.mark.parametrize("nth", by_default(3))
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_disk_that_stays_broken_for_a_while_costs_no_attempt_and_no_job(
    operation: Operation, nth: int, folder: Path
) -> None:
    """P1, P9: from each change on every change fails, with ENOSPC, EIO, EDQUOT, EMFILE and EROFS in turn."""
    failing = Failing(operation, folder)
    changes = [call for call in failing.calls if call.kind in CHANGES]
    for call in each_nth(changes, nth, operation.name):
        failing.fail(call, "error", CODES[call.number % len(CODES)], stays=6)
    print(f"{failing.points} failures: {operation.name}")


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_no_error_at_any_call_costs_an_attempt_or_a_job(operation: Operation, folder: Path) -> None:
    """P1, P9: each of the five errors at every call, once and lasting, and after half of every write."""
    failing = Failing(operation, folder)
    for call in failing.calls:
        for code in CODES:
            failing.fail(call, "error", code)
            if call.kind in CHANGES:
                failing.fail(call, "error", code, stays=6)
            if call.kind == "write":
                failing.fail(call, "short", code)
    print(f"{failing.points} failures: {operation.name}")
