"""notices: what a pool hands on."""

from __future__ import annotations

from queuectl.model.notice import INFO, Notice
from queuectl.pool.notices import Event, Outbox


def test_a_round_is_handed_on_with_one_call() -> None:
    """All events of a round come together, in order; a round without any makes no call."""
    got: list[list[Event]] = []
    outbox = Outbox(got.append)
    first, second = Notice(INFO, "a", "1"), Notice(INFO, "b", "2")
    outbox.flush()
    outbox.put(first)
    outbox.put(second)
    outbox.flush()
    outbox.flush()
    assert got == [[first, second]]
