"""flagged_names: many names with flags are understood as each of them alone is."""

from __future__ import annotations

import random

from queuectl.model import flagged_names, names, order
from queuectl.model.needs import Choice
from queuectl.model.run_queue import RunQueue
from tests.helpers import NOON_AT

ODD = [
    "plain.json",
    "20270115-075900-000002-7f3k,q=mail,hold.json",
    "20270115-075900-000002-7f3k,due=20270230T080000Z,q=mail.json",  # no such day
    "20270115-075900-000002-7f3k,due=20270115T080000.500Z,q=mail.json",
    "20270115-075900-000002-7f3k,q=mail,prio=3.json",  # flags in another order
    "20270115-075900-000002-7f3k,q=mail.json~",
    "20270115-075900-000002-7f3k,q=Mail.json",
    "20270115-075900-000002-7f3k,key=a_b.json",
    "20270115-075900-000002-7f3k,q=mail,key=a,needs=GPU-1.json",
    "20270115-075900-000002-7f3k,q=mail,after=20270115-075900-000001-7f3k.json",
    "id,q=mail,key=a.json",
    "a\nb,q=mail.json",
    "20270115-075900-000002-7f3k,q=mail.json\n",
    ".hidden,q=mail.json",
    "many.jsonl",
]


def _usual(count: int) -> list[str]:
    rng = random.Random(5)
    made = []
    for number in range(count):
        due_at = rng.choice([None, None, NOON_AT - rng.randrange(9), NOON_AT + rng.randrange(100_000)])
        place = (
            rng.choice(["", "mail", "scans"]),
            rng.choice(["", f"k{rng.randrange(9)}", names.key_flag("an odd key")]),
        )
        priority, owner = rng.choice([0, 0, 7, -3]), rng.choice(["", "", "anna", "Ben-2"])
        name = names.waiting_name(
            names.generate_id(NOON_AT - rng.randrange(1000) + number / 1e6, rng),
            due_at,
            priority,
            owner,
            "",
            (*place, ""),
        )
        if "," in name:
            made.append(name)
    return made


def _as_one_by_one(listed: list[str]) -> dict[tuple[int, str, str], tuple[set[str], set[tuple[float, str]]]]:
    made: dict[tuple[int, str, str], tuple[set[str], set[tuple[float, str]]]] = {}
    for name in listed:
        parts = names.parse(name)
        assert parts is not None
        keys, later = made.setdefault((parts.priority, parts.owner, parts.queue), (set(), set()))
        if parts.due_at is not None and parts.due_at > NOON_AT:
            later.add((parts.due_at, name))
        else:
            keys.add(order.key_of(name, parts))
    return made


def test_groups_say_what_each_name_says() -> None:
    """Priority, owner, queue, key of the order and due time are those of the name alone (P8)."""
    usual = _usual(3000)
    groups, others = flagged_names.split([*usual, *ODD], NOON_AT)
    assert sorted(others) == sorted(ODD)
    found = {
        (group.parts.priority, group.parts.owner, group.parts.queue): (set(group.sort_keys), set(group.later))
        for group in groups
    }
    assert found == _as_one_by_one(usual)
    assert sorted(name for group in groups for name in group.names) == sorted(usual)
    for group in groups:
        assert group.has_keys == any(",key=" in name for name in group.names)


def test_a_line_feed_in_a_name_is_no_end_of_it() -> None:
    """A name that contains a usual one is another name (P11)."""
    trap = "x\n20270115-075900-000002-7f3k,q=mail.json"
    usual = "20270115-075900-000001-7f3k,q=mail.json"
    groups, others = flagged_names.split([usual, trap], NOON_AT)
    assert ([group.names for group in groups], others) == ([[usual]], [trap])


def test_a_long_listing_runs_in_the_order_of_events() -> None:
    """Names that one listing brings, and names that come one by one, run in one order (P8)."""
    listed = [name for name in _usual(800) if ",key=" not in name and ",q=" not in name and ",by=" not in name]
    random.Random(1).shuffle(listed)
    at_once, one_by_one = RunQueue(), RunQueue()
    at_once.update([], listed, NOON_AT)
    for name in listed:
        one_by_one.add([name], NOON_AT)
    assert at_once.waiting == one_by_one.waiting > 0
    for queue in (at_once, one_by_one):
        queue.promote(NOON_AT + 50_000)
    assert len(at_once) == len(one_by_one)
    assert list(iter(at_once.take, None)) == list(iter(one_by_one.take, None))


def test_a_pool_of_some_queues_leaves_the_other_groups() -> None:
    """A reserved pool takes the names of its queues out of a long listing, and no others."""
    usual = _usual(1000)
    queue = RunQueue(choice=Choice(only=frozenset({"mail"})))
    mine = [name for name in usual if ",q=mail" in name]
    assert queue.update([], usual, NOON_AT) == len(mine)
    assert all(queue.knows(name) for name in usual)
