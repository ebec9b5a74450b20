"""Jobs with a unique key: what enqueue, a drop, a claim, a settle and a retry make of them (P15)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queuectl.errors import QueuectlError, SpoolUnavailableError
from queuectl.jobs import submission, unique_enqueue, uniques
from queuectl.jobs.arguments import JobId
from queuectl.jobs.hopeless import Hopeless, Unsure
from queuectl.jobs.requeue import requeue
from queuectl.jobs.verdict import Busy, Claimed, Gated, Later, Skipped
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.model.uniqueness import Note
from queuectl.spool import key_notes
from queuectl.system import disk
from tests.helpers import Desk, listing, only

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)


def add(desk: Desk, job_id: str, **keys: Any) -> str:
    """Enqueue a job with the unique key `k`; return the id that the producer gives."""
    prepared = desk.producer.prepare({"command": "true", "id": job_id, "unique": "k", **keys}, by="enqueue")
    [given] = submission.put_in(desk.producer, [prepared])
    return given


def noted(desk: Desk) -> str:
    """The job that the note of `k` names, "" without a note."""
    note = key_notes.read(desk.spool, "k")
    return "" if note is None else note.id


def last(desk: Desk, state: str, name: str) -> tuple[str, str, str]:
    """The last event of a record: its kind, and the other job that it names."""
    event = desk.record(state, name).history[-1]
    return event.event, event.duplicate_of, event.replaced_by


def is_skipped(verdict: object, name: str) -> bool:
    """Whether a file was skipped, and the pool can say why."""
    return isinstance(verdict, Skipped) and verdict.name == name and "the same unique key" in verdict.why


def waiting(desk: Desk) -> list[str]:
    """The ids in pending/."""
    return sorted(name.partition(",")[0].removesuffix(".json") for name in desk.spool.waiting_names())


def only_of(desk: Desk, job_id: str) -> str:
    """The name in pending/ of a job."""
    [name] = [name for name in desk.spool.waiting_names() if name.partition(",")[0].removesuffix(".json") == job_id]
    return name


# ----------------------------------------------------------------------------------------------------------- enqueue


def test_a_duplicate_gives_the_id_of_the_job_that_is_there(desk: Desk) -> None:
    """Nothing is written, and the id says so."""
    assert add(desk, "a") == "a" and noted(desk) == "a"
    given = add(desk, "b")
    assert isinstance(given, JobId) and given == "a" and not given.added
    assert given.reason == "a has the same unique key and waits"
    assert listing(desk.spool) == {"pending": ["a.json"]}


def test_other_keys_and_jobs_without_one_are_not_affected(desk: Desk) -> None:
    """Keys differ in case, too."""
    assert [add(desk, "a"), add(desk, "b", unique="K"), desk.enqueue(id="c")] == ["a", "b", "c.json"]


def test_the_key_is_held_while_the_job_runs_and_is_retried(desk: Desk) -> None:
    """`unique_until` is `ended` by default; the note has the name under which the job waits for its retry."""
    add(desk, "a", max_retries=1)
    claimed = desk.start("a.json")
    assert add(desk, "b") == "a"
    settled = desk.settlements.settle(claimed, FAILED)
    note = key_notes.read(desk.spool, "k")
    assert note is not None and note.name == settled.name
    assert add(desk, "b") == "a"
    desk.clock.advance(3600)
    desk.run(settled.name, OK)
    assert noted(desk) == "" and add(desk, "b") == "b"


@pytest.mark.parametrize("way", ["dead", "cancelled", "deleted", "dragged to done"])
def test_the_key_is_free_when_the_job_is_over(desk: Desk, way: str) -> None:
    """Also for a dead job, and for one that somebody has deleted or moved by hand."""
    add(desk, "a", max_retries=0)
    name = only(desk.spool, PENDING)
    path = Path(desk.spool.path(PENDING, name))
    if way == "dead":
        desk.run(name, FAILED)
    elif way == "cancelled":
        from queuectl.jobs.cancel import Canceller

        Canceller(desk.session).cancel("a", by="x", reason="")
    elif way == "deleted":
        path.unlink()
    else:
        path.rename(desk.spool.path(DONE, "a.json"))
    assert add(desk, "b") == "b" and noted(desk) == "b"


def test_until_started_gives_the_key_up_at_the_start(desk: Desk) -> None:
    """Another one may wait meanwhile; a retry of the first is not judged again, and does not hold the key."""
    add(desk, "a", unique_until="started", max_retries=1)
    assert add(desk, "b", unique_until="started") == "a"
    claimed = desk.start(only(desk.spool, PENDING))
    assert add(desk, "b", unique_until="started") == "b"
    settled = desk.settlements.settle(claimed, FAILED)
    assert noted(desk) == "b"
    desk.clock.advance(3600)
    assert isinstance(desk.claim(settled.name), Claimed)
    assert isinstance(desk.claim("b.json"), Claimed)


def test_until_deleted_holds_the_key_while_the_record_of_a_success_is_kept(desk: Desk) -> None:
    """The work of a key is done once; the same id again, and a job that takes the place of none, are judged too."""
    add(desk, "a", unique_until="deleted")
    desk.run(only(desk.spool, PENDING), OK)
    given = add(desk, "b", unique_until="deleted")
    assert isinstance(given, JobId) and given == "a" and "its record is in done/" in given.reason
    assert add(desk, "c") == "a" and noted(desk) == "a"
    assert is_skipped(desk.claim(drop(desk, "d.json")), "d.json")
    os.unlink(desk.spool.path(DONE, "a.json"))
    assert add(desk, "b", unique_until="deleted") == "b"


def test_until_deleted_a_dead_job_holds_no_key_and_a_retry_asks_who_has_it(desk: Desk) -> None:
    """A failure may be tried again; it is not if another one has succeeded meanwhile."""
    add(desk, "a", unique_until="deleted", max_retries=0)
    desk.run(only(desk.spool, PENDING), FAILED)
    assert add(desk, "b", unique_until="deleted") == "b"
    desk.run(only(desk.spool, PENDING), OK)
    with pytest.raises(QueuectlError, match="its record is in done"):
        requeue(desk.session, "a", by="retry")
    os.rename(desk.spool.path(DLQ, "a.json"), desk.spool.path(PENDING, "a.json"))
    assert is_skipped(desk.claim("a.json"), "a.json")
    requeue(desk.session, "b", by="retry")
    desk.run(only_of(desk, "b"), OK)
    assert noted(desk) == "b"


def test_a_replacement_takes_the_place_of_the_job_that_waits(desk: Desk) -> None:
    """The old one is in done/, and says by whom it was replaced."""
    add(desk, "a")
    assert add(desk, "b", on_duplicate="replace") == "b"
    assert waiting(desk) == ["b"] and noted(desk) == "b"
    assert last(desk, DONE, "a.json") == ("skipped", "", "b")


def test_a_replacement_waits_for_the_end_of_the_job_that_runs(desk: Desk) -> None:
    """At most one runs, one waits, and the last one wins; a third waits for the first too."""
    add(desk, "a")
    claimed = desk.start(only(desk.spool, PENDING))
    assert add(desk, "b", on_duplicate="replace") == "b"
    assert only(desk.spool, PENDING) == "b,after=a.json"
    assert add(desk, "c", on_duplicate="replace") == "c"
    assert only(desk.spool, PENDING) == "c,after=a.json"
    assert last(desk, DONE, "b.json") == ("skipped", "", "c")
    assert isinstance(desk.claim("c,after=a.json"), Later)
    desk.settlements.settle(claimed, OK)
    assert isinstance(desk.claim("c,after=a.json"), Claimed)


@pytest.mark.parametrize("kind", ["failed", "timed_out", "snoozed", "released", "abandoned"])
def test_a_job_is_not_tried_again_while_its_replacement_waits(desk: Desk, other_desk: Desk, kind: str) -> None:
    """The replacement need not wait for the backoff of the old one."""
    add(desk, "a")
    claimed = desk.start(only(desk.spool, PENDING))
    add(desk, "b", on_duplicate="replace")
    if kind == "abandoned":
        desk.lease.abandon()
        settled = other_desk.orphans.rescue("a.json")
    else:
        settled = desk.settlements.settle(claimed, Outcome(kind, None, "no reason", 0.01))
    assert settled is not None and settled.skipped and settled.to == DONE
    assert desk.events(DONE, "a.json") == ["enqueued", "started", kind, "skipped"]
    assert last(desk, DONE, "a.json") == ("skipped", "", "b")
    assert isinstance(other_desk.claim("b,after=a.json"), Claimed)


def test_a_replacement_of_one_whose_forerunner_is_gone_waits_for_nobody(desk: Desk) -> None:
    """A parent that is nowhere would hold it up for `after_grace`."""
    add(desk, "a")
    desk.run(only(desk.spool, PENDING), OK)
    key_notes.write(desk.spool, "k", Note("b", behind="a"), sync=False)
    desk.enqueue(id="b")
    assert add(desk, "c", on_duplicate="replace") == "c"
    assert "after" not in desk.document(PENDING, "c.json")


def test_a_replacement_goes_on_if_the_job_that_ran_was_deleted(desk: Desk) -> None:
    """It waits until that is over, in whatever way; two looks of a pool find that it is in no folder."""
    add(desk, "a")
    desk.start(only(desk.spool, PENDING))
    add(desk, "b", on_duplicate="replace")
    os.unlink(desk.spool.path(RUNNING, "a.json"))
    assert isinstance(desk.claim("b,after=a.json"), Later)
    hopeless = Hopeless(desk.session, desk.stripes)
    assert isinstance(hopeless.note_missing("b,after=a.json", "a", again=False), Unsure)
    assert isinstance(desk.claim("b,after=a.json"), Claimed)


def test_debounce_puts_a_row_off_and_not_for_ever(desk: Desk) -> None:
    """Each replacement starts the delay again, up to ten delays after the first job of the row was taken in."""
    start_at = desk.clock.now()
    add(desk, "j0", on_duplicate="replace", delay=10)
    for number in range(1, 12):
        desk.clock.advance(9)
        add(desk, f"j{number}", on_duplicate="replace", delay=10)
        [name] = desk.spool.waiting_names()
        due_at = desk.record(PENDING, name).standing().due_at
        expected_at = min(desk.clock.now() + 10, start_at + 100)
        assert due_at == pytest.approx(expected_at if expected_at > desk.clock.now() else due_at)
    desk.clock.advance(1.1)
    assert isinstance(desk.claim(name), Claimed)
    assert sum(event.event == "skipped" for n in range(11) for event in desk.record(DONE, f"j{n}.json").history) == 11


def test_a_row_begins_anew_when_the_last_one_has_started(desk: Desk) -> None:
    """The delay of the next job is its own."""
    add(desk, "a", on_duplicate="replace", delay=10)
    desk.clock.advance(10)
    desk.run(only(desk.spool, PENDING), OK)
    desk.clock.advance(1000)
    add(desk, "b", on_duplicate="replace", delay=10)
    assert desk.record(PENDING, only(desk.spool, PENDING)).standing().due_at == desk.clock.now() + 10


def test_unique_for_holds_the_key_after_the_end(desk: Desk) -> None:
    """From when the job was taken in, whatever became of it."""
    add(desk, "a", unique_for="10m", max_retries=0)
    desk.run(only(desk.spool, PENDING), FAILED)
    given = add(desk, "b", on_duplicate="replace")
    assert (given, getattr(given, "reason", "")) == (
        "a",
        "a has the same unique key and was taken in less than 10m00s ago",
    )
    desk.clock.advance(601)
    assert add(desk, "b") == "b"


def test_unique_for_holds_the_key_after_the_start(desk: Desk) -> None:
    """With `unique_until` = `started` too."""
    add(desk, "a", unique_for="10m", unique_until="started")
    desk.start(only(desk.spool, PENDING))
    assert add(desk, "b") == "a"
    desk.clock.advance(601)
    assert add(desk, "b") == "b"


def test_a_job_under_another_name_is_found(desk: Desk) -> None:
    """A held job, one whose priority was edited, and one that somebody has renamed hold their key."""
    add(desk, "a")
    path = Path(desk.spool.path(PENDING, only(desk.spool, PENDING)))
    for name in ("a,hold.json", "a,prio=5.json", "a,in=20200101T000000.000000Z.json"):
        path = path.rename(path.with_name(name))
        assert add(desk, "b") == "a"


def test_the_same_id_again_is_the_job_that_is_there(desk: Desk) -> None:
    """Not an error: the job with this id and key waits or runs."""
    add(desk, "a")
    assert add(desk, "a") == "a"
    desk.start(only(desk.spool, PENDING))
    given = add(desk, "a")
    assert isinstance(given, JobId) and not given.added


def test_a_lock_that_stays_busy_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written."""
    monkeypatch.setattr(key_notes, "PATIENCE_S", 0.01)
    with key_notes.locked(desk.spool, "k", patience_s=0) as is_locked:
        assert is_locked
        with pytest.raises(SpoolUnavailableError, match="holds the unique key 'k'"):
            add(desk, "a")
    assert listing(desk.spool) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": "../x"}', b'{"id": "a", "name": "../a.json"}', b"\xff"])
