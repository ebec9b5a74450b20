"""run_queue: what is to run next."""

from __future__ import annotations

import random

import pytest

from queuectl.model import names, order, run_order
from queuectl.model.run_queue import RunQueue
from tests.helpers import NOON_AT


def _drain(queue: RunQueue) -> list[str]:
    return list(iter(queue.take, None))


def _due(job_id: str, in_s: float, priority: int = 0) -> str:
    return names.waiting_name(job_id, NOON_AT + in_s, priority)


def test_order_is_priority_then_arrival() -> None:
    """High priority first; what came first goes first; what one listing finds, and tells no time, goes by name."""
    queue = RunQueue()
    assert queue.update(*names.split_generated(["b.json", "a.json", "z,prio=9.json", "y,prio=-1.json"]), NOON_AT) == 4
    queue.add(["0.json", "c,prio=9.json"], NOON_AT)
    assert len(queue) == 6
    assert _drain(queue) == ["z,prio=9.json", "c,prio=9.json", "a.json", "b.json", "0.json", "y,prio=-1.json"]


def test_names_of_every_kind_go_by_their_instants() -> None:
    """Ids of a person's own, generated ids and retries: first in, first out, whichever listing or event brings them."""
    in_order = [
        "zebra,in=20270115T075900.000001Z.json",
        "20270115-075900-000002-7f3k.json",
        "20270115-075900-000003-7f3k,by=anna.json",
        "apple,due=20270115T075901Z.json",
        "mango,in=20270115T075901.000001Z.json",
        "20270115-080001-000000-0000.json",
        "later,in=99991231T235959.000000Z.json",
    ]
    listed = RunQueue()
    listed.update(*names.split_generated(sorted(in_order)), NOON_AT)
    heard = RunQueue()
    for name in reversed(in_order):
        heard.add([name], NOON_AT)
    unowned = [name for name in in_order if "anna" not in name]
    for queue in (listed, heard):
        assert [name for name in _drain(queue) if "anna" not in name] == unowned
    assert list(run_order.in_order(unowned, NOON_AT)) == unowned


def test_two_names_of_one_instant_go_by_name() -> None:
    """Also where one of them begins with a generated id."""
    generated = "20270115-080000-000000-7f3k.json"
    same = ["1,in=20270115T080000.000000Z.json", generated, "a,in=20270115T080000.000000Z.json"]
    assert list(run_order.in_order(reversed(same), NOON_AT)) == same


def test_many_names_that_came_late_are_merged() -> None:
    """A listing in the middle of what is known already is put where it belongs."""
    made = [names.waiting_name(f"j{number}", None, 0, "", names.stamp(NOON_AT + number)) for number in range(1000)]
    queue = RunQueue()
    queue.update(*names.split_generated(made[::2]), NOON_AT)
    queue.update(*names.split_generated(made[1:901:2]), NOON_AT)
    queue.add(made[901::2], NOON_AT)
    assert _drain(queue) == made


def test_drop_is_judged_once_and_pulled_out_of_its_place() -> None:
    """The last listing's drops are judged first; one that got another name is not suggested under the old one."""
    queue = RunQueue()
    told = "t,in=20270115T075900.000001Z.json"
    queue.update(*names.split_generated(["b.json", "a.json", "c,prio=2.json", "many.jsonl", told]), NOON_AT)
    queue.update(*names.split_generated(["d.json"]), NOON_AT)
    assert [queue.next_unjudged() for _ in range(5)] == ["d.json", "a.json", "b.json", "c,prio=2.json", None]
    queue.judge_again("a.json")
    assert queue.next_unjudged() == "a.json"
    queue.pull("a.json")
    queue.forget("a.json")
    queue.pull("a.json")
    assert len(queue) == 5
    queue.add(["a.json"], NOON_AT)
    assert queue.has_unjudged
    assert _drain(queue) == ["c,prio=2.json", told, "b.json", "many.jsonl", "d.json", "a.json"]
    assert not queue.has_unjudged
    queue.judge_again("b.json")
    assert not queue.has_unjudged
    assert len(queue) == 0


def test_no_name_is_left_behind_where_one_was_put_first_and_pulled_twice() -> None:
    """P5: a drop that two workers hand back is judged after each; the count of what is ready stays right."""
    queue = RunQueue()
    queue.update(*names.split_generated(["a.json", "z.json"]), NOON_AT)
    assert queue.take() == "a.json"
    for _ in range(2):
        queue.put_first("a.json")
        queue.pull("a.json")
        queue.forget("a.json")
    assert len(queue) == 1
    assert _drain(queue) == ["z.json"]


