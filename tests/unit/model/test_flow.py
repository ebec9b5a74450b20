"""flow and members: the documents of one file that name each other."""

from __future__ import annotations

import random
from typing import Any

import pytest

from queuectl.errors import InvalidJobError
from queuectl.model import document, flow, job, members, parents, record
from queuectl.model.flow import Flow
from queuectl.model.members import Members

TOKEN = "f-20261124T031500-x2k9"
DEFAULTS = job.RetryDefaults(3, 2.0, 3600.0, 0.0)


def made(*documents: dict[str, Any], held: str = "") -> Flow | flow.Mistake:
    """The flow of some documents, or its first mistake; `held` is the only id in the spool."""
    one = Flow(TOKEN)
    for each in documents:
        one.add(flow.draft({"command": "true", **each}))
    return one.settle(lambda job_id: job_id == held) or one


def good(*documents: dict[str, Any], held: str = "") -> Flow:
    """The flow of documents without a mistake."""
    found = made(*documents, held=held)
    assert isinstance(found, Flow), found
    return found


def test_ids_are_made_of_the_file() -> None:
    """TOKEN-REF, else TOKEN-PLACE; in `after` a ref is one, and any other name is an id of the spool."""
    one = good({"ref": "a"}, {}, {"after": ["a", {"id": "old", "when": "dead"}]}, held="old")
    assert [one.id_of(place) for place in (1, 2, 3)] == [f"{TOKEN}-a", f"{TOKEN}-0002", f"{TOKEN}-0003"]
    assert one.made(3, {"command": "x", "after": ["a"], "history": []}) == {
        "command": "x",
        "id": f"{TOKEN}-0003",
        "after": [{"id": f"{TOKEN}-a", "when": "done"}, {"id": "old", "when": "dead"}],
    }
    assert one.made(1, {"command": "x", "ref": "a"}) == {"command": "x", "id": f"{TOKEN}-a"}


def test_parents_come_first_and_stars_last() -> None:
    """In the order of the file where that is one; else whoever waits comes after all that it waits for."""
    in_order = ({"ref": "a"}, {"ref": "b", "after": "a"}, {"after": "b"}, {"after": "*"})
    assert list(good(*in_order).order()) == [1, 2, 3, 4]
    mixed = ({"after": "*"}, {"after": "b"}, {"ref": "b", "after": "a"}, {}, {"ref": "a"})
    assert list(good(*mixed).order()) == [4, 5, 3, 2, 1]
    stars = ({"after": ["*", "s"]}, {"ref": "s", "after": "*"}, {})
    assert list(good(*stars).order()) == [3, 2, 1]


def test_random_flows_have_an_order() -> None:
    """Each document exactly once, after its parents; a document with `*` after all without."""
    rng = random.Random(5)
    for _ in range(200):
        size = rng.randrange(1, 30)
        places = list(range(size))
        rng.shuffle(places)
        documents: list[dict[str, Any]] = [{} for _ in range(size)]
        for rank, place in enumerate(places):
            documents[place]["ref"] = f"r{place}"
            if rank and rng.random() < 0.6:
                before = rng.sample(places[:rank], rng.randrange(1, min(rank, 4) + 1))
                documents[place]["after"] = [f"r{each}" for each in before]
        if rng.random() < 0.5:
            documents.insert(rng.randrange(size + 1), {"after": "*"})
        order = list(good(*documents).order())
        assert sorted(order) == list(range(1, len(documents) + 1))
        turn = {place: at for at, place in enumerate(order)}
        by_ref = {each["ref"]: place for place, each in enumerate(documents, 1) if "ref" in each}
        for place, each in enumerate(documents, 1):
            if each.get("after") == "*":
                assert turn[place] == len(order) - 1
            else:
                assert all(turn[by_ref[name]] < turn[place] for name in each.get("after", ()))


@pytest.mark.parametrize(
    ("documents", "place", "why"),
    [
        ([{"ref": "a", "after": "b"}, {"ref": "b", "after": "a"}], 1, "wait for each other: a -> b -> a"),
        ([{"ref": "a", "after": "a"}], 1, "after: 'a' waits for itself"),
        ([{}, {"ref": "s", "after": "*"}, {"after": "s"}], 2, "wait for each other: s -> document 3 -> s"),
        ([{"ref": "load"}, {"after": "lod"}], 2, "'lod' is neither a ref of this file nor the id of a job"),
        ([{"ref": "Load"}, {"after": "load"}], 2, "did you mean 'Load'?"),
        ([{"after": "*"}], 1, '"*" names no other job'),
        ([{"ref": "0002"}, {}], 1, "'0002' is the id of another job of this file, number 2"),
        ([*({"ref": f"r{n}"} for n in range(1001)), {"after": "*"}], 1002, "up to 1000 refs"),
    ],
)
def test_mistakes_between_documents(documents: list[dict[str, Any]], place: int, why: str) -> None:
    """P6: each names the document and what is wrong with it."""
    found = made(*documents)
    assert isinstance(found, flow.Mistake)
    assert found.place == place and why in found.why


