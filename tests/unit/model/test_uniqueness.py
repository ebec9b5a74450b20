"""The keys of unique jobs, the names of their notes, and what becomes of a newcomer (P15)."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl.errors import InvalidJobError
from queuectl.model import job, record, times, uniqueness
from queuectl.model.settings import defaults
from queuectl.model.uniqueness import Accepted, Duplicate, Note, Place, Terms
from tests.helpers import NOON_AT

WAITS, RUNS, ENDED, IS_DONE = Place(waits=True), Place(runs=True), Place(), Place(is_done=True)
FIRST = times.to_text(NOON_AT - 60)
KEPT = "has the same unique key and its record is in done/"
SKIP, REPLACE = Terms("k"), Terms("k", replaces=True)


def spec(**keys: Any) -> dict[str, Any]:
    """The specification of a job with these keys."""
    return job.normalise({"command": "true", **keys}, defaults=defaults().retry_defaults, now_at=NOON_AT).spec


def note(**keys: Any) -> Note:
    """The note of the job "old"."""
    return Note("old", row_at=FIRST, **keys)


def test_a_record_has_the_keys_and_is_of_format_2() -> None:
    """They are kept as the producer wrote them, a duration in seconds."""
    made = spec(unique="k", unique_until="started", unique_for="10m", on_duplicate="replace")
    assert {key: made[key] for key in ("unique", "unique_until", "unique_for", "on_duplicate")} == {
        "unique": "k",
        "unique_until": "started",
        "unique_for": 600,
        "on_duplicate": "replace",
    }
    found = record.exact(record.frame({"id": "x", **made}, []))
    assert found is not None and found.format == 2
    assert (found.extras.unique, found.extras.unique_until, found.extras.unique_for) == ("k", "started", 600)


@pytest.mark.parametrize(
    "differs", [{"cwd": "/x"}, {"env": {"A": "1"}}, {"stdin": "x"}, {"queue": "q"}, {"owner": "o"}]
)
def test_true_is_a_key_made_of_what_the_job_runs(differs: dict[str, Any]) -> None:
    """Equal jobs have one key, and what makes a difference to the run makes another one; other keys do not."""
    key = spec(unique=True)["unique"]
    assert key == spec(unique=True, priority=5, tags=["x"], max_retries=9)["unique"]
    assert key != spec(unique=True, **differs)["unique"] and key != spec(unique=True, command="false")["unique"]
    assert uniqueness.note_name(key) == key


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"unique": ""}, "unique"),
        ({"unique": False}, "unique"),
        ({"unique": "x" * 201}, "unique"),
        ({"unique": 5}, "unique"),
        ({"unique": "k", "unique_until": "never"}, "unique_until"),
        ({"unique": "k", "unique_for": 0}, "unique_for"),
        ({"unique": "k", "unique_for": "soon"}, "unique_for"),
        ({"unique": "k", "on_duplicate": "drop"}, "on_duplicate"),
        ({"on_duplicate": "skip"}, "on_duplicate"),
        ({"unique_until": "ended"}, "unique_until"),
        ({"unique_for": 5}, "unique_for"),
    ],
)
def test_a_wrong_key_is_named(keys: dict[str, Any], named: str) -> None:
    """The error names the key at fault."""
    with pytest.raises(InvalidJobError) as error:
        spec(**keys)
    assert error.value.key == named


def test_right_keys_beside_a_wrong_one_are_no_mistakes() -> None:
    """A key that is allowed only beside `unique` counts as beside it."""
    with pytest.raises(InvalidJobError) as error:
        spec(unique="k", unique_for="10m", on_duplicate="replace", priority="high")
    assert error.value.key == "priority" and len(error.value.mistakes) == 1


@pytest.mark.parametrize("key", ["Berlin", "https://a.de/x", "con", "COM1", "01.lock", "a" * 33, "ä", "..", "a/b"])
def test_the_name_of_a_note_is_safe_on_every_system(key: str) -> None:
    """No capitals, no separators, no device of Windows, no name of a lock; and another one for each key."""
    name = uniqueness.note_name(key)
    assert name == name.lower() and name != key and "." not in name and "/" not in name and "~" in name
    assert name != uniqueness.note_name(key.upper() + "x") and uniqueness.note_name("berlin") == "berlin"


@pytest.mark.parametrize(
    ("newest", "place", "terms", "verdict"),
    [
        (None, ENDED, SKIP, Accepted()),
        (note(), WAITS, SKIP, Duplicate("old", "old has the same unique key and waits")),
        (note(), WAITS, REPLACE, Accepted(("old",), "", NOON_AT - 60)),
        (note(behind="first"), WAITS, REPLACE, Accepted(("old",), "first", NOON_AT - 60)),
        (note(until="started"), WAITS, SKIP, Duplicate("old", "old has the same unique key and waits")),
        (note(until="started"), RUNS, SKIP, Accepted()),
        (note(until="started"), RUNS, REPLACE, Accepted()),
        (note(), RUNS, SKIP, Duplicate("old", "old has the same unique key and runs")),
        (note(), RUNS, REPLACE, Accepted(behind="old")),
        (note(replaces=("x",)), RUNS, REPLACE, Accepted(("x",), "old")),
        (note(), ENDED, SKIP, Accepted()),
        (note(), ENDED, REPLACE, Accepted()),
        (note(until="over"), WAITS, SKIP, Accepted()),
        (note(until="deleted"), RUNS, SKIP, Duplicate("old", "old has the same unique key and runs")),
        (
            note(until="deleted"),
            IS_DONE,
            SKIP,
            Duplicate("old", f"old {KEPT}"),
        ),
        (note(until="deleted"), IS_DONE, REPLACE, Accepted()),
        (note(until="deleted"), ENDED, SKIP, Accepted()),
        (note(), IS_DONE, SKIP, Accepted()),
    ],
)
def test_what_becomes_of_a_newcomer(newest: Note | None, place: Place, terms: Terms, verdict: object) -> None:
    """The table of FORMAT.md, section 4, "Unique jobs"."""
    assert uniqueness.judge(newest, place, terms, NOON_AT) == verdict


@pytest.mark.parametrize(("until", "place"), [("ended", ENDED), ("over", RUNS), ("over", WAITS), ("over", ENDED)])
def test_unique_for_holds_the_key_whatever_became_of_the_job(until: Any, place: Place) -> None:
    """Both kinds of newcomers are skipped until then, and not if the clock was set back."""
    held = note(until=until, held_until=times.to_text(NOON_AT + 30), held_s=60)
    for terms in (SKIP, REPLACE):
        verdict = uniqueness.judge(held, place, terms, NOON_AT)
        assert verdict == Duplicate("old", "old has the same unique key and was taken in less than 1m00s ago")
        assert uniqueness.judge(held, place, terms, NOON_AT + 30) == Accepted()
        assert uniqueness.judge(held, place, terms, NOON_AT - 31) == Accepted()


def test_a_row_of_replacements_is_due_at_last() -> None:
    """No later than ten times the delay after its first job was taken in."""
    row = Accepted(("old",), "", NOON_AT)
    assert uniqueness.latest_due_at(NOON_AT + 50, 30, row) == NOON_AT + 50
    assert uniqueness.latest_due_at(NOON_AT + 350, 30, row) == NOON_AT + 300
    assert uniqueness.latest_due_at(NOON_AT + 350, 30, Accepted()) == NOON_AT + 350