def test_a_broken_note_counts_as_none(desk: Desk, content: bytes) -> None:
    """The next job makes it anew."""
    add(desk, "a")
    Path(desk.spool.unique_path("k")).write_bytes(content)
    assert add(desk, "b") == "b" and noted(desk) == "b"


def test_a_folder_in_the_place_of_a_note_keeps_no_job_out(desk: Desk) -> None:
    """There is no note then; jobs are taken in, run and settled."""
    os.makedirs(desk.spool.unique_path("k"))
    assert add(desk, "a") == "a"
    desk.run(only(desk.spool, PENDING), OK)
    assert os.path.isdir(desk.spool.unique_path("k"))


def test_a_replacement_that_never_came_leaves_the_key_to_the_old_job(desk: Desk) -> None:
    """As after the death of a producer behind its note: the job that waits is still there."""
    add(desk, "a")
    ghost = Note("ghost", replaces=("a",))
    key_notes.write(desk.spool, "k", ghost, sync=False)
    assert add(desk, "b") == "a"
    assert add(desk, "b", on_duplicate="replace") == "b"
    assert waiting(desk) == ["b"] and last(desk, DONE, "a.json") == ("skipped", "", "b")


def test_a_replacement_that_never_came_lets_nobody_start_beside_the_job_that_runs(desk: Desk) -> None:
    """Its note has the place of the one about that job."""
    add(desk, "a")
    claimed = desk.start(only(desk.spool, PENDING))
    key_notes.write(desk.spool, "k", Note("ghost", behind="a"), sync=False)
    assert add(desk, "b") == "a"
    assert add(desk, "b", on_duplicate="replace") == "b"
    assert only(desk.spool, PENDING) == "b,after=a.json"
    desk.settlements.settle(claimed, OK)
    assert isinstance(desk.claim("b,after=a.json"), Claimed)