@pytest.mark.parametrize(
    ("given", "key", "why"),
    [
        ({"id": "a"}, "id", "is not possible in a file with ref or after"),
        ({"ref": "a b"}, "ref", "must have 1 to 32 characters"),
        ({"ref": "x" * 33}, "ref", "must have 1 to 32 characters"),
        ({"ref": 5}, "ref", "must have 1 to 32 characters"),
        ({"ref": ""}, "ref", "must have 1 to 32 characters"),
        ({"ref": "a.tmp"}, "ref", "looks like the name of an unfinished file"),
        ({"after": 5}, "after", "not the number 5"),
        ({"after": []}, "after", "empty list"),
        ({"after": ["*", {"id": "*", "when": "ended"}]}, "after", '"*" twice'),
        ({"after": {"id": "*", "when": "later"}}, "after", "'later' is none of done, ended, dead, over"),
        ({"after": {"id": "a", "wenn": "done"}}, "after", "'wenn'"),
        ({"after": "../x"}, "after", "'../x'"),
        ({"after": [f"j{n}" for n in range(1001)]}, "after", "at most 1000"),
    ],
)
def test_mistakes_of_one_document(given: dict[str, Any], key: str, why: str) -> None:
    """P6: an error names the key and its mistake."""
    with pytest.raises(InvalidJobError) as caught:
        made(given)
    assert caught.value.key == key and why in str(caught.value)


def test_a_ref_occurs_once_ignoring_case() -> None:
    """Ids that differ only in case are one file on some systems."""
    with pytest.raises(InvalidJobError, match="'A' occurs twice"):
        made({"ref": "a"}, {"ref": "A"})


def test_ref_is_only_for_files_of_many() -> None:
    """A single job has nobody who could name it by its ref."""
    with pytest.raises(InvalidJobError, match="ref: is only for jobs of one file"):
        job.normalise({"command": "true", "ref": "a"}, defaults=DEFAULTS, now_at=0)
    with pytest.raises(InvalidJobError, match=r'"\*" is only for a file of many jobs'):
        job.normalise({"command": "true", "after": "*"}, defaults=DEFAULTS, now_at=0)


# ------------------------------------------------------------------------------------------------------------- members


def test_a_star_is_one_line_whatever_it_names() -> None:
    """All documents without `*`; one that is named alone too keeps its own condition."""
    one = good({}, {"ref": "a"}, {"ref": "b"}, {}, {"after": [{"id": "b", "when": "ended"}, "*"]}, {"after": "*"})
    alone, rest = one.made(5, {"command": "x"})["after"]
    assert alone == {"id": f"{TOKEN}-b", "when": "ended"}
    assert rest == {"batch": TOKEN, "count": 6, "except": [2, 3, 5, 6], "refs": ["a"], "when": "done"}
    asked = framed({"id": "x", "command": "true", "after": [alone, rest]})
    assert [(each.id, each.when) for each in asked] == [
        (f"{TOKEN}-b", "ended"),
        (f"{TOKEN}-a", "done"),
        (f"{TOKEN}-0001", "done"),
        (f"{TOKEN}-0004", "done"),
    ]
    only = good({"ref": "a"}, {"after": ["a", "*"]})
    assert only.made(2, {"command": "x"})["after"] == [{"id": f"{TOKEN}-a", "when": "done"}]


def framed(document_of: dict[str, Any]) -> parents.Asked:
    """The parents of a document once it is a record."""
    taken = document.accept(document_of, defaults=DEFAULTS, now_at=0.0)
    data = record.frame(taken.spec, document.first_events(taken, by="batch", now_at=0.0))
    assert record.exact(data) is not None
    return parents.of(record.decode(data).extras.after)


def test_members_are_found_without_a_list() -> None:
    """Each id at its index and back, also across the places that are left out."""
    rng = random.Random(7)
    for _ in range(200):
        count = rng.randrange(1, 40)
        left_out = sorted(rng.sample(range(1, count + 1), rng.randrange(count)))
        refs = [f"r{n}" for n in range(rng.randrange(4))]
        found = Members(TOKEN, count, left_out, refs)
        expected = [f"{TOKEN}-{ref}" for ref in refs]
        expected += [f"{TOKEN}-{place:04d}" for place in range(1, count + 1) if place not in left_out]
        assert list(found) == expected and len(found) == len(expected)
        assert [found.find(each) for each in expected] == list(range(len(expected)))
        others = [f"{TOKEN}-{place:04d}" for place in (0, *left_out, count + 1)]
        assert {found.find(each) for each in (*others, TOKEN, f"{TOKEN}x0001", f"{TOKEN}-1", f"{TOKEN}-²")} == {-1}


def test_a_million_members_are_asked_for_one_by_one() -> None:
    """A range of a million is as cheap as one parent."""
    asked = parents.of((parents.Parent(batch=TOKEN, count=1_000_000),))
    assert len(asked) == 1_000_000 and asked[-1].id == f"{TOKEN}-1000000"
    assert asked.find(f"{TOKEN}-0777") == 776 and asked.is_member(f"{TOKEN}-0777")
    assert not parents.of(("a",)).is_member("a")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"batch": "x" * 90}, "token of a file"),
        ({"batch": "../x"}, "token of a file"),
        ({"count": 0}, "count is not from 1"),
        ({"count": members.COUNT_AT_MOST + 1}, "count is not from 1"),
        ({"except": [2, 1]}, "rising list"),
        ({"except": [10]}, "rising list"),
        ({"refs": ["a/b"]}, "different names"),
        ({"refs": ["a", "a"]}, "different names"),
        ({"except": [1, 2, 3]}, "without jobs"),
        ({"refs": [f"r{n}" for n in range(2001)]}, "more than 2000"),
        ({"id": "a"}, "range with an id"),
        ({"other": "a"}, "does not write"),
    ],
)
def test_a_range_that_queuectl_does_not_write_is_refused(changed: dict[str, Any], why: str) -> None:
    """Its texts become parts of paths, and its numbers loops."""
    given = {"batch": TOKEN, "count": 3, **changed}
    with pytest.raises(InvalidJobError, match=why):
        parents.parse([given])
