"""Names on their way to workers and back."""

from __future__ import annotations

from queuectl.arrivals import Arrivals
from queuectl.claim import Declined
from queuectl.dispatch import SHARE_AFTER_S, Dispatch
from queuectl.feeder import Feeder
from queuectl.slots import Slot
from queuectl.spool import SpoolDir
from tests.helpers import FakeClock


def test_a_name_at_two_workers_counts_until_both_have_answered(spool: SpoolDir, clock: FakeClock) -> None:
    """With `max_jobs` 1 no other name goes out while the first one may still run at its first worker."""
    slots = [Slot(0), Slot(1)]
    for slot in slots:
        slot.ready = True
    feeder = Feeder()
    arrivals = Arrivals(spool, settle_s=30, clock=clock)
    dispatch = Dispatch(slots, feeder, arrivals, clock=clock, max_jobs=1, tell=lambda _kind, _text: None)
    dispatch.add(["a.json", "b.json"])
    dispatch.feed(careful=False)
    first, second = sorted(slots, key=lambda slot: not slot.outstanding)
    assert list(first.outstanding) == ["a.json"]
    clock.advance(SHARE_AFTER_S * 2)
    dispatch.feed(careful=False)
    assert list(second.outstanding) == ["a.json"]
    dispatch.passed(second, "a.json", Declined("gone"))
    dispatch.feed(careful=False)
    assert not second.outstanding
    dispatch.settled(first, "a.json", counts=False)
    dispatch.feed(careful=False)
    assert sum(len(slot.outstanding) for slot in slots) == 1
