"""blocked_names, and what the run queue makes of blocked jobs (P13)."""

from __future__ import annotations

import random

import pytest

from queuectl.model import names
from queuectl.model.blocked_names import BlockedNames
from queuectl.model.needs import Choice
from queuectl.model.run_queue import RunQueue

NOW_AT = 1_796_007_600.0


def blocked(*pairs: tuple[str, str]) -> BlockedNames:
    """Names of these children and parents."""
    made = BlockedNames()
    for child, parent in pairs:
        made.add(names.blocked_name(child, parent), parent)
    return made


def test_children_are_found_by_their_parent() -> None:
    """Once: they are removed then."""
    made = blocked(("a", "p"), ("b", "p"), ("c", "a"))
    assert (len(made), made.parents, made.roots, made.waits_for("c")) == (3, ["p", "a"], ["p"], "a")
    assert made.pop("p") == ["a,after=p.json", "b,after=p.json"]
    assert (len(made), made.parents, made.roots, made.waits_for("a")) == (1, ["a"], ["a"], "")
    made.discard("c,after=a.json")
    assert (len(made), made.parents) == (0, [])


def test_a_job_may_come_to_wait_for_another_parent() -> None:
    """Its old name does not take its new parent away, in any order."""
    made = blocked(("c", "b"))
    made.add("c,after=a.json", "a")
    made.discard("c,after=b.json")
    assert (made.waits_for("c"), made.parents) == ("a", ["a"])


def test_a_listing_takes_away_what_is_gone() -> None:
    """A blocked job that somebody deleted or moved is not counted any more."""
    made = blocked(("a", "p"), ("b", "p"), ("c", "q"))
    assert sorted(made.keep(["a,after=p.json", "else.json"])) == ["b,after=p.json", "c,after=q.json"]
    assert (len(made), made.parents) == (1, ["p"])


def test_new_parents_are_looked_at_once() -> None:
    """As many at a time as there is time for."""
    made = blocked(("a", "p"), ("b", "q"), ("c", "p"))
    assert made.has_fresh
    assert made.take_fresh(1) == ["p"]
    assert made.take_fresh(5) == ["q"]
    assert not made.has_fresh


@pytest.mark.parametrize("seed", range(20))
def test_cycles_are_found_among_random_pointers(seed: int) -> None:
    """Each job points at one other, so a plain walk tells which are on a cycle."""
    rng = random.Random(seed)
    ids = [f"j{number}" for number in range(60)]
    pointer = {child: rng.choice(ids) for child in rng.sample(ids, 40)}
    on_cycle = set()
    for start in pointer:
        here, steps = pointer[start], 0
        while here in pointer and here != start and steps < 60:
            here, steps = pointer[here], steps + 1
        if here == start:
            on_cycle.add(start)
    found = blocked(*pointer.items()).cycles()
    assert {member for cycle in found for member in cycle} == on_cycle
    for cycle in found:
        assert [pointer[member] for member in cycle] == [*cycle[1:], cycle[0]]


def test_a_search_for_cycles_is_made_only_when_a_name_is_new() -> None:
    """An idle pool with a hundred thousand blocked jobs does not walk them all again and again."""
    made = blocked(("a", "b"), ("b", "a"))
    assert len(made.cycles()) == 1
    assert made.cycles() == []
    made.add("c,after=a.json", "a")
    assert len(made.cycles()) == 1


def test_the_run_queue_suggests_blocked_names_when_their_parent_has_ended() -> None:
    """Not before, each once, although listings show them all the time; they are no reason for a pool to go on."""
    queue = RunQueue()
    listed = ["x,after=p.json", "y,after=p.json", "z,after=q.json", "w,after=p,hold.json"]
    assert queue.update([], listed, NOW_AT) == 0
    assert (len(queue), queue.take(), len(queue.blocked)) == (0, None, 3)
    assert queue.unblock("p", NOW_AT) == 2
    assert queue.update([], listed, NOW_AT) == 0
    assert {queue.take(), queue.take()} == {"x,after=p.json", "y,after=p.json"}
    assert queue.take() is None
    queue.forget("x,after=p.json")
    queue.add(["x,after=r.json"], NOW_AT)
    assert queue.blocked.waits_for("x") == "r"


def test_the_run_queue_keeps_blocked_names_and_forgets_those_that_are_gone() -> None:
    """`forget_taken` makes no work of them; a deleted one is known no more, so it counts if it comes again."""
    queue = RunQueue()
    queue.update([], ["x,after=p.json", "y,after=p.json"], NOW_AT)
    queue.forget_taken()
    assert queue.knows("x,after=p.json")
    queue.update([], ["y,after=p.json"], NOW_AT)
    assert not queue.knows("x,after=p.json")
    assert len(queue.blocked) == 1


def test_a_pool_for_some_queues_takes_blocked_jobs_too() -> None:
    """Only the record says which queue a blocked job is in, so its claim decides."""
    queue = RunQueue(choice=Choice(frozenset(("mail",))))
    queue.update([], [f"{names.generate_id(NOW_AT, random.Random(1))},after=p.json"], NOW_AT)
    assert len(queue.blocked) == 1


@pytest.mark.parametrize("has_line_feed", [False, True])
def test_many_names_of_a_listing_are_taken_over_together(has_line_feed: bool) -> None:
    """With the same effect as one by one, whatever else is in the listing."""
    rng = random.Random(1)
    listed = [names.blocked_name(names.generate_id(NOW_AT + n, rng), f"p{n % 3}") for n in range(200)]
    listed += ["a.b,after=p1.json", "x,after=p1,hold.json", "y,after=.json", "plain.json", "own,after=p1.json"]
    listed += [".~z,after=p1.json", "z,after=p1.jsonl", "u,after=p_1.json", "q,after=p1.JSON"]
    listed += ["z\n,after=p1.json"] if has_line_feed else []
    rng.shuffle(listed)
    together, one_by_one = RunQueue(), RunQueue()
    together.add(listed, NOW_AT)
    for name in listed:
        one_by_one.add([name], NOW_AT)
    assert together.blocked.parent_of == one_by_one.blocked.parent_of
    assert len(together) == len(one_by_one) and len(together.blocked) >= 203
    for job_id in ("own", "a.b", listed[0].partition(",")[0]):
        assert together.blocked.waits_for(job_id) == one_by_one.blocked.waits_for(job_id)
    together.blocked.sort()
    one_by_one.blocked.sort()
    for parent in ("p0", "p1", "p2"):
        assert together.blocked.pop(parent) == one_by_one.blocked.pop(parent)
