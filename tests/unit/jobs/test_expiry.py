"""expires_at and expires_after: a job never starts later than they say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.jobs.requeue import requeue
from queuectl.jobs.verdict import Claimed, Dead, Later
from queuectl.model import expiry, folding, record, times
from queuectl.model.lifecycle import DLQ, PENDING, RUNNING, Outcome
from tests.helpers import NOON_AT, Desk, listing, only

SOON = times.to_text(NOON_AT + 60)
FAILED = Outcome("failed", 1, "", 0.01)
WHY = f"no attempt may start after {SOON} (expires_at)"


def ended(desk: Desk) -> str:
    """The last event of the job in dlq/, with its reason."""
    last = desk.record(DLQ, "job.json").history[-1]
    return f"{last.event}: {last.reason}"


@pytest.mark.parametrize("keys", [{"expires_at": SOON}, {"expires_after": 60}])
def test_a_job_starts_until_it_expires(desk: Desk, keys: dict[str, Any]) -> None:
    """The instant itself is in time."""
    name = desk.enqueue(id="job", **keys)
    desk.clock.advance(60)
    assert isinstance(desk.claim(name), Claimed)


def test_a_job_never_starts_late(desk: Desk) -> None:
    """P13: it is dead, without a run, and its text says why."""
    name = desk.enqueue(id="job", expires_at=SOON)
    desk.clock.advance(60.001)
    assert desk.claim(name) == Dead("job.json", WHY)
    assert listing(desk.spool) == {"dlq": ["job.error.txt", "job.json"]}
    assert ended(desk) == f"expired: {WHY}"
    text = Path(desk.spool.error_path("job.json")).read_text()
    assert "is dead: it expired before it could start" in text and WHY in text


def test_expires_after_counts_from_the_first_due_time(desk: Desk) -> None:
    """A job that waits for its delay does not expire meanwhile."""
    name = desk.enqueue(id="job", delay=100, expires_after=60)
    limit_at = expiry.expires_at(desk.record(PENDING, name))
    assert limit_at == NOON_AT + 160
    desk.clock.advance(161)
    verdict = desk.claim(name)
    assert isinstance(verdict, Dead) and "(expires_after 1m00s)" in verdict.why


def test_a_retry_does_not_start_late_either(desk: Desk) -> None:
    """A job that is due after its limit is dead when somebody looks, before it is due."""
    settled = desk.run(desk.enqueue(id="job", expires_after=60, backoff_base=1000), FAILED)
    desk.clock.advance(61)
    assert isinstance(desk.claim(settled.name), Dead)
    assert ended(desk).startswith("expired: ")
    assert "attempt 1 ended with exit code 1" in Path(desk.spool.error_path("job.json")).read_text()


@pytest.mark.parametrize("keys", [{"expires_at": SOON}, {"expires_after": 60}])
@pytest.mark.parametrize("by", ["command", "hand"])
def test_a_requeue_voids_it(desk: Desk, keys: dict[str, Any], by: str) -> None:
    """Who runs the job again wants it done after all."""
    name = desk.enqueue(id="job", **keys)
    desk.clock.advance(61)
    desk.claim(name)
    if by == "command":
        requeue(desk.session, "job", by="test")
    else:
        os.rename(desk.spool.path(DLQ, "job.json"), desk.spool.path(PENDING, "job.json"))
    claimed = desk.start(only(desk.spool, PENDING))
    events = [event.event for event in record.decode(claimed.data).history]
    assert events == ["enqueued", "expired", "requeued", "started"]


def test_a_fold_does_not_forget_a_requeue(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events of a long history are counted, and a requeue among them still counts."""
    monkeypatch.setattr(folding, "FOLD_BYTES", 1000)
    monkeypatch.setattr(folding, "FOLD_KEEPS", 2)
    desk.run(desk.enqueue(id="job", expires_after=60, max_retries=0), FAILED)
    requeue(desk.session, "job", by="test")
    for _ in range(6):
        desk.run(only(desk.spool, PENDING), Outcome("released", None, "shutdown"))
    desk.clock.advance(61)
    data = desk.start(only(desk.spool, PENDING)).data
    item = record.decode(data)
    assert "folded" in [event.event for event in item.history]
    assert "requeued" not in [event.event for event in item.history]
    assert expiry.expires_at(item) is None