def test_of_two_that_a_dead_replacement_left_one_runs(desk: Desk) -> None:
    """The one that is claimed takes the place of the other."""
    add(desk, "a")
    path = Path(desk.spool.path(PENDING, desk.enqueue(id="b", unique="l")))
    path.write_bytes(path.read_bytes().replace(b'"unique": "l"', b'"unique": "k"'))
    key_notes.write(desk.spool, "k", Note("ghost", replaces=("b", "a")), sync=False)
    assert isinstance(desk.claim(only_of(desk, "a")), Claimed)
    assert last(desk, DONE, "b.json") == ("skipped", "", "a")


# ------------------------------------------------------------------------------------------------------------- claim


def test_a_claim_skips_the_older_of_two_that_wait(desk: Desk) -> None:
    """As after the death of a producer between the publication of a replacement and the end of the old job."""
    add(desk, "a")
    desk.enqueue(id="b", unique="other")
    key_notes.write(desk.spool, "k", Note("b", "b.json"), sync=False)
    assert is_skipped(desk.claim("a.json"), "a.json")
    assert last(desk, DONE, "a.json") == ("skipped", "", "b")


def test_a_replacement_starts_only_when_the_old_job_is_skipped(desk: Desk, other_desk: Desk) -> None:
    """Else the old one would run after it: its note would be gone by then."""
    add(desk, "a")
    add(desk, "b")
    desk.enqueue(id="b", unique="other")
    key_notes.write(desk.spool, "k", Note("b", "b.json", replaces=("a",)), sync=False)
    path = Path(desk.spool.path(PENDING, only_of(desk, "b")))
    path.write_bytes(path.read_bytes().replace(b'"unique": "other"', b'"unique": "k"'))
    stripe = other_desk.stripes.of("a")
    assert stripe.try_acquire()
    assert desk.claim(path.name) == Busy() and waiting(desk) == ["a", "b"]
    stripe.release()
    assert isinstance(desk.claim(path.name), Claimed)
    assert last(desk, DONE, "a.json") == ("skipped", "", "b")


