"""batch and splitting: files that hold many jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queuectl.api import Spool
from queuectl.errors import UnknownJobError
from queuectl.jobs import lines, splitter
from queuectl.jobs.splitter import Splitter
from queuectl.maintenance.retention import Retention
from queuectl.model import names
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import DONE, PENDING, REJECTED, Outcome
from queuectl.monitor.why import explain
from queuectl.spool import batch, clock_note
from queuectl.spool.roster import Roster
from queuectl.system import disk, files
from tests.helpers import Desk, full_disk, listing, without_arrival

JOBS: list[dict[str, Any]] = [{"command": f"echo {number}"} for number in range(3)]


def _take(desk: Desk, name: str, content: object) -> str:
    desk.drop(name, content)
    return _splitter(desk).take(name, names.clean_id(name.partition(".")[0]))


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the lines a step: what a step does is the same, and a tenth of the files is made."""
    assert splitter.STEP_LINES == 500
    monkeypatch.setattr(splitter, "STEP_LINES", 50)


def _splitter(desk: Desk) -> Splitter:
    roster = Roster(desk.spool, clock=desk.clock)
    return Splitter(desk.session, roster)


def _split(desk: Desk, taken: str) -> int:
    """Split a file to its end, each step by a process of its own."""
    while not (step := _splitter(desk).step(taken)).note.is_over and not step.kept:
        pass
    return step.note.made


def _undo_end(desk: Desk, taken: str, *, note: str = "first") -> None:
    """As a crash leaves a split: before the note of its `first` step is written, or with its `last` note, or `none`."""
    os.rename(f"{desk.spool.taken_dir}/{taken}.done", f"{desk.spool.taken_dir}/{taken}")
    path = Path(desk.spool.split_path(batch.token_of(taken)))
    if note == "none":
        path.unlink()
    elif note == "first":
        path.write_bytes(msgspec.json.encode(batch.Note("jobs.json", "somebody")))


def _commands(desk: Desk) -> list[str]:
    found = []
    for state in (PENDING, DONE):
        for name in desk.spool.job_names(state):
            command = desk.record(state, name).command
            assert isinstance(command, str)
            found.append(command)
    return sorted(found)


def test_taken_batch_has_a_name_of_its_own(desk: Desk) -> None:
    """Dropping jobs.json every night makes different jobs each time (P7)."""
    one, two = _take(desk, "jobs.json", JOBS), _take(desk, "jobs.json", JOBS)
    assert one != two
    assert sorted(batch.unfinished(desk.spool)) == sorted([one, two])
    _split(desk, one)
    _split(desk, two)
    assert batch.unfinished(desk.spool) == []
    assert len(desk.spool.job_names(PENDING)) == 6


@pytest.mark.parametrize(
    ("name", "content"), [("jobs.json", JOBS), ("jobs.jsonl", "\n".join(json.dumps(item) for item in JOBS))]
)
def test_every_document_becomes_a_job(desk: Desk, name: str, content: object) -> None:
    """An array and lines are the same jobs, and each says where it came from."""
    taken = _take(desk, name, content)
    assert _split(desk, taken) == 3
    assert _commands(desk) == ["echo 0", "echo 1", "echo 2"]
    found = desk.spool.job_names(PENDING)
    assert list(map(without_arrival, found)) == [f"{batch.token_of(taken)}-{place:04d}.json" for place in (1, 2, 3)]
    assert desk.record(PENDING, found[0]).history[0].batch == f"{batch.token_of(taken)}#1"
    assert os.listdir(desk.spool.taken_dir) == [f"{taken}.done"]


def test_bad_documents_are_rejected_one_by_one(desk: Desk) -> None:
    """A bad job in a batch stops none of the good ones, and is kept with its reason (P6)."""
    documents = [JOBS[0], 5, {"comand": "x"}, JOBS[1], {"command": "x", "id": "../x"}, {"command": "\ud800"}]
    taken = _take(desk, "jobs.json", documents)
    assert _split(desk, taken) == 2
    token = batch.token_of(taken)
    assert listing(desk.spool)["rejected"] == sorted(
        [
            *(f"{token}-{place:04d}.json{ending}" for place in (2, 3, 5, 6) for ending in ("", ".reason.txt")),
            f"{token}.split.txt",
        ]
    )
    assert json.loads(Path(desk.spool.path(REJECTED, f"{token}-0003.json")).read_bytes()) == {"comand": "x"}


