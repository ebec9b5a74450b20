"""groups: jobs by tag and owner."""

from __future__ import annotations

from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.monitor.groups import GROUPS, Labels, OwnersOfNames, owner_rows, tag_rows


def test_tags_and_owners_are_counted_by_state() -> None:
    """The largest come first; a job counts once for each of its tags; owners of waiting jobs come from names."""
    found = [
        Labels(PENDING, ("photo",), ""),
        Labels(PENDING, ("photo", "photo", "night"), ""),
        Labels(RUNNING, ("photo",), "anna"),
        Labels(DONE, ("night",), "anna"),
        Labels(DLQ, ("photo",), "ben"),
    ]
    assert tag_rows(found) == (("photo", 2, 1, 0, 1), ("night", 1, 0, 1, 0))
    assert owner_rows(found, {"ben": 7}) == (("ben", 7, 0, 0, 1), ("anna", 0, 1, 1, 0))


def test_rows_are_bounded() -> None:
    """However many tags there are."""
    assert len(tag_rows([Labels(DONE, (f"tag{number}",), "") for number in range(1000)])) == GROUPS


def test_owners_are_read_off_names() -> None:
    """Only a flag that is one counts."""
    made = OwnersOfNames()
    made.add(["a,by=anna.json", "b,prio=3,by=anna.json", "c,by=ben,hold.json", "d,by=.json", "e,by=x,y.json", "f.json"])
    made.add_ends({",prio=3,by=ben.json": 5, ".json": 100})
    assert made.jobs() == {"anna": 2, "ben": 6}
