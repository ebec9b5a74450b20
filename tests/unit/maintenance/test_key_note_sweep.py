"""key_note_sweep: a pool deletes void key notes, and no other (P15)."""

from __future__ import annotations

import os

from queuectl.maintenance.key_note_sweep import KeyNoteSweep, forget_void, void
from queuectl.model.lifecycle import DLQ, DONE, PENDING, Outcome
from queuectl.model.uniqueness import Note
from queuectl.spool import key_notes
from tests.helpers import Desk


def noted(desk: Desk) -> list[str]:
    """The names of all notes."""
    return sorted(key_notes.noted(desk.spool))


def test_a_sweep_deletes_the_notes_of_jobs_that_are_gone(desk: Desk) -> None:
    """In steps, and again some time later."""
    sweep = KeyNoteSweep(desk.session)
    assert sweep.step() == 0
    for number in range(150):
        desk.enqueue(id=f"j{number}", unique=f"k{number}")
        if number:
            os.unlink(desk.spool.path(PENDING, f"j{number}.json"))
    assert sweep.step() == 0, "its time has not come"
    desk.clock.advance(3600)
    assert sum(sweep.step() for _ in range(2)) == 149
    assert noted(desk) == ["k0"]


def test_a_job_under_another_name_keeps_its_note(desk: Desk) -> None:
    """It is found by a listing."""
    desk.enqueue(id="a", unique="k")
    os.rename(desk.spool.path(PENDING, "a.json"), desk.spool.path(PENDING, "a,prio=5.json"))
    assert void(desk.spool, noted(desk), desk.clock.now()) == []


def test_a_note_whose_job_was_published_meanwhile_is_kept(desk: Desk) -> None:
    """The note comes first, and the job under the same lock."""
    note = Note("a", "a.json")
    key_notes.write(desk.spool, "k", note, sync=False)
    assert void(desk.spool, ["k"], desk.clock.now()) == [("k", note)]
    desk.enqueue(id="a")
    assert not forget_void(desk.spool, "k", note) and noted(desk) == ["k"]


def test_a_note_that_has_changed_or_is_locked_is_kept(desk: Desk) -> None:
    """Somebody uses the key."""
    note = Note("gone")
    key_notes.write(desk.spool, "k", note, sync=False)
    with key_notes.locked(desk.spool, "k", patience_s=0):
        assert not forget_void(desk.spool, "k", note)
    key_notes.write(desk.spool, "k", Note("other"), sync=False)
    assert not forget_void(desk.spool, "k", note) and noted(desk) == ["k"]


def test_a_note_that_names_others_who_wait_or_run_is_kept(desk: Desk) -> None:
    """Its own job is gone, and says who has the key instead."""
    desk.enqueue(id="a")
    for note in (Note("ghost", replaces=("a",)), Note("ghost", behind="a")):
        key_notes.write(desk.spool, "k", note, sync=False)
        assert not forget_void(desk.spool, "k", note) and noted(desk) == ["k"]


def test_a_job_in_done_that_holds_its_key_keeps_its_note(desk: Desk) -> None:
    """`unique_until` = `deleted`: until its record is deleted, or is dead."""
    desk.enqueue(id="a", unique="k", unique_until="deleted")
    desk.run("a.json", Outcome("succeeded", 0, "", 0.01))
    (found,) = [key_notes.read_named(desk.spool, name) for name in noted(desk)]
    assert found is not None and void(desk.spool, noted(desk), desk.clock.now()) == []
    assert not forget_void(desk.spool, "k", found)
    os.rename(desk.spool.path(DONE, "a.json"), desk.spool.path(DLQ, "a.json"))
    assert void(desk.spool, noted(desk), desk.clock.now()) == [("k", found)]
    os.unlink(desk.spool.path(DLQ, "a.json"))
    assert forget_void(desk.spool, "k", found) and noted(desk) == []


def test_unique_for_keeps_a_note(desk: Desk) -> None:
    """Until it is over."""
    desk.enqueue(id="a", unique="k", unique_for="10m")
    desk.run("a.json", Outcome("succeeded", 0, "", 0.01))
    assert void(desk.spool, noted(desk), desk.clock.now()) == []
    desk.clock.advance(601)
    assert [name for name, _ in void(desk.spool, noted(desk), desk.clock.now())] == ["k"]