def test_line_that_does_not_parse_is_rejected_with_its_text(desk: Desk) -> None:
    """A line is kept as it was written (P6)."""
    taken = _take(desk, "jobs.jsonl", '{"command": "a"}\n{"command": b}\n{"command": "c"}\n')
    assert _split(desk, taken) == 2
    kept = Path(desk.spool.path(REJECTED, f"{batch.token_of(taken)}-0002.json"))
    assert kept.read_text() == '{"command": b}\n'


def test_ids_of_a_batch_are_kept_and_duplicates_rejected(desk: Desk) -> None:
    """A document's own id counts; one that is taken, or comes twice, is kept in rejected/ (P7)."""
    desk.enqueue(id="there")
    documents = [{"command": "x", "id": job_id} for job_id in ("mine", "there", "MINE", "other")]
    taken = _take(desk, "jobs.json", documents)
    assert _split(desk, taken) == 2
    assert list(map(without_arrival, desk.spool.job_names(PENDING))) == ["mine.json", "other.json", "there.json"]
    assert desk.record(PENDING, "there.json").command == "true"
    assert len(listing(desk.spool)["rejected"]) == 4 + 1


@pytest.mark.parametrize(
    "documents",
    [JOBS, [{**item, "id": f"id{place}"} for place, item in enumerate(JOBS)], [{**item, "id": None} for item in JOBS]],
)
@pytest.mark.parametrize("survivors", [0, 1, 3])
@pytest.mark.parametrize("note", ["none", "first"])
def test_split_that_was_cut_short_is_finished_without_doubling(
    desk: Desk, documents: list[dict[str, Any]], survivors: int, note: str
) -> None:
    """A crash anywhere in a split loses no job and makes none twice (P1)."""
    taken = _take(desk, "jobs.json", documents)
    _split(desk, taken)
    _undo_end(desk, taken, note=note)
    for name in desk.spool.job_names(PENDING)[survivors:]:
        os.unlink(desk.spool.path(PENDING, name))
    assert _split(desk, taken) == 3
    assert _commands(desk) == ["echo 0", "echo 1", "echo 2"]
    assert "rejected" not in listing(desk.spool)


def test_job_that_ran_before_the_split_was_finished_does_not_run_again(desk: Desk) -> None:
    """What came of the batch is looked for in every state."""
    taken = _take(desk, "jobs.json", JOBS)
    _split(desk, taken)
    _undo_end(desk, taken)
    name = desk.spool.job_names(PENDING)[0]
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(DONE, without_arrival(name)))
    assert _split(desk, taken) == 3
    assert len(_commands(desk)) == 3


def test_rejects_of_a_split_that_was_cut_short_are_not_doubled(desk: Desk) -> None:
    """Finishing a split writes each reason once."""
    taken = _take(desk, "jobs.json", [JOBS[0], 5])
    _split(desk, taken)
    before = listing(desk.spool)
    _undo_end(desk, taken)
    _split(desk, taken)
    assert listing(desk.spool) == before


