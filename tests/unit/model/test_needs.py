"""needs: the resources of a job, in its record, in its name, and in the turns of a pool."""

from __future__ import annotations

import pytest

from queuectl.errors import InvalidJobError
from queuectl.model import names, needs
from queuectl.model.needs import ANY, NEEDING, PLAIN, Choice
from queuectl.model.run_queue import RunQueue
from tests.helpers import NOON_AT


def name(number: int, needed: str = "", *, queue: str = "", priority: int = 0) -> str:
    """The name of a job that arrived as number `number`."""
    return names.waiting_name(f"j{number}", None, priority, "", names.stamp(NOON_AT + number), (queue, "", needed))


def stems(queue: RunQueue, kind: str = ANY) -> list[str]:
    """Take all that a worker may get."""
    return [taken.partition(",")[0] for taken in iter(lambda: queue.take(kind), None)]


def filled(*listed: str, choice: Choice = Choice()) -> RunQueue:  # noqa: B008
    """A run queue with these names."""
    queue = RunQueue(choice=choice)
    queue.add(listed, NOON_AT)
    return queue


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"GPU": 1}, {"GPU": 1}),
        ({"b": 0.5, "a": "16GB"}, {"a": 16 * 2**30, "b": 0.5}),
    ],
)
def test_amounts_are_numbers_and_sizes(given: dict[str, float | str], expected: dict[str, float]) -> None:
    """A record holds numbers, sorted by name."""
    assert needs.parse(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"": 1},
        {"1a": 1},
        {"a b": 1},
        {"a,b": 1},
        {"a\n": 1},
        {"x" * 33: 1},
        {"GPU": 0},
        {"GPU": -1},
        {"GPU": float("nan")},
        {"GPU": float("inf")},
        {"GPU": 1e30},
        {"GPU": "much"},
        {"GPU": "0"},
        {f"n{number}": 1 for number in range(9)},
    ],
)
def test_other_resources_are_refused(given: dict[str, float | str]) -> None:
    """Each with the key."""
    with pytest.raises(InvalidJobError, match="resources"):
        needs.parse(given)


@pytest.mark.parametrize("given", [{"GPU": 1}, {"GPU": 0.5}, {f"n{at}": at + 1 for at in range(8)}, {"a.b_c-d": 2**60}])
def test_needs_in_a_name_are_read_back(given: dict[str, float]) -> None:
    """Needs that are too long or have other characters are a hash; a name is never too long."""
    flag = needs.flag(given)
    made = names.waiting_name(
        "i" * 100, NOON_AT + 0.123, -9999, "o" * 32, "", ("q" * 24, names.key_flag("/" * 99), flag)
    )
    assert len(names.held_name(made)) <= names.NAME_MAX_BYTES
    parts = names.parse(made)
    assert parts is not None and (parts.stem, parts.needs, parts.queue) == ("i" * 100, flag, "q" * 24)
    assert needs.flag({"GPU": 1}) == needs.flag({"GPU": 1.0}) == "GPU-1"
    assert needs.flag({"m": 2.0**34}) != needs.flag({"m": 2.0**34 + 1})


def test_a_job_that_fits_nowhere_holds_up_nobody() -> None:
    """Its needs are left out of the turns; jobs with none and with others go on; it is first when a node has them."""
    queue = filled(name(1, "GPU-8"), name(2), name(3, "GPU-1"), name(4, "GPU-8"), name(5))
    first = queue.take()
    assert first == name(1, "GPU-8")
    queue.forget(first)
    queue.put_needing(first)
    assert stems(queue) == ["j2", "j3", "j5"]
    queue.offer("GPU-1")
    assert stems(queue) == []
    queue.offer("GPU-8")
    assert stems(queue) == ["j1", "j4"]
    assert len(queue) == 0


def test_workers_get_what_they_can_run() -> None:
    """A worker here gets jobs without needs only, one on nodes gets all, or only those with needs."""
    listed = [name(1, "GPU-1"), name(2), name(3, "GPU-1", queue="mail"), name(4, queue="mail")]
    queue = filled(*listed)
    assert stems(queue, PLAIN) == ["j2", "j4"]
    assert stems(queue, NEEDING) == ["j1", "j3"]
    assert stems(filled(*listed), NEEDING) == ["j1", "j3"]
    assert sorted(stems(filled(*listed))) == ["j1", "j2", "j3", "j4"]


def test_priorities_hold() -> None:
    """Among the jobs that a worker may get."""
    assert stems(filled(name(1), name(2, "GPU-1", priority=5), name(3, priority=9))) == ["j3", "j2", "j1"]


def test_a_pool_leaves_alone_what_it_cannot_run() -> None:
    """Such names do not count, so the pool can drain."""
    listed = (name(1, "GPU-1"), name(2))
    queue = filled(*listed, choice=Choice(needing=False))
    assert stems(queue) == ["j2"] and len(queue) == 0
    queue = filled(*listed, choice=Choice(plain=False))
    assert stems(queue) == ["j1"] and len(queue) == 0


def test_a_job_that_is_due_later_keeps_its_needs() -> None:
    """It gets its turn among those with the same needs."""
    queue = filled(names.waiting_name("late", NOON_AT + 5, 0, place=("", "", "GPU-1")), name(1, "GPU-1"))
    queue.promote(NOON_AT + 9)
    assert stems(queue, PLAIN) == [] and stems(queue, NEEDING) == ["j1", "late"]
