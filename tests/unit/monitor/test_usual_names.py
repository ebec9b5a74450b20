"""usual_names: the fast way through a listing says the same as the full parser."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable

import pytest

from queuectl.model import names, times
from queuectl.monitor import order, usual_names
from queuectl.monitor.usual_names import UsualNames, split_plain
from queuectl.spool.listing import may_be_job
from tests.helpers import NOON_AT

ODD = [
    "drop.json",
    "ID,prio=.json",
    "x,in=20260231T000000.000000Z.json",
    "x,in=20261301T000000.000000Z.json",
    "x,due=20280229T000000Z.json",
    "x,due=20270231T000000Z,prio=3.json",
    "x,due=20270115T080000.001Z.json",
    "x,due=20270115T080000Z.json",
    "x,due=20270115T075959.999Z.json",
    "x,due=20990101T000000.5Z.json",
    "x,in=20261124T000000.000000Z,due=20990101T000000Z.json",
    "a.b,due=20990101T000000Z.json",
    "x,due=20990101T000000Z,hold.json",
    "x,prio=9999999.json",
    "x,by=a_b.json",
    "x,by=.json",
    "many.jsonl",
    "UPPER.JSON",
]


def some_names(rng: random.Random, count: int) -> list[str]:
    """Names of all kinds, each once."""
    found = set(rng.sample(ODD, len(ODD) // 2))
    while len(found) < count:
        at = NOON_AT + rng.uniform(-9e6, 9e6)
        stem = names.generate_id(at, rng) if rng.random() < 0.4 else f"job{rng.randrange(10**6)}"
        due = at if rng.random() < 0.3 else None
        arrived = names.stamp(min(at, NOON_AT)) if rng.random() < 0.8 else ""
        priority = rng.choice((0, 0, 0, 3, -2))
        owner = rng.choice(("", "", "anna", "ben", "c.d"))
        found.add(names.waiting_name(stem, due, priority, owner, arrived))
    return rng.sample(sorted(found), count)


def owners_of(listed: Iterable[str]) -> Counter[str]:
    """How many names have which owner."""
    return Counter(parts.owner for name in listed if (parts := names.parse(name)) is not None)


@pytest.mark.parametrize("seed", range(40))
def test_it_agrees_with_the_full_parser(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, what runs next, what is due next, the oldest and the owners are those of the slow way."""
    rng = random.Random(seed)
    listed = some_names(rng, rng.choice((1, 20, 300)))
    rows = rng.choice((1, 7, 1000))
    monkeypatch.setattr(usual_names, "_KEPT", rng.choice((0, 5000)))
    made = UsualNames(NOON_AT, rows=rows, dues=rows)
    others: list[str] = []
    for start in range(0, len(listed), 50):
        generated, rest = names.split_generated(listed[start : start + 50])
        made.add_generated(generated)
        left, dropped = made.take_out(rest)
        assert set(dropped) <= set(rest) - set(left)
        others += left
    ready, later = order.split_by_time(listed, NOON_AT)
    slow_ready, slow_later = order.split_by_time(others, NOON_AT)
    assert made.ready + len(slow_ready) == len(ready)
    assert made.later + len(slow_later) == len(later)
    dues = [*made.first(), *slow_later]
    assert heapq.nsmallest(rows, dues) == heapq.nsmallest(rows, later)
    assert max([made.last_due_at or 0.0, *(at for at, _ in slow_later)]) == max([0.0, *(at for at, _ in later)])
    assert made.nexts(slow_ready) == order.next_to_run(ready, NOON_AT, rows)
    keys = [made.oldest_key, *map(order.arrival_key, slow_ready)]
    assert min(filter(None, keys), default="") == min(filter(None, map(order.arrival_key, ready)), default="")
    taken = [name for name in listed if name not in others]
    assert owners_of(f"x{end}" for end in made.ends.elements()) == owners_of(taken)


def test_most_names_are_usual() -> None:
    """Jobs with priorities, owners, ids of their own and retries take the fast way."""
    rng = random.Random(1)
    made = UsualNames(NOON_AT, rows=5, dues=5)
    later_at = NOON_AT + 60
    listed = [
        names.waiting_name(names.generate_id(NOON_AT, rng), None, 3, "anna"),
        names.waiting_name(names.generate_id(NOON_AT, rng), later_at, 0, ""),
        names.waiting_name("report-7", later_at + 0.5, 0, "ben"),
        names.waiting_name("report-8", None, -1, "", names.stamp(NOON_AT)),
    ]
    left, dropped = made.take_out(listed)
    assert (left, dropped) == ([], listed[3:])
    assert (made.ready, made.later) == (2, 2)
    assert made.first() == [(later_at, listed[1]), (later_at + 0.5, listed[2])]
    assert made.last_due_at == times.from_name("20270115T080100.500Z")


def test_plain_ids_are_jobs() -> None:
    """P11: only names that every rule takes for a job's skip the rules; those of devices and copies do not."""
    listed = ["report-2026.json", "con.json", "com1.json", "conin$$$.json", "a_conflict-20260101-000000.json", "x.json"]
    listed += [
        "reportttt.tmp123.json",
        "report-2026.error.txt",
        "report-2026.JSON",
        "-eportttt.json",
        "many-jobs.jsonl",
    ]
    plain, others = split_plain(listed)
    assert (plain, others) == (listed[:1], listed[1:])
    assert all(may_be_job(name) for name in plain)
    assert split_plain(["report-2026.json", "a\nreport-2026.json"]) == ([], ["report-2026.json", "a\nreport-2026.json"])
    assert split_plain([]) == ([], [])


def test_a_line_feed_in_a_name_hides_nothing() -> None:
    """P6: a step with such a name is left to the full parser."""
    listed = ["a\nb.json", "job,in=20261124T000000.000000Z.json"]
    assert UsualNames(NOON_AT, rows=5, dues=5).take_out(listed) == (listed, [])