def test_a_claim_takes_the_key_if_the_note_names_nobody(desk: Desk) -> None:
    """As after the death of a producer between the note and the job, or the loss of the note."""
    for nobody in (True, False):
        add(desk, f"a{nobody}")
        if nobody:
            key_notes.write(desk.spool, "k", Note("ghost"), sync=False)
        else:
            key_notes.forget(desk.spool, "k")
        claimed = desk.start(only(desk.spool, PENDING))
        assert noted(desk) == f"a{nobody}" and add(desk, "b") == f"a{nobody}"
        desk.settlements.settle(claimed, OK)


def test_a_claim_does_not_wait_for_a_key(desk: Desk) -> None:
    """The job goes back and is suggested again."""
    add(desk, "a")
    name = only(desk.spool, PENDING)
    with key_notes.locked(desk.spool, "k", patience_s=0):
        assert desk.claim(name) == Busy()
    assert only(desk.spool, PENDING) == name
    assert isinstance(desk.claim(name), Claimed)


def test_a_retry_by_drag_is_skipped_while_another_one_has_the_key(desk: Desk) -> None:
    """It never replaces, whatever it says."""
    add(desk, "a", max_retries=0, on_duplicate="replace")
    desk.run(only(desk.spool, PENDING), FAILED)
    add(desk, "b")
    os.rename(desk.spool.path(DLQ, "a.json"), desk.spool.path(PENDING, "a.json"))
    assert is_skipped(desk.claim("a.json"), "a.json")
    assert last(desk, DONE, "a.json") == ("skipped", "b", "")
    assert desk.events(DONE, "a.json")[-2:] == ["requeued", "skipped"]


