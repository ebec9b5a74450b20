"""scanner: when pending/ is listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.model import names
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
