"""feeder: what is to run next."""

from __future__ import annotations

from queuectl import names
from queuectl.feeder import Feeder
from tests.helpers import NOON_AT


def _drain(feeder: Feeder) -> list[str]:
    return list(iter(feeder.take, None))


def _due(job_id: str, in_s: float, priority: int = 0) -> str:
    return names.waiting_name(job_id, NOON_AT + in_s, priority)


def test_order_is_priority_then_arrival() -> None:
    """High priority first; what came first goes first; one listing goes by name."""
    feeder = Feeder()
    assert feeder.update(*names.split_generated(["b.json", "a.json", "z,prio=9.json", "y,prio=-1.json"]), NOON_AT) == 4
    feeder.add(["0.json", "c,prio=9.json"], NOON_AT)
    assert len(feeder) == 6
    assert _drain(feeder) == ["z,prio=9.json", "c,prio=9.json", "a.json", "b.json", "0.json", "y,prio=-1.json"]


def test_owners_take_turns_at_equal_priority() -> None:
    """One with many jobs does not hold up another's one; priority counts before that, arrival within an owner."""
    feeder = Feeder()
    many = [f"a{number},by=anna.json" for number in range(3)]
    assert (
        feeder.update(*names.split_generated([*many, "x.json", "z,prio=1,by=anna.json", "h,by=bob,hold.json"]), NOON_AT)
        == 5
    )
    feeder.add(["b,by=bob.json"], NOON_AT)
    first = ["z,prio=1,by=anna.json", "x.json", many[0], "b,by=bob.json"]
    assert [feeder.take() for _ in first] == first
    feeder.put_first("b,by=bob.json")
    assert len(feeder) == 3
    assert _drain(feeder) == ["b,by=bob.json", *many[1:]]


def test_delayed_names_come_into_their_owner_s_turn() -> None:
    """A retry does not lose its owner."""
    feeder = Feeder()
    later = [names.waiting_name(job_id, NOON_AT + 10, 0, owner) for job_id, owner in (("a", "anna"), ("b", "bob"))]
    feeder.update(*names.split_generated([*later, *(f"c{number},by=anna.json" for number in range(2))]), NOON_AT)
    feeder.promote(NOON_AT + 10)
    assert _drain(feeder) == ["c0,by=anna.json", later[1], "c1,by=anna.json", later[0]]


def test_overdue_names_go_by_their_time() -> None:
    """After a night without workers the oldest retry is first."""
    feeder = Feeder()
    feeder.update(*names.split_generated([_due("a", -10), _due("b", -30), _due("c", -20)]), NOON_AT)
    assert _drain(feeder) == [_due("b", -30), _due("c", -20), _due("a", -10)]


def test_name_is_not_suggested_before_its_time() -> None:
    """A delayed job waits, and the feeder says until when."""
    feeder = Feeder()
    feeder.update(*names.split_generated([_due("a", 20), _due("b", 10, 5)]), NOON_AT)
    assert feeder.take() is None
    assert feeder.waiting == 2
    assert feeder.promote(NOON_AT + 9.9) == NOON_AT + 10
    assert feeder.take() is None
    assert feeder.promote(NOON_AT + 10) == NOON_AT + 20
    assert feeder.take() == _due("b", 10, 5)
    assert feeder.promote(NOON_AT + 20) is None
    assert feeder.take() == _due("a", 20)


def test_known_name_is_not_suggested_twice_by_listings() -> None:
    """A name that a worker has is not given to another by the next scan."""
    feeder = Feeder()
    feeder.update(*names.split_generated(["a.json"]), NOON_AT)
    assert feeder.take() == "a.json"
    assert feeder.update(*names.split_generated(["a.json"]), NOON_AT) == 0
    assert feeder.add(["a.json"], NOON_AT) == 0
    assert feeder.take() is None
    feeder.forget("a.json")
    assert feeder.update(*names.split_generated(["a.json"]), NOON_AT) == 1


def test_names_that_are_no_jobs_are_not_suggested() -> None:
    """Temporary and foreign names cost no claim (P11)."""
    feeder = Feeder()
    assert feeder.update(*names.split_generated(["a.txt", ".x.json", "b.json.part", "c.jsonl"]), NOON_AT) == 1
    assert _drain(feeder) == ["c.jsonl"]


def test_skipped_name_waits_for_a_change() -> None:
    """A file that is still arriving is not looked at again with every scan."""
    feeder = Feeder()
    feeder.update(*names.split_generated(["a.json"]), NOON_AT)
    assert feeder.take() == "a.json"
    feeder.skip("a.json")
    assert feeder.update(*names.split_generated(["a.json"]), NOON_AT) == 0
    feeder.look_again("a.json", NOON_AT)
    assert feeder.take() == "a.json"


def test_skipped_name_that_left_is_new_when_it_comes_back() -> None:
    """A file that was taken away and dropped again is a new file."""
    feeder = Feeder()
    feeder.update(*names.split_generated(["a.json"]), NOON_AT)
    feeder.take()
    feeder.skip("a.json")
    feeder.update(*names.split_generated([]), NOON_AT)
    assert feeder.update(*names.split_generated(["a.json"]), NOON_AT) == 1


def test_name_put_first_comes_before_its_equals_only() -> None:
    """A name that was busy is tried again soon, but not before a higher priority."""
    feeder = Feeder()
    feeder.update(*names.split_generated(["a.json", "b.json", "z,prio=1.json"]), NOON_AT)
    feeder.put_first("b0.json")
    assert _drain(feeder) == ["z,prio=1.json", "b0.json", "a.json", "b.json"]
    assert feeder.add(["b0.json"], NOON_AT) == 0


def test_waiting_names_can_be_advanced() -> None:
    """After a clock was set, what its record says is due runs now, by due time (P5)."""
    feeder = Feeder()
    waiting = [_due(job_id, in_s) for job_id, in_s in (("a", 10), ("b", 30), ("c", 20), ("d", 40))]
    feeder.update(*names.split_generated(waiting), NOON_AT)
    assert feeder.recheck_waiting(NOON_AT) == [_due("a", 10), _due("c", 20), _due("b", 30), _due("d", 40)]
    feeder.advance({_due("a", 10), _due("b", 30), _due("c", 20)})
    assert feeder.waiting == 1
    assert _drain(feeder) == [_due("a", 10), _due("c", 20), _due("b", 30)]
    assert feeder.promote(NOON_AT + 40) is None
    assert feeder.take() == _due("d", 40)
