"""folding: a long history gets one event in the place of most of its events, and says the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from queuectl.model import folding, history, record, times
from tests.helpers import NOON_AT


def _long(runs: int, *, first: int = 1, kind: str = "failed", **facts: Any) -> list[dict[str, Any]]:
    """A history of so many runs that failed."""
    found = []
    for attempt in range(first, first + runs):
        at = NOON_AT + attempt
        found.append(history.event("started", at, attempt=attempt, worker="w1", lease="w1.0"))
        found.append(history.event(kind, at + 0.5, attempt=attempt, exit_code=3, to="pending", **facts))
    return found


def _standings(data: bytes) -> history.Standing:
    return record.decode(data).standing()


LONG_SPEC = {"id": "job1", "command": "x", "max_retries": 1000000, "backoff_base": 0, "backoff_max": 1}
ENQUEUED = history.event("enqueued", NOON_AT, by="enqueue")


def test_long_history_is_folded_and_says_the_same() -> None:
    """A history of more than 256 KiB becomes a tenth, and what it says of the job stays (P4)."""
    data = record.frame(LONG_SPEC, [ENQUEUED, *_long(2000)])
    folded = folding.fold(data, record.decode(data))
    assert folded is not None
    assert len(folded) < 30_000
    item = record.exact(folded)
    assert item is not None
    assert item.standing() == _standings(data)
    assert (item.history[0].event, item.history[1].event, item.history[2].event) == ("enqueued", "folded", "started")
    fold = item.history[1]
    assert fold.counts == {"started": 1950, "failed": 1950}
    assert (fold.failures, fold.reason, fold.first_at) == (1950, "exit 3", times.to_text(NOON_AT + 1))
    assert history.length(item.history) == history.length(record.decode(data).history) == 4001
    assert folding.fold(folded, item) is None


def test_history_that_was_folded_is_folded_again() -> None:
    """A million runs take no more room than some thousands (P4)."""
    data = record.frame(LONG_SPEC, [ENQUEUED])
    for first in range(1, 9001, 1500):
        tail = record.append(len(data), _long(1500, first=first))
        data = tail.on(data)
        data = folding.fold(data, record.decode(data)) or data
    item = record.decode(data)
    assert len(data) < folding.FOLD_BYTES
    assert [event.event for event in item.history].count("folded") == 1
    assert (_standings(data).starts, _standings(data).failures) == (9000, 9000)
    assert history.starts_in(json.loads(data)["history"]) == 9000


def test_history_that_is_large_for_other_reasons_is_left() -> None:
    """A few large events, or a large specification, are no reason for a rewrite at each claim."""
    for spec, events in (
        (LONG_SPEC, [ENQUEUED, *_long(40, reason="x" * 9000)]),
        ({**LONG_SPEC, "env": {"x": "y" * 400_000}}, [ENQUEUED, *_long(60)]),
        (LONG_SPEC, [ENQUEUED, *_long(60, reason="x" * 9000)]),
    ):
        data = record.frame(spec, events)
        assert folding.fold(data, record.decode(data)) is None


def test_copy_from_before_a_fold_is_known_for_one() -> None:
    """An earlier copy of a record is told from another job's also where the later one was folded since (P7)."""
    early = record.frame(LONG_SPEC, [ENQUEUED, *_long(1000)])
    later = record.frame(LONG_SPEC, [ENQUEUED, *_long(2000)])
    folded = folding.fold(later, record.decode(later))
    assert folded is not None
    assert record.is_earlier(early, folded)
    assert record.is_earlier(record.frame(LONG_SPEC, [ENQUEUED, *_long(1990)]), folded)
    assert record.is_earlier(folded, folded)
    assert not record.is_earlier(later, early)
    assert not record.is_earlier(record.frame(LONG_SPEC, [ENQUEUED, *_long(2001)]), folded)
    assert not record.is_earlier(record.frame({**LONG_SPEC, "command": "y"}, [ENQUEUED, *_long(9)]), folded)


@pytest.mark.parametrize("counts", [{"started": -1}, {"started": 2**40}, {"started": "x"}, [1], 5])
def test_fold_that_somebody_wrote_wrong_is_no_record(counts: object) -> None:
    """Counts that queuectl never writes make a file a drop, which is refused (P6)."""
    data = record.frame(LONG_SPEC, [ENQUEUED, {"at": "2027-01-15T08:00:00.000Z", "event": "folded", "counts": counts}])
    assert record.exact(data) is None
