"""roster: where the job with an id is, with one listing for many questions."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from queuectl.jobs.verdict import Later, Rejected
from queuectl.model.lifecycle import DONE, PENDING, RUNNING, Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.spool.roster import Roster
from queuectl.system import files
from tests.helpers import Desk, FakeClock, write_drop

OK = Outcome("succeeded", 0, "", 0.01)


class Listings:
    """Counts the listings of pending/; each takes `took_s` by the clock."""

    def __init__(self, spool: SpoolDir, clock: FakeClock) -> None:
        self.count = 0
        self.took_s = 0.03
        self._pending = spool.folder(PENDING)
        self._clock = clock
        self._names = files.names

    def names(self, folder: str | int) -> list[str]:
        """As `files.names`."""
        if folder == self._pending:
            self.count += 1
            self._clock.advance(self.took_s)
        return self._names(folder)


@pytest.fixture
def listings(spool: SpoolDir, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listings]:
    """A count of the listings of pending/."""
    made = Listings(spool, clock)
    monkeypatch.setattr(files, "names", made.names)
    yield made


def test_each_way_to_wait_is_found(spool: SpoolDir, clock: FakeClock) -> None:
    """A job is found by its id, whatever flags are in its name, and whatever the case of its letters (P7)."""
    roster = Roster(spool, clock=clock)
    for name in ("a.json", "B.json", "c,prio=3.json", "D,due=20300101T000000Z,by=anna,hold.json", "e,odd.json"):
        write_drop(spool, name, {"command": "true"})
    for job_id, name in (("a", "a.json"), ("b", "B.json"), ("C", "c,prio=3.json"), ("A", "a.json")):
        found = roster.find(job_id)
        assert found is not None and found.name.lower() == name.lower(), job_id  # Windows finds b.json by that name
    found = roster.find("d")
    assert found is not None and found.name.startswith("D,due=")
    assert roster.find("e") is None
    generated = "20261124-031500-120345-7f3k"
    write_drop(spool, f"{generated},prio=1.json", {"command": "true"})
    found = roster.find(generated)
    assert found is not None and found.name == f"{generated},prio=1.json"


def test_job_that_moved_on_since_the_listing_is_found(desk: Desk, clock: FakeClock, listings: Listings) -> None:
    """A name of the last listing that is gone has its job looked for afresh, in every state (P7)."""
    roster = Roster(desk.spool, clock=clock)
    listings.took_s = 100.0
    names = [desk.enqueue(id=job_id, priority=1) for job_id in "xyz"]
    assert roster.find("x") is not None
    desk.run(names[0], OK)
    desk.start(names[1])
    os.rename(desk.spool.path(PENDING, names[2]), desk.spool.path(PENDING, "z,hold.json"))
    found = [roster.find(job_id) for job_id in "xyz"]
    assert [each and each.state for each in found] == [DONE, RUNNING, PENDING]


def test_listings_take_a_twentieth_of_the_time(desk: Desk, clock: FakeClock, listings: Listings) -> None:
    """P5: looking for a thousand ids that nobody has costs some listings of pending/, not a thousand."""
    roster = Roster(desk.spool, clock=clock)
    for number in range(1000):
        assert roster.find(f"id{number}") is None
        clock.advance(0.005)
    assert 1 < listings.count <= 10


def test_drops_with_ids_of_their_own_cost_no_listing_each(desk: Desk, clock: FakeClock, listings: Listings) -> None:
    """P5: to take in drops whose ids are not their names, beside whatever waits, is constant for each."""
    for number in range(60):
        desk.drop(f"drop{number}.json", {"command": "true", "id": f"own{number}"})
    for number in range(60):
        desk.run(f"drop{number}.json", OK)
        clock.advance(0.005)
    assert listings.count <= 2
    assert len(desk.spool.job_names(DONE)) == 60


def test_drop_with_the_id_of_a_job_that_this_worker_put_back_is_refused(
    desk: Desk, clock: FakeClock, listings: Listings
) -> None:
    """P7: two drops with one id that wait for their times are no two jobs, however old the last listing is."""
    listings.took_s = 100.0
    for name in ("a.json", "b.json"):
        desk.drop(name, {"command": "true", "id": "same", "delay": 86400})
    assert [type(desk.decline(name)) for name in ("a.json", "b.json")] == [Later, Rejected]


def test_ids_that_queuectl_made_are_remembered_only_when_they_are_asked_for(desk: Desk, clock: FakeClock) -> None:
    """P6: a large file of jobs without ids makes no worker's memory grow, and a job of it is found all the same."""
    for place in range(50):
        write_drop(desk.spool, f"many-20270115T080000-4vr8-{place:04d},prio=1.json", {"command": "true"})
    roster = Roster(desk.spool, clock=clock)
    assert roster.find("other") is None
    assert not roster._waiting
    found = roster.find("many-20270115T080000-4vr8-0007")
    assert found is not None and found.name == "many-20270115T080000-4vr8-0007,prio=1.json"
    roster.refresh(["MANY-20270115T080000-4vr8-0008"])
    assert len(roster._waiting) == 1
    assert roster.find("many-20270115T080000-4vr8-0008", as_listed=True) is not None
