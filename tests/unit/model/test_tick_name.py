"""Names in schedules/ say what a schedule has done and what is next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.model import names, tick_name
from queuectl.model.tick_name import Named, Note
from queuectl.spool import schedule_files

TICK_AT = 1_800_000_000.0


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("nightly,next=20270115T080000Z.tick", Note("nightly", None, TICK_AT)),
        ("nightly,last=20270115T080000Z.tick", Note("nightly", TICK_AT)),
        ("a.b,last=20270115T080000Z,next=20270115T080001Z.tick", Note("a.b", TICK_AT, TICK_AT + 1)),
        ("n,last=20270115T080000Z,making=20270115T080001Z.tick", Note("n", TICK_AT, None, TICK_AT + 1)),
        ("n,making=20270115T080000Z,skipped=12.tick", Note("n", None, None, TICK_AT, 12)),
        ("n.tick", Note("n")),
    ],
)
def test_a_note_s_name_is_read_and_written(name: str, note: Note) -> None:
    """Each form of the name of a note gives its parts, and the parts give the name (P14)."""
    assert tick_name.parse_note(name) == note
    assert note.name == name


@pytest.mark.parametrize(
    "name",
    [
        "nightly.json",
        "nightly,next=20270115T080000Z (1).tick",
        "nightly,next=20271315T080000Z.tick",
        "nightly,next=20270115T080000Z,last=20270115T080000Z.tick",
        "nightly,skipped=0.tick",
        "../x,next=20270115T080000Z.tick",
        "a,b.tick",
        ".tick",
        "n" * 65 + ".tick",
        "nightly,next=２0270115T080000Z.tick",
    ],
)
def test_other_names_are_no_notes(name: str) -> None:
    """What queuectl does not write itself is not taken for a note (P11)."""
    note = tick_name.parse_note(name)
    assert note is None or note.name != name


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    st.none() | st.integers(0, 2**36),
    st.none() | st.integers(0, 2**36),
    st.booleans(),
    st.integers(0, 10**12),
)
def test_every_note_fits_into_a_file_name(
    schedule: str, last: int | None, tick: int | None, making: bool, skipped: int
) -> None:
    """A note of any schedule has a name that every system accepts, and the name gives the note back."""
    at = None if tick is None else float(tick)
    note = Note(
        schedule, last and float(last), None if making else at, at if making else None, min(skipped, 999_999_999)
    )
    assert len(note.name) <= names.NAME_MAX_BYTES
    assert tick_name.parse_note(note.name) == note


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("nightly.json", Named("nightly", False)),
        ("nightly.JSON", Named("nightly", False)),
        ("nightly,hold.json", Named("nightly", True)),
        (",hold.json", Named(",hold", False)),
        ("my job.json", Named("my job", False)),
        ("nightly.json.tmp", None),
        (".nightly.json", None),
        ("~nightly.json", None),
        ("nightly.sync-conflict-20261124-031500.json", None),
        ("nightly.reason.txt", None),
        (".json", None),
        ("nightly.jsonl", None),
    ],
)
def test_a_user_s_file_is_told_by_its_name(name: str, named: Named | None) -> None:
    """Names of unfinished files and other endings are left alone (P11)."""
    assert tick_name.parse_file(name) == named


@pytest.mark.parametrize("name", ["", "a b", "../x", "a,b", "con", "x" * 65, ".x", "x."])
def test_a_schedule_s_name_is_like_an_id(name: str) -> None:
    """The name of a schedule is a part of the ids of its jobs."""
    assert tick_name.why_bad_name(name)


def test_the_longest_name_makes_a_valid_id() -> None:
    """A schedule with the longest name has jobs with valid ids."""
    job_id = tick_name.job_id("x" * tick_name.NAME_MAX_CHARS, TICK_AT)
    assert names.why_bad_id(job_id) == ""
    assert job_id.endswith("-20270115T080000Z")


def test_who_looks_for_notes_knows_their_ending() -> None:
    """A pool without schedules does not import this module to find that there are none."""
    assert schedule_files.NOTE_ENDING == tick_name.NOTE_ENDING
