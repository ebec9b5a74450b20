"""Before any change that a job makes at its gate, the board is deleted or torn, and another worker tries to get in (P12).

`test_meanwhile` leaves gates out, because there two processes would wait for each other by a clock that stands still.
Here each look at the clock takes 10 ms.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.flows import boards
from queuectl.jobs.verdict import Claimed
from queuectl.model.lifecycle import DONE, Outcome
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Hands, Operation, Template
from tests.crash.inject import Plan, injected
from tests.helpers import FakeClock, names_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stands in for POSIX calls")

OK = Outcome("succeeded", 0, "", 0.01)


class PassingClock(FakeClock):
    """A clock that goes on a little at each look."""

    def monotonic(self) -> float:
        self.monotonic_s += 0.01
        return self.monotonic_s


def _nothing(_spool: SpoolDir) -> None:
    return None


def _delete(spool: SpoolDir) -> None:
    """Delete the board, as a person might."""
    if os.path.exists(spool.gate_path("default")):
        os.unlink(spool.gate_path("default"))


def _tear(spool: SpoolDir) -> None:
    """Cut the board in the middle of its last line."""
    if os.path.exists(path := spool.gate_path("default")):
        os.truncate(path, max(0, os.path.getsize(path) - 100))


def _empty(spool: SpoolDir) -> None:
    """Take everything out of the board."""
    if os.path.exists(path := spool.gate_path("default")):
        os.truncate(path, 0)


def _make_jobs(hands: Hands) -> None:
    for job_id in ("job", "other"):
        hands.enqueue(id=job_id, key="k")


# The template is only a spool with two jobs of one key; what happens is in `Meeting`.
_JOBS = Operation("gate", _make_jobs, lambda _: None, lambda *_: None, {})


class Meeting:
    """Two workers at the gate of one key, of whom the other comes by amid a change of the first one."""

    def __init__(self, root: Path, damage: Callable[[SpoolDir], None]) -> None:
        self.spool = SpoolDir(root / "spool")
        self.me, self.other = (Hands(root, name, clock=PassingClock()) for name in ("me", "other"))
        self.damage = damage
        self.mine: Claimed | None = None
        self.others: Claimed | None = None
        self.wrong: list[str] = []
        self.meanwhile: Callable[[], object] = self.come_by
        """What happens amid a change."""

    def come_by(self) -> None:
        """Damage the board, then try to get in; the command of the first one runs between its claim and its end."""
        self.damage(self.spool)
        made = self.other.begin("other,key=k.json")
        if isinstance(made, Claimed):
            self.others = made
            if self.mine is not None:
                self.wrong.append("the other got in while the job ran")

    def claim(self, plan: Plan) -> bool:
        """Claim the job amid whose changes the other comes by; True if it got in."""
        with injected(plan):
            made = self.me.begin("job,key=k.json")
        self.mine = made if isinstance(made, Claimed) else None
        if self.mine is not None and self.others is not None:
            self.wrong.append("both are in")
        return self.mine is not None

    def run_all(self) -> None:
        """End what runs, and run what is left: whoever waited gets in although the workers live on."""
        for hands, made in ((self.me, self.mine), (self.other, self.others)):
            if made is not None:
                hands.settlements.settle(made, OK)
                if hands is self.me:
                    self.mine = None
        for name in sorted(self.spool.waiting_names()):
            made = self.me.begin(name)
            if isinstance(made, Claimed):
                self.me.settlements.settle(made, OK)
            else:
                self.wrong.append(f"{name} does not get in: {made}")

    def judge(self) -> list[str]:
        """What is wrong in the end."""
        done = sorted(name for name in names_in(self.spool, DONE) if not name.startswith("kept"))
        if done != ["job.json", "other.json"]:
            self.wrong.append(f"done/ has {done}")
        self.wrong += [f"{entry} is left in the board" for entry in boards.read(self.spool, "default")]
        self.me.end()
        self.other.end()
        return self.wrong


def _changes(template: Template, act: Callable[[Meeting, Plan], None], damage: Callable[[SpoolDir], None]) -> int:
    """Have the other come by before each change and in the midst of each write; return how often that was."""
    place = meetings = 0
    happened = True
    while happened:
        place, happened = place + 1, False
        for how in ("meanwhile", "meanwhile torn"):
            meeting = Meeting(template.copy(), damage)
            plan = Plan(place, how, end=lambda meeting=meeting: meeting.meanwhile() and None)
            act(meeting, plan)
            meeting.run_all()
            wrong = meeting.judge()
            if plan.happened is not None:
                happened, meetings = True, meetings + 1
            assert not wrong, f"{how} change {place}, {plan.happened}:\n" + "\n".join(wrong)
    return meetings


def _claim(meeting: Meeting, plan: Plan) -> None:
    meeting.claim(plan)


def _settle(meeting: Meeting, plan: Plan) -> None:
    """The job is in; the other comes by while its end is recorded, when its command does not run any more."""
    assert meeting.claim(Plan())
    made, meeting.mine = meeting.mine, None
    assert made is not None
    with injected(plan):
        meeting.me.settlements.settle(made, OK)


def _claim_again(meeting: Meeting, plan: Plan) -> None:
    """The board is damaged while the job is in, and the other comes by while a third one is kept out."""
    assert meeting.claim(Plan())
    meeting.damage(meeting.spool)
    meeting.me.enqueue(id="third", key="k")
    third = Hands(Path(meeting.spool.root).parent, "third", clock=PassingClock())
    with injected(plan):
        made = third.begin("third,key=k.json")
    if isinstance(made, Claimed):
        meeting.wrong.append("a third one got in while the job ran")
    third.end()
    for name in meeting.spool.waiting_names():
        if name.startswith("third"):
            os.unlink(meeting.spool.path("pending", name))


def _ends_meanwhile(meeting: Meeting, plan: Plan) -> None:
    """The job ends amid the changes of the other, which makes a lost board again: no place stays taken."""
    assert meeting.claim(Plan())
    meeting.damage(meeting.spool)
    made, meeting.mine = meeting.mine, None
    assert made is not None

    def end() -> None:
        with contextlib.suppress(BlockingIOError):  # the other has the gate: the worker tries again later
            meeting.me.settlements.settle(made, OK)

    meeting.meanwhile = end
    with injected(plan):
        begun = meeting.other.begin("other,key=k.json")
    meeting.me.settlements.settle(made, OK)
    meeting.others = begun if isinstance(begun, Claimed) else None


@pytest.mark.parametrize("damage", [_nothing, _delete, _tear, _empty])
@pytest.mark.parametrize("act", [_claim, _settle, _claim_again, _ends_meanwhile])
def test_a_board_damaged_at_any_moment_lets_nobody_in(
    act: Callable[[Meeting, Plan], None], damage: Callable[[SpoolDir], None], folder: Path
) -> None:
    """P12: never two of a key, and no place stays taken, whatever becomes of the board between two changes."""
    meetings = _changes(Template(_JOBS, folder), act, damage)
    print(f"{meetings} meetings")
    assert meetings
