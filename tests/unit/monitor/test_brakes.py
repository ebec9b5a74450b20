"""brakes: what status, queue and why say of rates and circuit breakers."""

from __future__ import annotations

from pathlib import Path

from queuectl.model import names
from queuectl.model.lifecycle import Outcome
from queuectl.model.queues import Queue
from queuectl.model.settings import defaults
from queuectl.monitor import gated, metrics, queues
from queuectl.monitor.reason import Reason
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import Survey
from queuectl.spool import pause
from tests.helpers import Desk, make_spool

OK, BAD = Outcome("succeeded", 0, "", 0.01), Outcome("failed", 7, "", 0.01)


def _desk(tmp_path: Path, rules: Queue) -> Desk:
    return Desk(make_spool(tmp_path / "spool"), settings=defaults()._replace(queues={"api": rules}))


def _row(desk: Desk) -> queues.QueueRow:
    rows = queues.rows(desk.spool, desk.spool.waiting_names(), desk.settings.queues, (), desk.clock.now())
    return next(row for row in rows if row.queue == "api")


def _why(desk: Desk, name: str) -> list[Reason]:
    parts = names.parse(name)
    assert parts is not None
    return gated.reasons(desk.session, parts)


def test_rate_that_is_reached_says_until_when(tmp_path: Path) -> None:
    """The row and `why` say when the next job may start, and `why` which command raises the rate."""
    desk = _desk(tmp_path, Queue(rate="2/1m", rate_per_key="1/1h"))
    assert (_row(desk).rate, _row(desk).state, _row(desk).rate_next_at) == ("2/1m", "", None)
    desk.run(desk.enqueue(id="a", queue="api", key="k"), OK)
    desk.clock.advance(15)
    desk.run(desk.enqueue(id="b", queue="api"), OK)
    row = _row(desk)
    assert (row.state, row.state_until) == ("rate 2/1m reached", desk.clock.now() + 45)
    name = desk.enqueue(id="c", queue="api", key="k")
    by_key, by_queue = _why(desk, name)
    assert by_key.kind == "rate_per_key_reached"
    assert "key k in queue api has had all the starts" in by_key.text
    assert by_key.change == "queuectl config set queues.api.rate_per_key 2/1h"
    assert by_queue.kind == "rate_reached"
    assert by_queue.text.endswith("in 45s")
    assert by_queue.change == "queuectl config set queues.api.rate 4/1m"
    desk.clock.advance(45)
    assert _row(desk).state == ""


def test_halted_queue_shows_its_last_failure(tmp_path: Path) -> None:
    """Halted, half-open and open: the row, `why` with its command, status.json and the metrics."""
    desk = _desk(tmp_path, Queue(halt_after=2, halt_for=600.0))
    for number in range(2):
        desk.run(desk.enqueue(id=f"a{number}", queue="api", max_retries=0), BAD)
        assert _row(desk).failures == number + 1
    row = _row(desk)
    assert row.is_halted
    assert row.state == "halted: 2 runs failed in a row; the last one was a1: exit 7"
    assert row.state_until == desk.clock.now() + 600
    name = desk.enqueue(id="b", queue="api")
    (reason,) = _why(desk, name)
    assert reason.kind == "queue_halted"
    assert "is halted until 2027-01-15T08:10:00.000Z: 2 runs failed in a row" in reason.text
    assert reason.change.startswith("queuectl resume api, or delete ")
    Path(desk.spool.settings_path).write_text("[queues.api]\nhalt_after = 2\n")
    seen = drain(Survey(desk.spool, is_full=True, next_rows=10).take(desk.clock.now()))
    assert [each.is_halted for each in seen.queues if each.queue == "api"] == [True]
    assert 'queuectl_queue_halted{queue="api"} 1.0' in metrics.text(seen)
    assert 'queuectl_queue_failures_in_a_row{queue="api"} 2.0' in metrics.text(seen)
    (bare,) = queues.without_texts([row])
    assert (bare.state, bare.is_halted) == ("halted", True)
    pause.resume(desk.spool, "api")
    assert _row(desk).state == "one job at a time until one succeeds"
    desk.clock.advance(0.01)
    trial = desk.start(name)
    (reason,) = _why(desk, desk.enqueue(id="c", queue="api"))
    assert reason.kind == "half_open"
    assert reason.text.endswith("until one succeeds, because 2 runs failed in a row: b runs")
    assert reason.change.startswith("queuectl config set queues.api.halt_after 0")
    desk.settlements.settle(trial, OK)
    assert (_row(desk).state, _row(desk).failures) == ("", 0)


def test_pause_by_a_person_is_no_halt(tmp_path: Path) -> None:
    """The same file by hand is called a pause."""
    desk = _desk(tmp_path, Queue(halt_after=2))
    pause.pause(desk.spool, "moving", until_at=None, queue="api")
    assert _row(desk).state == "paused: moving"
    assert [reason.kind for reason in _why(desk, desk.enqueue(id="b", queue="api"))] == ["queue_paused"]
