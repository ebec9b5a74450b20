"""turns: whose turn it is."""

from __future__ import annotations

from queuectl.model.order import Line
from queuectl.model.round_robin import RoundRobin


def _turns(*unowned: str) -> RoundRobin:
    gone: set[str] = set()
    line = Line(gone)
    line.add(list(unowned))
    return RoundRobin(line, gone)


def _drain(turns: RoundRobin) -> list[str]:
    return list(iter(turns.pop, None))


def test_owners_take_turns() -> None:
    """One each, and within an owner the first first; who has no owner is one owner."""
    turns = _turns("x1", "x2")
    turns.add("anna", ["a1", "a2", "a3"])
    turns.add("bob", ["b1"])
    assert _drain(turns) == ["x1", "a1", "b1", "x2", "a2", "a3"]


def test_owner_that_comes_back_goes_to_the_end() -> None:
    """Dropping one job at a time brings nobody two turns in a round."""
    turns = _turns()
    turns.add("anna", ["a1"])
    turns.add("bob", ["b1", "b2"])
    assert turns.pop() == "a1"
    turns.add("anna", ["a2", "a3"])
    turns.add("carl", ["c1"])
    assert _drain(turns) == ["b1", "a2", "c1", "b2", "a3"]


def test_turns_that_came_to_nothing_are_given_back_in_order() -> None:
    """Names that a worker had and did not start are taken again as they were."""
    turns = _turns()
    turns.add("anna", ["a1", "a2", "a3"])
    turns.add("bob", ["b1", "b2"])
    taken = [("anna", turns.pop()), ("bob", turns.pop()), ("anna", turns.pop())]
    for owner, name in reversed(taken):
        assert name is not None
        turns.add_first(owner, name)
    assert _drain(turns) == ["a1", "b1", "a2", "b2", "a3"]


def test_an_earlier_job_of_an_owner_comes_before_its_later_ones() -> None:
    """Within an owner the order is that of the keys, whichever came to be known first."""
    turns = _turns("x2")
    turns.add("anna", ["a2", "a3"])
    turns.add("anna", ["a1"])
    turns.add("", ["x1"])
    assert _drain(turns) == ["x1", "a1", "x2", "a2", "a3"]


def test_no_names_no_turn() -> None:
    """An empty one says so."""
    turns = _turns()
    turns.add("anna", [])
    assert turns.pop() is None