def test_id_that_is_taken_in_the_midst_of_a_split(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that takes an id just then costs the batch only that one job (P7)."""
    taken = _take(desk, "jobs.json", [{"command": "batch", "id": job_id} for job_id in ("a", "b", "c")])
    real = disk.publish

    def racing(source: str, target: str) -> None:
        if target.endswith("b.json") and not os.path.exists(target):
            desk.drop("b.json", {"command": "theirs", "id": "b"})
        real(source, target)

    monkeypatch.setattr(disk, "publish", racing)
    assert _split(desk, taken) == 2
    assert listing(desk.spool)["pending"] == ["a.json", "b.json", "c.json"]
    assert json.loads(Path(desk.spool.path(PENDING, "b.json")).read_text())["command"] == "theirs"
    assert len(listing(desk.spool)["rejected"]) == 2 + 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jobs.jsonl", b'{"command": "a"}\n{"command": "b"}\n{"comm'),
        ("jobs.json", b'[{"command": "a"}, {"command'),
        ("jobs.json", b'[{"command": "a", "command": "b"}]'),
    ],
)
def test_batch_that_is_not_whole_after_all_is_rejected_unchanged(desk: Desk, name: str, content: bytes) -> None:
    """A file that was overwritten between the look and the split is kept whole, not thrown away (P6)."""
    taken = _take(desk, name, content)
    assert _split(desk, taken) == 0
    assert batch.unfinished(desk.spool) == []
    kept = [item for item in listing(desk.spool)["rejected"] if not item.endswith(".reason.txt")]
    assert len(kept) == 1
    assert Path(desk.spool.path(REJECTED, kept[0])).read_bytes() == content


def test_document_with_a_history_is_a_new_job(desk: Desk) -> None:
    """Jobs exported from another spool start afresh, and a split of them can be finished (P1)."""
    history = [{"at": "2027-01-15T08:00:00.000Z", "event": "succeeded", "to": "done"}]
    taken = _take(desk, "jobs.json", [{"command": "a", "id": "x", "history": history}])
    assert _split(desk, taken) == 1
    assert desk.events(PENDING, "x.json") == ["enqueued"]
    _undo_end(desk, taken)
    assert _split(desk, taken) == 1
    assert "rejected" not in listing(desk.spool)


def test_single_document_in_a_file_of_many(desk: Desk) -> None:
    """A file that became one object meanwhile is one job."""
    taken = _take(desk, "jobs.json", JOBS[0])
    assert _split(desk, taken) == 1


def test_take_of_what_is_gone_says_so(desk: Desk) -> None:
    """Somebody else was first."""
    with pytest.raises(FileNotFoundError):
        _splitter(desk).take("x.json", "x")
    assert os.listdir(desk.spool.split_dir) == []


# ----------------------------------------------------------------------------------------------------------- in steps


def _lines(count: int, **keys: Any) -> str:
    return "".join(json.dumps({"command": f"echo {number}", **keys}) + "\n" for number in range(count))


def _note(desk: Desk, taken: str) -> batch.Note:
    note = batch.read_note(desk.spool, batch.token_of(taken))
    assert note is not None
    return note


@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.json"])
@pytest.mark.usefixtures("short_steps")
def test_a_step_is_bounded_and_leaves_a_note(desk: Desk, name: str) -> None:
    """P5: a large file is split in steps of at most 500 jobs, and the note tells how far that has come."""
    content = _lines(120) if name == "jobs.jsonl" else [{"command": f"echo {number}"} for number in range(120)]
    taken = _take(desk, name, content)
    worker = _splitter(desk)
    made = []
    while not (step := worker.step(taken)).note.is_over:
        assert _note(desk, taken) == step.note
        assert len(desk.spool.job_names(PENDING)) == step.note.made
        made.append(len(step.names))
    assert made == [50, 50]
    assert len(step.names) == 20
    assert len(_commands(desk)) == len(set(_commands(desk))) == 120


def test_a_step_ends_when_its_time_is_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P5: where the disk is slow, or lines are blank, a step ends after a tenth of a second, and each one gets on."""
    taken = _take(desk, "jobs.jsonl", "\n" * 50 + _lines(50))
    prepare = lines.read

    def slow(*facts: Any) -> Iterator[Any]:
        for line in prepare(*facts):
            desk.clock.advance(0.04)
            yield line

    monkeypatch.setattr(lines, "read", slow)
    made = _splitter(desk)
    steps = 1
    while not made.step(taken).note.is_over:
        steps += 1
    assert 30 <= steps <= 60
    assert len(_commands(desk)) == 50


@pytest.mark.usefixtures("short_steps")
@pytest.mark.parametrize("keys", [{}, {"priority": 3}])
def test_steps_of_one_worker_list_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]) -> None:
    """P5: a split whose lines have no ids of their own costs no listing of pending/ and no look at any job."""
    made = _splitter(desk)
    taken = made.take(desk.drop("jobs.jsonl", _lines(110, **keys)), "jobs")
    monkeypatch.setattr(files, "names", None)
    monkeypatch.setattr(desk.spool, "read", None)
    while not made.step(taken).note.is_over:
        pass
    assert len(os.listdir(desk.spool.folder(PENDING))) == 111