def test_pulled_name_costs_its_owner_no_turn() -> None:
    """What was taken out of the middle is passed over; the owner's next name comes in the same turn."""
    queue = RunQueue()
    queue.update(*names.split_generated(["a1,by=a.json", "a2,by=a.json", "b1,by=b.json", "b2,by=b.json"]), NOON_AT)
    queue.pull("a1,by=a.json")
    assert _drain(queue) == ["a2,by=a.json", "b1,by=b.json", "b2,by=b.json"]


def test_name_put_ahead_comes_before_every_priority() -> None:
    """A file of many jobs is split before the order of what is in it can be known."""
    queue = RunQueue()
    queue.update(*names.split_generated(["many.json", "z,prio=999999.json"]), NOON_AT)
    queue.pull("many.json")
    queue.put_ahead("many.json")
    assert _drain(queue) == ["many.json", "z,prio=999999.json"]


def test_owners_take_turns_at_equal_priority() -> None:
    """One with many jobs does not hold up another's one; priority counts before that, arrival within an owner."""
    queue = RunQueue()
    many = [f"a{number},by=anna.json" for number in range(3)]
    assert (
        queue.update(*names.split_generated([*many, "x.json", "z,prio=1,by=anna.json", "h,by=bob,hold.json"]), NOON_AT)
        == 5
    )
    queue.add(["b,by=bob.json"], NOON_AT)
    first = ["z,prio=1,by=anna.json", many[0], "x.json", "b,by=bob.json"]
    assert [queue.take() for _ in first] == first
    queue.put_first("b,by=bob.json")
    assert len(queue) == 3
    assert _drain(queue) == ["b,by=bob.json", *many[1:]]


def test_delayed_names_come_into_their_owner_s_turn() -> None:
    """A retry does not lose its owner."""
    queue = RunQueue()
    later = [names.waiting_name(job_id, NOON_AT + 10, 0, owner) for job_id, owner in (("a", "anna"), ("b", "bob"))]
    queue.update(*names.split_generated([*later, *(f"c{number},by=anna.json" for number in range(2))]), NOON_AT)
    queue.promote(NOON_AT + 10)
    assert _drain(queue) == ["c0,by=anna.json", later[1], "c1,by=anna.json", later[0]]


def test_overdue_names_go_by_their_time() -> None:
    """After a night without workers the oldest retry is first."""
    queue = RunQueue()
    queue.update(*names.split_generated([_due("a", -10), _due("b", -30), _due("c", -20)]), NOON_AT)
    assert _drain(queue) == [_due("b", -30), _due("c", -20), _due("a", -10)]


def test_name_is_not_suggested_before_its_time() -> None:
    """A delayed job waits, and the run queue says until when."""
    queue = RunQueue()
    queue.update(*names.split_generated([_due("a", 20), _due("b", 10, 5)]), NOON_AT)
    assert queue.take() is None
    assert queue.waiting == 2
    assert queue.promote(NOON_AT + 9.9) == NOON_AT + 10
    assert queue.take() is None
    assert queue.promote(NOON_AT + 10) == NOON_AT + 20
    assert queue.take() == _due("b", 10, 5)
    assert queue.promote(NOON_AT + 20) is None
    assert queue.take() == _due("a", 20)


def test_known_name_is_not_suggested_twice_by_listings() -> None:
    """A name that a worker has is not given to another by the next scan."""
    queue = RunQueue()
    queue.update(*names.split_generated(["a.json"]), NOON_AT)
    assert queue.take() == "a.json"
    assert queue.update(*names.split_generated(["a.json"]), NOON_AT) == 0
    assert queue.add(["a.json"], NOON_AT) == 0
    assert queue.take() is None
    queue.forget("a.json")
    assert queue.update(*names.split_generated(["a.json"]), NOON_AT) == 1


def test_names_that_are_no_jobs_are_not_suggested() -> None:
    """Temporary and foreign names cost no claim (P11)."""
    queue = RunQueue()
    assert queue.update(*names.split_generated(["a.txt", ".x.json", "b.json.part", "c.jsonl"]), NOON_AT) == 1
    assert _drain(queue) == ["c.jsonl"]


def test_skipped_name_waits_for_a_change() -> None:
    """A file that is still arriving is not looked at again with every scan."""
    queue = RunQueue()
    queue.update(*names.split_generated(["a.json"]), NOON_AT)
    assert queue.take() == "a.json"
    queue.skip("a.json")
    assert queue.update(*names.split_generated(["a.json"]), NOON_AT) == 0
    queue.unskip("a.json", NOON_AT)
    assert queue.take() == "a.json"


