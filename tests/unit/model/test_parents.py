"""parents: the key `after`, and how far a job is with its parents (P13)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.model import document, job, names, parents, record
from queuectl.model.history import Event
from queuectl.model.parents import Parent, Progress

DEFAULTS = job.RetryDefaults(3, 2.0, 3600.0, 0.0)


def framed(after: Any, **keys: Any) -> bytes:
    """The record of a job with this key `after`, as it is taken in."""
    taken = document.accept({"command": "true", "after": after, **keys}, defaults=DEFAULTS, now_at=0.0)
    return record.frame({"id": "child", **taken.spec}, document.first_events(taken, by="enqueue", now_at=0.0))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("a", [Parent("a")]),
        ({"id": "a"}, [Parent("a")]),
        (["a", {"id": "b", "when": "ended"}], [Parent("a"), Parent("b", "ended")]),
        (["a", "b", "a", {"id": "a", "when": "done"}], [Parent("a"), Parent("b")]),
        ([f"p{number}" for number in range(1000)], [Parent(f"p{number}") for number in range(1000)]),
    ],
)
def test_a_producer_may_name_one_parent_or_many(after: Any, expected: list[Parent]) -> None:
    """The record has a list, and each parent once; such a record has format 2."""
    item = record.exact(framed(after))
    assert item is not None
    assert item.format == 2
    assert list(parents.of(item.extras.after)) == expected
    assert item.blocked == Progress(expected[-1].id, "")


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ([], "empty list"),
        (["x"] * 1001, "1001 parents"),
        ({"id": "a", "when": "soon"}, "'soon' is none of done, ended, dead, over"),
        ({"when": "done"}, "without id"),
        ({"id": "a", "unless": "b"}, "no key 'unless'"),
        ("../x", "may contain only"),
        ("", "is empty"),
        ("con", "device on Windows"),
        (["a", {"id": "a", "when": "dead"}], "'a' twice"),
        (5, "takes an id"),
        ([5], r"after\[0\]"),
        ({"id": 5}, "id: takes a text"),
    ],
)
def test_bad_parents_are_refused_by_name(after: Any, text: str) -> None:
    """P6: an error names the key and its mistake."""
    with pytest.raises(InvalidJobError, match=text) as caught:
        framed(after)
    assert caught.value.key == "after"


def test_a_job_is_not_its_own_parent() -> None:
    """A cycle of one is refused where it can be seen."""
    for after in ("me", {"id": "me", "when": "ended"}, ["a", "me"]):
        with pytest.raises(InvalidJobError, match="names the job itself"):
            framed(after, id="me")


def test_a_record_cannot_lead_out_of_its_folder() -> None:
    """Parents become parts of paths, so a record by a stranger is refused like a drop."""
    data = framed("abcd")
    for bad in (b'"/etc"', b'{"id": "ab/c"}', b'{"batch": "x"}', b'{"id": "a", "when": "x"}'):
        with pytest.raises(DamagedRecordError):
            record.decode(data.replace(b'"abcd"', bad))


def test_progress_is_read_from_the_history() -> None:
    """The last `blocked` says which parent a job waits for; a start or `unblocked` settles all of them."""
    after = ("a", "b", Parent("c", "dead"))

    def at(*events: Event) -> Progress | None:
        return parents.progress(after, [Event("0", "enqueued"), *events])

    assert at() == Progress("c", "")
    assert at(Event("1", "blocked", after="b", met=1)) == Progress("b", "")
    assert at(Event("1", "missing", after="c")) == Progress("c", "1")
    assert at(Event("1", "missing", after="c"), Event("2", "blocked", after="a")) == Progress("a", "")
    assert at(Event("1", "blocked", after="a"), Event("2", "missing", after="b")) == Progress("a", "")
    assert at(Event("1", "blocked", after="elsewhere")) == Progress("c", "")
    assert at(Event("1", "unmet", after="c", to="dlq"), Event("2", "requeued")) == Progress("c", "")
    assert at(Event("1", "unmet", after="a", to="dlq"), Event("2", "requeued")) == Progress("a", "")
    assert at(Event("1", "unblocked")) is None
    assert at(Event("1", "started", attempt=1), Event("2", "requeued")) is None
    assert at(Event("1", "folded", counts={"started": 3})) is None
    assert parents.progress((), []) is None


@pytest.mark.parametrize(
    ("when", "state", "is_met"),
    [
        ("done", "done", True),
        ("done", "dlq", False),
        ("ended", "done", True),
        ("ended", "dlq", True),
        ("dead", "done", False),
        ("dead", "dlq", True),
    ],
)
def test_conditions(when: Any, state: str, is_met: bool) -> None:
    """Each condition, for each way to end."""
    assert parents.is_met(Parent("a", when), state) is is_met


@pytest.mark.parametrize(
    ("child", "parent"),
    [("a", "b"), ("20261124-031500-120345-7f3k", "b"), ("a.b_c", "x.y_z"), ("A" * 100, "b" * 100)],
)
def test_the_name_of_a_blocked_job(child: str, parent: str) -> None:
    """One listing shows what each job waits for; held or not, and it never looks like an unfinished file (P11)."""
    name = names.blocked_name(child, parent)
    assert len(names.held_name(name)) <= 217
    for each in (name, names.held_name(name)):
        parts = names.parse(each)
        assert parts is not None
        assert (parts.stem, parts.after) == (child, parent)
        assert not names.is_temporary(each)
    assert names.held_name(name) == re.sub(r"\.json$", ",hold.json", name)
