"""group_tally: how far groups are, by the names that a snapshot lists anyway."""

from __future__ import annotations

import random

from queuectl.api import Spool
from queuectl.model import names, times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.monitor.group_tally import GROUPS, GroupTally
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import Survey
from queuectl.spool import groups
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk

DAY_S = 86_400
OK = Outcome("succeeded", 0, duration_s=0.5)


def token(name: str, made_at: float, end: str = "x2k9") -> str:
    """The token of a group."""
    return f"{name}-{times.to_name(int(made_at)).rstrip('Z')}-{end}"


def test_counts_agree_with_a_listing(spool: SpoolDir, desk: Desk) -> None:
    """The same figures as `queuectl show --group`, in a spool with other jobs."""
    here = token("my-build", NOON_AT)
    desk.enqueue(id="other")
    for ref in ("done", "dead", "off", "run", "held", "0001"):
        desk.enqueue(id=f"{here}-{ref}", max_retries=0, priority=3, owner="anna")
    names_of = {groups.id_of(name): name for name in spool.waiting_names()}
    desk.run(names_of[f"{here}-done"], OK)
    desk.run(names_of[f"{here}-dead"], Outcome("failed", 1))
    Spool(spool.root).cancel(f"{here}-off")
    Spool(spool.root).hold(f"{here}-held")
    desk.start(names_of[f"{here}-run"])
    (row,) = drain(Survey(spool, is_full=True).take(NOON_AT)).groups
    assert row == (here, *groups.counts(spool, here))
    assert row.text == "1 of 6 done, 1 dead, 1 cancelled, 1 run, 2 wait"
    assert drain(Survey(spool, is_full=False).take(NOON_AT)).groups == ()


def test_every_name_of_a_member_counts() -> None:
    """Flags, also that of a parent in the same group, change nothing; texts and other names count for nothing."""
    here, there = token("a", NOON_AT), token("b.c", NOON_AT)
    tally = GroupTally()
    tally.add(
        PENDING,
        [
            f"{here}-0001.json",
            f"{here}-0002,after={there}-x.json",
            f"{here}-0003,in=20261124T000000.000000Z,prio=3,by=anna,hold.json",
            f"{there}-x.y_z.json",
            f"{there}.json",
            f"{there}-two words.json",
            "plain,due=20261124T000000Z.json",
        ],
    )
    tally.add(RUNNING, [f"{here}-0004.json"])
    tally.add(DONE, [f"nested-{there}-{here}-0005.json"])
    tally.add(DLQ, [f"{here}-6.json", f"{here}-6.cancelled.txt", f"{here}-7.json", f"{here}-7.error.txt"])
    rows, left = tally.rows(NOON_AT)
    assert (left, {row.group: row[1:] for row in rows}) == (
        0,
        {
            here: (6, 0, 1, 1, 1, 3),
            there: (1, 0, 0, 0, 0, 1),
            f"nested-{there}-{here}": (1, 1, 0, 0, 0, 0),
        },
    )
    for row in rows:
        assert groups.token_of(f"{row.group}-0001") == row.group


def test_rows_are_bounded_and_the_newest_come_first() -> None:
    """Groups that are not over come before those of the last day, and older ones that are over are left out."""
    tally = GroupTally()
    tally.add(DONE, [f"{token('over', NOON_AT - DAY_S - 5)}-1.json", f"{token('today', NOON_AT - 5)}-1.json"])
    tally.add(PENDING, [f"{token('old', NOON_AT - 90 * DAY_S)}-1.json", f"{token('new', NOON_AT - 90)}-1.json"])
    assert [row.group.partition("-")[0] for row in tally.rows(NOON_AT)[0]] == ["new", "old", "today"]
    tally.add(RUNNING, [f"{token('g', NOON_AT - number)}-1.json" for number in range(GROUPS + 3)])
    rows, left = tally.rows(NOON_AT)
    assert [row.group for row in rows] == [token("g", NOON_AT - number) for number in range(GROUPS)]
    assert left == 5


def test_a_spool_without_groups_is_searched_once() -> None:
    """Generated ids, and ids with a time, are no groups."""
    tally = GroupTally()
    listed = [f"{names.generate_id(NOON_AT + n, random.Random(n))}.json" for n in range(50)]
    tally.add(
        DONE, [*listed, "report-20261124T031500Z.json", "a-20261124T031500-x2k9.json", "20261124T031500-x2k9-1.json"]
    )
    assert tally.rows(NOON_AT) == ((), 0)