def test_skipped_name_that_left_is_new_when_it_comes_back() -> None:
    """A file that was taken away and dropped again is a new file."""
    queue = RunQueue()
    queue.update(*names.split_generated(["a.json"]), NOON_AT)
    queue.take()
    queue.skip("a.json")
    queue.update(*names.split_generated([]), NOON_AT)
    assert queue.update(*names.split_generated(["a.json"]), NOON_AT) == 1


def test_name_put_first_comes_before_its_equals_only() -> None:
    """A name that was busy is tried again soon, but not before a higher priority."""
    queue = RunQueue()
    queue.update(*names.split_generated(["a.json", "b.json", "z,prio=1.json"]), NOON_AT)
    queue.put_first("b0.json")
    assert _drain(queue) == ["z,prio=1.json", "b0.json", "a.json", "b.json"]
    assert queue.add(["b0.json"], NOON_AT) == 0


def test_waiting_names_can_be_advanced() -> None:
    """After a clock was set, what its record says is due runs now, by due time (P5)."""
    queue = RunQueue()
    waiting = [_due(job_id, in_s) for job_id, in_s in (("a", 10), ("b", 30), ("c", 20), ("d", 40))]
    queue.update(*names.split_generated(waiting), NOON_AT)
    assert queue.recheck_waiting(NOON_AT) == [_due("a", 10), _due("c", 20), _due("b", 30), _due("d", 40)]
    queue.advance({_due("a", 10), _due("b", 30), _due("c", 20)}, NOON_AT)
    assert queue.waiting == 1
    assert _drain(queue) == [_due("a", 10), _due("c", 20), _due("b", 30)]
    assert queue.promote(NOON_AT + 40) is None
    assert queue.take() == _due("d", 40)


def test_a_name_that_was_skipped_once_is_suggested_when_it_is_listed_again() -> None:
    """P5, P6: a torn record is passed over, repaired, and gone for an instant: the next listing brings it back."""
    queue = RunQueue()
    queue.update([], ["torn.json"], 0.0)
    assert queue.take() == "torn.json"
    queue.skip("torn.json")
    queue.add(["torn.json"], 0.0)
    assert queue.take() == "torn.json"
    queue.forget("torn.json")
    assert queue.update([], ["torn.json"], 0.0) == 1
    assert queue.take() == "torn.json"


def test_when_the_next_name_is_due_is_only_a_question() -> None:
    """It makes nothing ready, also when its time has come."""
    queue = RunQueue()
    assert queue.next_due_at is None
    queue.add([names.waiting_name("job", NOON_AT + 10, 0)], NOON_AT)
    assert queue.next_due_at == NOON_AT + 10 and not len(queue)
    queue.promote(NOON_AT + 10)
    assert queue.next_due_at is None and len(queue) == 1


@pytest.mark.parametrize("seed", range(20))
def test_many_names_at_once_run_in_the_order_of_names_one_by_one(seed: int) -> None:
    """Names with an arrival in them, taken thousands at once, sort among all others as the full parser says (P8)."""
    rng = random.Random(seed)
    odd = ["x,in=20260231T000000.000000Z.json", "a.b,in=20261124T000000.000000Z.json", "line\nfeed.json", "x.jsonl"]
    odd += ["9,in=20261124T000000.000000Z,prio=2.json", "x,in=20261124T000000.000000Z,hold.json", "drop.json"]
    listed = odd[rng.randrange(4) :]
    for number in range(300):
        arrived_at = NOON_AT - rng.randrange(50)
        stem = names.generate_id(arrived_at, rng) if rng.random() < 0.3 else f"{rng.choice('Aaz091')}{number}"
        listed.append(names.waiting_name(stem, None, 0, "", names.stamp(arrived_at)))
    rng.shuffle(listed)
    timed, others = order.split_timed(listed)
    assert sorted(timed + others) == sorted(listed)
    if "line\nfeed.json" not in listed:
        assert timed
    assert order.keys_of_timed(timed) == [order.key_of(name, names.parse(name)) for name in timed]
    many, single = RunQueue(), RunQueue()
    assert many.update(*names.split_generated(listed), NOON_AT) == sum(
        single.update(*names.split_generated([name]), NOON_AT) for name in sorted(listed, key=names.is_batch)
    )
    assert sorted(iter(many.take, None)) == sorted(iter(single.take, None))


def test_many_names_at_once_keep_the_order_of_arrival() -> None:
    """First in, first out, whatever the ids look like: a listing of many names is sorted by their arrival."""
    arrived = [names.waiting_name(f"{'zyx'[at % 3]}{at}", None, 0, "", names.stamp(NOON_AT + at)) for at in range(200)]
    queue = RunQueue()
    queue.update([], sorted(arrived), NOON_AT + 500)
    assert list(iter(queue.take, None)) == arrived