@pytest.mark.usefixtures("short_steps")
def test_a_split_that_was_cut_short_lists_twice_a_step_at_most(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P5: what it costs to go on after a crash does not grow with the square of the lines."""
    taken = _take(desk, "jobs.jsonl", _lines(160))
    _splitter(desk).step(taken)
    before = _note(desk, taken)
    _splitter(desk).step(taken)
    splitter.write_note(desk.session, batch.token_of(taken), before)  # as before that step
    listed = []
    real = files.names
    monkeypatch.setattr(files, "names", lambda folder: listed.append(folder) or real(folder))
    made = _splitter(desk)
    assert made.step(taken).names == ()
    assert len(listed) <= 4
    listed.clear()
    while not made.step(taken).note.is_over:
        pass
    assert listed == []
    assert len(_commands(desk)) == len(set(_commands(desk))) == 160


@pytest.mark.usefixtures("short_steps")
def test_workers_that_take_turns_at_one_file_make_each_job_once(desk: Desk) -> None:
    """P1: each step is made by another worker, and one of them dies in each before its note is written."""
    taken = _take(desk, "jobs.jsonl", _lines(230))
    splitters = [_splitter(desk) for _ in range(3)]
    for number in range(30):
        before = _note(desk, taken)
        step = splitters[number % 3].step(taken)
        if step.note.is_over:
            break
        if number % 3 == 1:
            splitter.write_note(desk.session, batch.token_of(taken), before)
            splitters[1] = _splitter(desk)
    assert len(_commands(desk)) == len(set(_commands(desk))) == 230


def test_step_that_failed_is_made_again_without_doubling(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1, P9: a full disk in the middle of a step, after a job of it has run, costs the step and no more."""
    taken = _take(desk, "jobs.jsonl", _lines(20))
    made = _splitter(desk)
    real = disk.publish
    done = []

    def failing(source: str, target: str) -> None:
        if len(done) == 10:
            desk.run(os.path.basename(done[3]), Outcome("succeeded", 0, "", 0.01))
            done.append("")
            full_disk()
        real(source, target)
        done.append(target)

    monkeypatch.setattr(disk, "publish", failing)
    with pytest.raises(OSError, match="No space"):
        made.step(taken)
    assert made.step(taken).note.made == 20
    assert len(_commands(desk)) == len(set(_commands(desk))) == 20


@pytest.mark.usefixtures("short_steps")
def test_damaged_note_is_no_note(desk: Desk) -> None:
    """P1: a note that a power cut emptied, or somebody edited, has every line looked for."""
    taken = _take(desk, "jobs.jsonl", _lines(70))
    made = _splitter(desk)
    made.step(taken)
    for damage in (b"", b"{}", b'{"file": "x", "by": "y", "place": -1}', b"\0" * 50):
        Path(desk.spool.split_path(batch.token_of(taken))).write_bytes(damage)
        assert made.step(taken).note.made == 50
    assert _split(desk, taken) == 70
    assert len(_commands(desk)) == len(set(_commands(desk))) == 70


def test_file_of_many_says_what_became_of_every_line(desk: Desk) -> None:
    """P6: a text in rejected/ names the lines that were refused and why, and where they and the file are."""
    content = _lines(2) + "{broken\n\n" + '{"comand": "x"}\n' + "5\n" * 30
    taken = _take(desk, "my jobs.jsonl", content)
    assert _split(desk, taken) == 2
    note = _note(desk, taken)
    assert (note.file, note.made, note.refused) == ("my jobs.jsonl", 2, 32)
    assert batch.refused_text(note) == "32 lines were refused: see rejected/"
    text = Path(desk.spool.split_text_path(batch.token_of(taken))).read_text()
    assert text.startswith("my jobs.jsonl was split into 2 jobs; 32 were refused:\n")
    for part in ("line 3: line 3 is not valid JSON", "line 5: ", "and 12 more", f"taken/{taken}.done", "-PLACE.json"):
        assert part in text
    assert all(len(row) < 400 and row.isprintable() for row in text.splitlines())


def test_file_of_good_jobs_leaves_no_text(desk: Desk) -> None:
    """P6: there is nothing to say in rejected/ of a file whose lines all became jobs."""
    taken = _take(desk, "jobs.jsonl", _lines(3))
    _split(desk, taken)
    assert "rejected" not in listing(desk.spool)
    assert batch.outcome_text(_note(desk, taken)) == "3 jobs"


def test_line_that_no_job_can_be_is_kept_byte_by_byte(desk: Desk) -> None:
    """P6: a line larger than a job may be, and one that is changed into no text, are kept as they are."""
    long = b'{"command": "' + b"x" * (3 * JOB_MAX_BYTES) + b'"}\n'
    taken = _take(desk, "jobs.jsonl", long + b'{"command": "echo 0"}\n')
    assert _split(desk, taken) == 1
    assert Path(desk.spool.path(REJECTED, f"{batch.token_of(taken)}-0001.json")).read_bytes() == long


@pytest.mark.parametrize("job_id", ["own", "20261124-031500-120345-7f3k"])
def test_job_with_flags_that_was_made_before_a_crash_is_found(desk: Desk, job_id: str) -> None:
    """P1, P7: its own id, of whatever form, and a name with flags hide no job from whoever takes the split over."""
    taken = _take(desk, "jobs.json", [{"command": "true", "id": job_id, "priority": 3}, {"command": "true"}])
    assert _split(desk, taken) == 2
    _undo_end(desk, taken)
    assert _split(desk, taken) == 2
    assert len(desk.spool.job_names(PENDING)) == 2
    assert "rejected" not in listing(desk.spool)


@pytest.mark.skipif(os.name == "nt", reason="POSIX: links")
def test_name_that_something_else_has_refuses_one_line_only(desk: Desk) -> None:
    """P6, P7: what is no job and has the name that a line's job would get costs only that line."""
    os.symlink("nowhere", desk.spool.path(PENDING, "own,prio=3.json"))
    taken = _take(desk, "jobs.json", [{"command": "a", "id": "own", "priority": 3}, {"command": "b"}])
    assert _split(desk, taken) == 1
    assert _note(desk, taken).refused == 1


def test_why_says_what_became_of_a_file_of_many(desk: Desk) -> None:
    """P6: asked for the name that was dropped, `why` says how many jobs there are, what was refused, and where."""
    api = Spool(desk.spool.root)
    with pytest.raises(UnknownJobError):
        explain(api.session, "jobs.jsonl", now_at=desk.clock.now())
    taken = _take(desk, "jobs.jsonl", _lines(600) + "[]\n")
    _splitter(desk).step(taken)
    answer = explain(api.session, "jobs.jsonl", now_at=desk.clock.now())
    assert [reason.text for reason in answer.reasons] == ["it is being split: 500 jobs so far"]
    _split(desk, taken)
    answer = explain(api.session, "jobs.jsonl", now_at=desk.clock.now())
    text = "it was split into 600 jobs; 1 line was refused: see rejected/"
    assert answer.reasons == [("split", text, desk.spool.split_text_path(batch.token_of(taken)))]
    assert explain(api.session, "jobs.jsonl", now_at=desk.clock.now()) == answer


def test_retention_deletes_a_split_file_with_its_text_and_its_note(desk: Desk) -> None:
    """P6: what tells of a file of many goes with the file, counted from the split and not from the file's own time."""
    settings = desk.settings._replace(keep_done=3 * 3600.0)
    taken = _take(desk, "jobs.jsonl", "5\n")
    os.utime(f"{desk.spool.taken_dir}/{taken}", (1, 1))
    _split(desk, taken)
    note = desk.spool.split_path(batch.token_of(taken))
    os.utime(note, (desk.clock.now(), desk.clock.now()))
    clock_note.accept(desk.spool, now_at=desk.clock.now())
    made = Retention(desk.session._replace(settings=settings), desk.stripes, notify=lambda _: None)

    def passes() -> list[str]:
        made.step()
        return [*os.listdir(desk.spool.taken_dir), *os.listdir(desk.spool.split_dir)]

    for _ in range(3):
        assert len(passes()) == 2
        desk.clock.advance(3601)
    assert passes() == []
    assert not os.path.exists(desk.spool.split_text_path(batch.token_of(taken)))