def test_a_replaced_job_whose_stripe_is_busy_is_skipped_at_its_claim(
    desk: Desk, other_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The producer does not wait for it for long."""
    monkeypatch.setattr(uniques, "REPLACE_PATIENCE_S", 0.01)
    add(desk, "a")
    name = only(desk.spool, PENDING)
    with_stripe = other_desk.stripes.of("a")
    assert with_stripe.try_acquire()
    add(desk, "b", on_duplicate="replace")
    with_stripe.release()
    assert waiting(desk) == ["a", "b"]
    assert is_skipped(desk.claim(name), "a.json")


def test_a_retry_is_refused_while_another_job_has_the_key(desk: Desk) -> None:
    """It stays dead, and the error says because of whom. When the key is free, it takes the key."""
    add(desk, "a", max_retries=0, on_duplicate="replace")
    desk.run(only(desk.spool, PENDING), FAILED)
    add(desk, "b")
    with pytest.raises(QueuectlError, match="'a' stays in dlq/: b has the same unique key and waits"):
        requeue(desk.session, "a", by="retry")
    assert desk.events(DLQ, "a.json")[-1] == "failed" and noted(desk) == "b"
    desk.run(only(desk.spool, PENDING), OK)
    requeue(desk.session, "a", by="retry")
    assert noted(desk) == "a" and add(desk, "c") == "a"


# ------------------------------------------------------------------------------------------------------------- drops


def drop(desk: Desk, name: str, **keys: Any) -> str:
    return desk.drop(name, {"command": "true", "unique": "k", **keys})


def test_a_duplicate_drop_goes_to_done(desk: Desk) -> None:
    """With the job that has the key on record; it is not an error, and not dead."""
    claimed = desk.start(drop(desk, "a.json"))
    assert is_skipped(desk.claim(drop(desk, "b.json")), "b.json")
    assert desk.events(DONE, "b.json") == ["enqueued", "skipped"]
    assert last(desk, DONE, "b.json") == ("skipped", "a", "")
    desk.settlements.settle(claimed, OK)
    assert isinstance(desk.claim(drop(desk, "c.json")), Claimed)


def test_unique_drops_are_judged_before_their_turn(desk: Desk) -> None:
    """A thousand duplicates in front of one worker would each find the key free, one after the other."""
    names = [drop(desk, f"{letter}.json") for letter in "abc"]
    assert isinstance(desk.triage.judge(names[0]), Later)
    assert all(is_skipped(desk.triage.judge(name), name) for name in names[1:])
    assert isinstance(desk.claim("a.json"), Claimed)
    assert listing(desk.spool) == {"running": ["a.json"], "done": ["b.json", "c.json"]}


def test_a_drop_replaces_the_job_that_waits(desk: Desk) -> None:
    """The one that was judged first is skipped, and the last one runs."""
    desk.triage.judge(drop(desk, "a.json"))
    desk.triage.judge(drop(desk, "b.json", on_duplicate="replace"))
    assert waiting(desk) == ["b"] and last(desk, DONE, "a.json") == ("skipped", "", "b")
    claimed = desk.start("b.json")
    desk.triage.judge(drop(desk, "c.json", on_duplicate="replace"))
    assert only(desk.spool, PENDING) == "c,after=b.json"
    desk.settlements.settle(claimed, OK)
    assert isinstance(desk.claim("c,after=b.json"), Claimed)


@pytest.mark.parametrize("known", [{"behind": "a"}, {"replaces": ("a",)}])
def test_a_drop_that_was_put_back_is_no_newcomer(desk: Desk, known: dict[str, Any]) -> None:
    """Its worker died before its record was there, and meanwhile a replacement came: it must not wait for itself."""
    add(desk, "b")
    key_notes.write(desk.spool, "k", msgspec.structs.replace(Note("b", "b.json"), **known), sync=False)
    assert is_skipped(desk.claim(drop(desk, "a.json", on_duplicate="replace")), "a.json")
    assert last(desk, DONE, "a.json") == ("skipped", "b", "") and waiting(desk) == ["b"]


def test_a_drop_until_started_gives_the_key_up_at_once(desk: Desk) -> None:
    """A drop that a free worker starts."""
    desk.start(drop(desk, "a.json", unique_until="started"))
    assert isinstance(desk.claim(drop(desk, "b.json")), Claimed)


def test_a_job_behind_a_full_gate_keeps_its_key(desk: Desk, other_desk: Desk) -> None:
    """Its claim puts it back without a start; a newcomer that comes at that moment is skipped, too."""
    desk.enqueue(id="first", key="x")
    other_desk.start(only_of(desk, "first"))
    add(desk, "a", unique_until="started", key="x")
    assert isinstance(desk.claim(only_of(desk, "a")), Gated)
    assert add(desk, "b", unique_until="started") == "a"
    os.rename(desk.spool.path(PENDING, only_of(desk, "a")), desk.spool.path(RUNNING, "a.json"))
    assert add(desk, "b", unique_until="started") == "a"


def test_a_retry_of_a_job_that_has_started_keeps_nobody_out(desk: Desk) -> None:
    """Also if its note could not be put right when it was settled."""
    add(desk, "a", unique_until="started", max_retries=1)
    note = key_notes.read(desk.spool, "k")
    assert note is not None
    desk.run(only(desk.spool, PENDING), FAILED)
    key_notes.write(desk.spool, "k", note, sync=False)
    assert add(desk, "b", unique_until="started") == "b"
    assert waiting(desk) == ["a", "b"]


def test_a_drop_with_another_id_than_its_name_is_started(desk: Desk) -> None:
    """Its record gets its name first, and is claimed as a record: under the lock of its key, too."""
    claimed = desk.start(drop(desk, "a.json", id="mine"))
    assert claimed.job_id == "mine" and noted(desk) == "mine"


def test_a_drop_whose_key_is_busy_goes_back(desk: Desk) -> None:
    """Unchanged."""
    name = drop(desk, "a.json")
    with key_notes.locked(desk.spool, "k", patience_s=0):
        assert desk.claim(name) == Busy()
    assert json.loads(Path(desk.spool.path(PENDING, name)).read_text()) == {"command": "true", "unique": "k"}


def test_lines_of_a_file_are_judged_one_by_one(desk: Desk) -> None:
    """The first one waits, the others are in done/; and so are they if the split is repeated."""
    lines = "".join(json.dumps({"command": "true", "unique": f"k{number % 2}"}) + "\n" for number in range(6))
    desk.claim(desk.drop("many.json", f"[{','.join(lines.splitlines())}]"))
    desk.finish_splits()
    assert len(desk.spool.waiting_names()) == 2 and len(desk.spool.job_names(DONE)) == 4


# ------------------------------------------------------------------------------------------------------- what it costs


def test_a_plain_job_opens_nothing_of_unique_keys(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at enqueue, nor at the claim, nor at settling."""
    monkeypatch.setattr(key_notes, "locked", None)
    monkeypatch.setattr(unique_enqueue, "publish", None)
    desk.run(desk.enqueue(id="a", queue="q"), OK)
    desk.run(desk.drop("b.json", {"command": "true", "key": "x"}), OK)
    assert not os.path.exists(desk.spool.unique_dir)


def test_the_note_is_synced_as_the_job_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that a power cut took would let a duplicate in."""
    synced: list[str] = []
    create = disk.create

    def watch(path: str, data: bytes, *, sync: bool, **more: Any) -> None:
        if sync:
            synced.append(os.path.basename(path).partition(".")[0])
        create(path, data, sync=sync, **more)

    monkeypatch.setattr(disk, "create", watch)
    add(desk, "a")
    assert synced == ["unique", "a"]
    assert msgspec.json.decode(Path(desk.spool.unique_path("k")).read_bytes())["id"] == "a"
    assert RUNNING  # the states are those of the folder


def test_unique_jobs_of_one_call_share_their_syncs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred of them cost two batches of syncs; each is judged as if it came alone."""
    calls: list[str] = []
    for name in ("sync_files", "sync_folder"):
        real = getattr(disk, name)
        monkeypatch.setattr(disk, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    create = disk.create

    def watch(path: str, data: bytes, *, sync: bool, **more: Any) -> None:
        if sync:
            calls.append("alone")
        create(path, data, sync=sync, **more)

    monkeypatch.setattr(disk, "create", watch)
    given = put_in(desk, [f"key-{number}" for number in range(100)])
    assert len(set(given)) == 100 == len(desk.spool.waiting_names())
    assert sorted(calls) == ["sync_files"] * 4 + ["sync_folder"] * 2


def test_jobs_of_one_call_are_judged_in_their_order(desk: Desk) -> None:
    """A key that comes twice in a call, among others and plain jobs, keeps the second one out."""
    first, plain, other, again, last_one = put_in(desk, ["a", "", "b", "a", "c"])
    assert again == first and not again.added and again.reason == f"{first} has the same unique key and waits"
    assert waiting(desk) == sorted([first, plain, other, last_one])
    assert [key_notes.read(desk.spool, key).id for key in "abc"] == [first, other, last_one]


def test_a_busy_lock_of_one_of_several_keeps_all_of_its_batch_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the call remains, and the other locks are free again."""
    monkeypatch.setattr(key_notes, "PATIENCE_S", 0.0)
    with key_notes.locked(desk.spool, "b", patience_s=0), pytest.raises(SpoolUnavailableError, match="unique key 'b'"):
        put_in(desk, ["a", "b", "c"])
    assert waiting(desk) == []
    assert len(put_in(desk, ["a", "b", "c"])) == 3


def put_in(desk: Desk, keys: list[str]) -> list[Any]:
    """Enqueue jobs with these unique keys ("": none) by one call; return the ids that the producer gives."""
    documents = [{"command": "true", **({"unique": key} if key else {})} for key in keys]
    return submission.put_in(desk.producer, [desk.producer.prepare(each, by="enqueue") for each in documents])
