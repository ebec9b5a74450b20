"""reported: trouble that lasts is reported once."""

from __future__ import annotations

from queuectl.model.notice import Notice
from queuectl.pool.reported import ReportedOnce
from tests.helpers import FakeClock


def test_a_lock_is_reported_once_for_all_files_that_need_it(clock: FakeClock) -> None:
    """What is at fault counts, and not who needs it."""
    told: list[Notice] = []
    reported = ReportedOnce(clock, told.append, lambda _name: True)
    for name in ("a.json", "b.json"):
        reported.report("stuck", "/spool/40.lock", f"{name} waits", name=name)
    assert [notice.text for notice in told] == ["a.json waits"]


def test_a_file_whose_trouble_is_over_is_reported_again(clock: FakeClock) -> None:
    """A job that has run is forgotten, so the next trouble with its name is news."""
    told: list[Notice] = []
    reported = ReportedOnce(clock, told.append, lambda _name: True)
    for _ in range(2):
        reported.report("unreadable", "a.json", "it cannot be read")
        reported.report("unreadable", "a.json", "it cannot be read")
        reported.forget("a.json")
    assert len(told) == 2 and len(reported) == 0
