"""requeue: a dead or finished job runs again."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from queuectl.api import Spool
from queuectl.errors import QueuectlError, SpoolUnavailableError
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool import stripes
from queuectl.system import disk
from tests.helpers import Desk, listing

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


@pytest.mark.parametrize(("state", "outcome"), [(DONE, OK), (DLQ, FAILED)])
def test_requeued_job_waits_afresh_with_its_history(api: Spool, hands: Desk, state: str, outcome: Outcome) -> None:
    """A dead or finished job runs again with all its retries (P7)."""
    hands.run(hands.enqueue(id="a", max_retries=0, priority=5), outcome)
    found = api.requeue("a", by="cli")
    assert (found.state, found.attempts) == (PENDING, 0)
    assert [event["event"] for event in found.history] == ["enqueued", "started", outcome.kind, "requeued"]
    assert found.history[-1]["by"] == "cli"
    assert listing(hands.spool) == {"pending": ["a,prio=5.json"]}
    claimed = hands.start("a,prio=5.json")
    assert (claimed.attempt, claimed.failures) == (2, 0)
    assert hands.events(RUNNING, "a.json")[-2:] == ["requeued", "started"]


def test_requeue_of_a_job_that_is_on_its_way_is_refused(api: Spool, hands: Desk) -> None:
    """A job that waits or runs is not doubled (P3)."""
    name = hands.enqueue(id="a")
    with pytest.raises(QueuectlError, match="pending"):
        api.requeue("a")
    hands.start(name)
    with pytest.raises(QueuectlError, match="running"):
        api.requeue("a")
    assert hands.events(RUNNING, "a.json") == ["enqueued", "started"]


def test_requeue_that_was_cut_short_can_be_done_again(api: Spool, hands: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the event and the move leaves a dead job that can be requeued or dragged (P4)."""
    hands.run(hands.enqueue(id="a", max_retries=0), FAILED)

    def refuse(*_args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "move", refuse)
        with pytest.raises(SpoolUnavailableError):
            api.requeue("a")
    assert listing(hands.spool) == {"dlq": ["a.json"]}
    assert api.requeue("a").state == PENDING
    assert hands.start("a.json").failures == 0


def test_requeue_waits_for_a_claim_in_progress(api: Spool, hands: Desk) -> None:
    """The stripe of an id guards its moves by hand too (P3)."""
    hands.run(hands.enqueue(id="a", max_retries=0), FAILED)
    stripe = hands.stripes.of("a")
    assert stripe.try_acquire()
    done: list[str] = []
    caller = threading.Thread(target=lambda: done.append(api.requeue("a").state))
    caller.start()
    caller.join(0.1)
    assert caller.is_alive()
    assert listing(hands.spool) == {"dlq": ["a.json"]}
    stripe.release()
    caller.join(60)
    assert done == [PENDING]


def test_requeue_gives_up_on_a_stripe_that_stays_busy(api: Spool, hands: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process does not hang a command for ever."""
    monkeypatch.setattr(stripes, "_PATIENCE_S", 0.05)
    hands.run(hands.enqueue(id="a", max_retries=0), FAILED)
    assert hands.stripes.of("a").try_acquire()
    with pytest.raises(SpoolUnavailableError):
        api.requeue("a")
