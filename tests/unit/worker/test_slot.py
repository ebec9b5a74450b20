"""slot: the lease and the output file of one run after the other."""

from __future__ import annotations

import os
import sys

import pytest

from queuectl.system.locks import is_held
from queuectl.worker.slot import Slot
from tests.helpers import Desk


def test_a_plain_success_keeps_lease_and_output(slot: Slot) -> None:
    """The usual case costs no new file."""
    before = slot.lease.name, slot.output_fd
    slot.renew(is_plain=True)
    slot.open()
    assert (slot.lease.name, slot.output_fd) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no process inherits a lease on Windows")
def test_a_lease_that_nothing_below_the_worker_holds_is_locked_anew_after_a_while(slot: Slot, desk: Desk) -> None:
    """P3, P5: what left the worker's family with the lease is found within 50 ms, and keeps it."""
    slot.renew(is_plain=True)
    before, escaped = slot.lease.name, os.dup(slot.lease.fd)
    try:
        slot.renew(is_plain=True, is_free=True)
        assert slot.lease.name == before and slot.lease.fd >= 0
        desk.clock.advance(0.06)
        slot.renew(is_plain=True, is_free=True)
        slot.open()
        assert slot.lease.name != before and os.stat(desk.spool.lease_path(before)).st_size
    finally:
        os.close(escaped)


def test_any_other_end_takes_another_lease(slot: Slot, desk: Desk) -> None:
    """P5: a job that may run again must not look alive because this worker lives."""
    before = slot.lease.name
    slot.renew(is_plain=False)
    slot.open()
    assert slot.lease.name != before
    assert not os.path.exists(desk.spool.lease_path(before))
    assert is_held(slot.lease.path)


def test_a_lease_that_is_handed_over_stays_held(slot: Slot) -> None:
    """P5: an outcome that is not recorded yet keeps its lease, and the next run has one of its own."""
    before = slot.lease.path
    lock = slot.hand_over_lease()
    slot.open()
    assert slot.lease.path != before and is_held(before) and is_held(slot.lease.path)
    lock.remove()


def test_trouble_frees_the_lease(slot: Slot) -> None:
    """What may be on record under it counts as dead from now on."""
    before = slot.lease.path
    slot.abandon()
    slot.open()
    assert slot.lease.path != before and not is_held(before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no file that is open")
def test_a_lease_that_was_deleted_is_found_out(slot: Slot, desk: Desk) -> None:
    """P3: not within 5 ms after a renewal, which looks itself."""
    slot.check(desk.clock.monotonic())
    slot.renew(is_plain=True)
    os.remove(slot.lease.path)
    slot.check(desk.clock.monotonic())
    desk.clock.advance(0.01)
    with pytest.raises(FileNotFoundError):
        slot.check(desk.clock.monotonic())