def test_a_drop_that_has_expired_is_dead_before_its_turn(desk: Desk) -> None:
    """The pool's judge takes it in with its end."""
    desk.drop("job.json", {"command": "true", "expires_at": SOON})
    desk.clock.advance(61)
    assert desk.triage.judge("job.json") == Dead("job.json", WHY)
    assert listing(desk.spool) == {"dlq": ["job.error.txt", "job.json"]}
    assert ended(desk) == f"expired: {WHY}"


def test_an_expired_drop_is_dead_when_a_worker_claims_it(desk: Desk) -> None:
    """The same without a look before its turn; under its own id."""
    desk.drop("x.json", {"command": "true", "id": "job", "expires_at": SOON})
    desk.clock.advance(61)
    assert isinstance(desk.claim("x.json"), Dead)
    assert listing(desk.spool) == {"dlq": ["job.error.txt", "job.json"]}


def test_the_time_of_a_drop_begins_at_the_first_look(desk: Desk) -> None:
    """A drop with `expires_after` is taken in before its turn; with `expires_at` only its name changes."""
    desk.drop("job.json", {"command": "true", "expires_after": "1m"})
    verdict = desk.triage.judge("job.json")
    assert isinstance(verdict, Later)
    desk.clock.advance(61)
    assert isinstance(desk.claim(verdict.name), Dead)
    desk.drop("b.json", {"command": "true", "expires_at": times.to_text(desk.clock.now() + 5)})
    verdict = desk.triage.judge("b.json")
    assert isinstance(verdict, Later)
    assert b"history" not in Path(desk.spool.path(PENDING, verdict.name)).read_bytes()


def test_a_run_under_way_is_not_ended(desk: Desk) -> None:
    """The keys limit the start, not the run."""
    claimed = desk.start(desk.enqueue(id="job", expires_after=60))
    desk.clock.advance(61)
    settled = desk.settlements.settle(claimed, Outcome("succeeded", 0))
    assert settled.to == "done"


def test_a_kill_before_the_move_is_mended(desk: Desk) -> None:
    """P4: the end is on record, and rescue makes the move (the crash sweep kills at each call)."""
    name = desk.enqueue(id="job", expires_after=60)
    desk.clock.advance(61)
    desk.claim(name)
    os.unlink(desk.spool.error_path("job.json"))
    os.rename(desk.spool.path(DLQ, "job.json"), desk.spool.path(RUNNING, "job.json"))
    settled = desk.orphans.rescue("job.json")
    assert settled is not None and settled.to == DLQ


def test_a_value_that_queuectl_does_not_write_is_judged(desk: Desk) -> None:
    """P6: a record whose limit was damaged in an editor is refused, and does not run for ever."""
    name = desk.enqueue(id="job", expires_at=SOON)
    path = Path(desk.spool.path(PENDING, name))
    path.write_bytes(path.read_bytes().replace(SOON.encode(), b"tomorrow"))
    desk.claim(name)
    (refused,) = [name for name in listing(desk.spool)["rejected"] if name.endswith(".json")]
    assert "expires_at: 'tomorrow' is not an instant" in Path(desk.spool.reason_path(refused)).read_text()


def test_the_limit_of_a_signature_is_not_the_jobs(desk: Desk) -> None:
    """A record that an older queuectl made of a signed job keeps the limit of its signature, and starts later."""
    desk.drop("job.json", {"command": "true", "signed_by": "anna", "expires_at": SOON})
    desk.clock.advance(3600)
    claimed = desk.start("job.json")
    assert f'"signed_until": "{SOON}"'.encode() in claimed.data and b'"format": 1' in claimed.data


def test_the_library_takes_instants(api: Spool) -> None:
    """Seconds since 1970 or a text."""
    job_id = api.enqueue("true", expires_at=4102444800.0)
    assert api.get(job_id).spec["expires_at"] == "2100-01-01T00:00:00.000Z"
