"""lanes: a worker claims the next name of a queue that runs few jobs at once when the one before has ended."""

from __future__ import annotations

from queuectl.worker.lanes import Lanes

A, B, C, D = (f"{letter},q=mail.json" for letter in "abcd")


def test_the_next_name_follows_the_end_of_the_one_before() -> None:
    """One at a time, in their order (P12)."""
    lanes = Lanes()
    assert lanes.take_in([A, B, C], {"mail": 1}) == []
    assert [lanes.must_wait(name) for name in (A, B, C)] == [False, True, True]
    assert lanes.waiting == 2
    assert lanes.ended(A) == B
    assert not lanes.must_wait(B)
    assert lanes.ended(B) == C
    assert not lanes.must_wait(C)
    assert lanes.ended(C) is None
    assert (lanes.waiting, lanes.queue_of) == (0, {})


def test_names_of_other_queues_never_wait() -> None:
    """Only queues that the supervisor has named are counted; the default queue has no flag."""
    lanes = Lanes()
    lanes.take_in([A, "x,q=scans.json", "y.json"], {"mail": 1})
    assert [lanes.must_wait(name) for name in (A, "x,q=scans.json", "y.json")] == [False] * 3
    lanes.take_in(["y1.json", "y2.json"], {"default": 1})
    assert [lanes.must_wait(name) for name in ("y1.json", "y2.json")] == [False, True]


def test_a_second_lane_lets_one_more_go() -> None:
    """With more lanes the names that wait are looked at again."""
    lanes = Lanes()
    lanes.take_in([A, B], {"mail": 1})
    assert [lanes.must_wait(name) for name in (A, B)] == [False, True]
    assert lanes.take_in([C], {"mail": 2}) == [B]
    assert [lanes.must_wait(name) for name in (B, C)] == [False, True]
    assert lanes.ended(A) == C


def test_names_behind_a_run_that_lasts_are_given_back() -> None:
    """Only those: the run itself still counts."""
    lanes = Lanes()
    lanes.take_in([A, B, C], {"mail": 1})
    assert [lanes.must_wait(name) for name in (A, B, C)] == [False, True, True]
    assert lanes.give_back(A) == [B, C]
    assert lanes.waiting == 0
    lanes.take_in([D], {"mail": 1})
    assert lanes.must_wait(D)
    assert lanes.ended(A) == D


def test_all_are_given_back_at_the_end() -> None:
    """Also the names that were not looked at yet are not counted any more."""
    lanes = Lanes()
    lanes.take_in([A, B, C], {"mail": 1})
    assert [lanes.must_wait(name) for name in (A, B)] == [False, True]
    assert lanes.give_all_back([C]) == [B]
    assert lanes.queue_of == {A: "mail"}
    assert lanes.ended(A) is None
    assert lanes.ended(A) is None
