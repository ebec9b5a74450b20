"""control: what people ask of a pool."""

from __future__ import annotations

import pytest

from queuectl.model.notice import Notice
from queuectl.spool import pause, pools
from tests.helpers import Desk
from tests.unit.pool.conftest import StillPool


def kinds(pool: StillPool) -> list[str]:
    """The kinds of what a pool has reported."""
    return [event.kind for event in pool.told if isinstance(event, Notice)]


def test_a_signal_stops_and_a_second_one_stops_at_once(pool: StillPool) -> None:
    """P7: the loop is woken, and begins the stop in its round."""
    control = pool.parts.control
    assert not control.is_stop_asked and not control.conn.poll(0)
    control.signal()
    assert control.conn.poll(0) and not pool.parts.core.shutdown.has_begun
    control.receive()
    control.step(0.0)
    assert control.is_stop_asked and not control.is_urgent
    control.signal()
    control.step(1.0)
    assert control.is_urgent
    assert kinds(pool) == ["stopping", "stopping"]


@pytest.mark.parametrize(("grace_s", "is_urgent"), [(None, False), (0.0, True)])
def test_a_file_stops_a_pool(pool: StillPool, desk: Desk, grace_s: float | None, is_urgent: bool) -> None:
    """P7: from any terminal; the same request at every tick is reported once."""
    pools.request_stop(desk.spool, pool.parts.pool.name, grace_s=grace_s)
    for now_s in (0.0, 0.2, 0.4):
        pool.parts.control.check_stop_file(now_s)
    assert pool.parts.core.shutdown.has_begun and pool.parts.control.is_urgent is is_urgent
    assert kinds(pool) == ["stopping"]


def test_a_request_to_leave_commands_outlasts_other_requests(pool: StillPool, desk: Desk) -> None:
    """A later request shortens the grace, and commands on nodes go on all the same."""
    name = pool.parts.pool.name
    pools.request_stop(desk.spool, name, leaves=True)
    own = pool.parts.pool.stop_request()
    assert own == (desk.settings.stop_grace_s, True)
    pools.request_stop(desk.spool, name, now=True)
    assert pool.parts.pool.stop_request() == (0.0, True)


def test_a_pause_is_reported_once_and_ends_with_its_time(pool: StillPool, desk: Desk) -> None:
    """PAUSED with an instant is taken away by the pool when it has come."""
    pause.pause(desk.spool, "backup", until_at=pool.clock.now() + 60)
    for _ in range(2):
        pool.parts.control.check_pause(0.0)
    assert pool.parts.control.is_paused
    pool.clock.advance(61)
    pool.parts.control.check_pause(0.0)
    assert not pool.parts.control.is_paused and not pause.is_paused(desk.spool)
    assert [event.text for event in pool.told if isinstance(event, Notice)] == [
        "paused: backup; to resume: queuectl resume, or delete PAUSED",
        "no longer paused",
    ]
