"""turns: whose turn it is."""

from __future__ import annotations

from collections import deque

import pytest

from queuectl.turns import Turns


def _drain(turns: Turns) -> list[str]:
    return [turns.popleft() for _ in range(len(turns))]


def test_owners_take_turns() -> None:
    """One each, and within an owner the first first; who has no owner is one owner."""
    turns = Turns(deque(["x1", "x2"]))
    turns.add("anna", ["a1", "a2", "a3"])
    turns.add("bob", ["b1"])
    assert len(turns) == 6
    assert _drain(turns) == ["x1", "a1", "b1", "x2", "a2", "a3"]


def test_owner_that_comes_back_goes_to_the_end() -> None:
    """Dropping one job at a time brings nobody two turns in a round."""
    turns = Turns(deque())
    turns.add("anna", ["a1"])
    turns.add("bob", ["b1", "b2"])
    assert turns.popleft() == "a1"
    turns.add("anna", ["a2", "a3"])
    turns.add("carl", ["c1"])
    assert _drain(turns) == ["b1", "a2", "c1", "b2", "a3"]


def test_turns_that_came_to_nothing_are_given_back_in_order() -> None:
    """Names that a worker had and did not start are taken again as they were."""
    turns = Turns(deque())
    turns.add("anna", ["a1", "a2", "a3"])
    turns.add("bob", ["b1", "b2"])
    taken = [("anna", turns.popleft()), ("bob", turns.popleft()), ("anna", turns.popleft())]
    for owner, name in reversed(taken):
        turns.add_first(owner, name)
    assert _drain(turns) == ["a1", "b1", "a2", "b2", "a3"]


def test_no_names_no_turn() -> None:
    """An empty one says so."""
    turns = Turns(deque())
    turns.add("anna", [])
    assert len(turns) == 0
    with pytest.raises(IndexError):
        turns.popleft()
