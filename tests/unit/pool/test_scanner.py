"""scanner: when pending/ is listed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.jobs.verdict import Busy
from queuectl.model import names
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk
from tests.unit.pool.conftest import StillPool, store_retries


def test_a_wish_to_list_again_is_no_reason_to_read_what_waits(
    spool: SpoolDir, pool: StillPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that is wanted at once is no clock that was set back: no record of a job that waits is read."""
    store_retries(spool, 3, at=NOON_AT)
    pool.parts.scanner.scan()
    pool.parts.scanner.due_times.step()
    monkeypatch.setattr(SpoolDir, "read", None)
    pool.parts.scanner.scan_soon()
    pool.parts.scanner.due_times.step()
    assert pool.parts.scanner.due_s() < pool.clock.monotonic()


def test_a_batch_whose_stripe_cannot_be_opened_pauses_no_pool(pool: StillPool, desk: Desk) -> None:
    """P9: a split that was cut short waits for its stripe, and the listing goes on."""
    Path(desk.spool.taken_dir, "lines-1.jsonl").write_text('{"command": "true"}', encoding="utf-8")
    os.mkdir(desk.spool.stripe_path(names.stripe_of("lines-1")))
    desk.drop("job.json", {"command": "true"})
    pool.parts.scanner.scan()
    assert pool.parts.core.queue.take() == "job.json" and not pool.parts.core.breaker.is_open


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the watch starts a thread")
def test_a_pool_that_ends_on_its_own_is_calm_for_a_while_before_it_watches(spool: SpoolDir, settings: Settings) -> None:
    """Its last jobs end within that time, as a rule; a pool that goes on watches at once."""
    for options, is_patient in (({}, False), ({"drain": True}, True), ({"max_jobs": 3}, True)):
        made = StillPool(spool, settings, **options)
        scanner = made.parts.scanner
        made.parts.core.dispatcher.passed(None, "job.json", Busy())  # the last name is to be tried again
        try:
            scanner.arm(is_calm=True)
            assert scanner._watch.armed is not is_patient
            made.clock.advance(0.06)
            scanner.arm(is_calm=False)
            scanner.arm(is_calm=True)
            made.clock.advance(0.06)
            scanner.arm(is_calm=True)
            assert scanner._watch.armed is not is_patient, "it was busy in between"
            made.clock.advance(0.06)
            scanner.arm(is_calm=True)
            assert scanner._watch.armed
        finally:
            made.close()
