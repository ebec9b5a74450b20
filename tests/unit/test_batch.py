"""batch: files that hold many jobs."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from queuectl import batch, fsops
from queuectl.lifecycle import DONE, PENDING, REJECTED
from tests.helpers import Desk, listing, without_arrival

JOBS: list[dict[str, Any]] = [{"command": f"echo {number}"} for number in range(3)]


def _take(desk: Desk, name: str, content: object) -> str:
    desk.drop(name, content)
    return batch.take(desk.spool, name, name.partition(".")[0], clock=desk.clock, rng=desk.rng)


def _split(desk: Desk, taken: str, *, again: bool = False) -> int:
    return batch.split(desk.spool, desk.settings, taken, may_be_there=again, clock=desk.clock, rng=desk.rng)


def _undo_end(desk: Desk, taken: str) -> None:
    """As a crash just before the end of the split leaves it."""
    os.rename(f"{desk.spool.taken_dir}/{taken}.done", f"{desk.spool.taken_dir}/{taken}")


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
    names = desk.spool.job_names(PENDING)
    assert list(map(without_arrival, names)) == [f"{batch.token_of(taken)}-{place:04d}.json" for place in (1, 2, 3)]
    assert desk.record(PENDING, names[0]).history[0].batch == f"{batch.token_of(taken)}#1"
    assert os.listdir(desk.spool.taken_dir) == [f"{taken}.done"]


def test_bad_documents_are_rejected_one_by_one(desk: Desk) -> None:
    """A bad job in a batch stops none of the good ones, and is kept with its reason (P6)."""
    documents = [JOBS[0], 5, {"comand": "x"}, JOBS[1], {"command": "x", "id": "../x"}, {"command": "\ud800"}]
    taken = _take(desk, "jobs.json", documents)
    assert _split(desk, taken) == 2
    token = batch.token_of(taken)
    assert listing(desk.spool)["rejected"] == sorted(
        f"{token}-{place:04d}.json{ending}" for place in (2, 3, 5, 6) for ending in ("", ".reason.txt")
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
    assert len(listing(desk.spool)["rejected"]) == 4


@pytest.mark.parametrize(
    "documents",
    [JOBS, [{**item, "id": f"id{place}"} for place, item in enumerate(JOBS)], [{**item, "id": None} for item in JOBS]],
)
@pytest.mark.parametrize("survivors", [0, 1, 3])
def test_split_that_was_cut_short_is_finished_without_doubling(
    desk: Desk, documents: list[dict[str, Any]], survivors: int
) -> None:
    """A crash anywhere in a split loses no job and makes none twice (P1)."""
    taken = _take(desk, "jobs.json", documents)
    _split(desk, taken)
    _undo_end(desk, taken)
    for name in desk.spool.job_names(PENDING)[survivors:]:
        os.unlink(desk.spool.path(PENDING, name))
    assert _split(desk, taken, again=True) == 3
    assert _commands(desk) == ["echo 0", "echo 1", "echo 2"]
    assert "rejected" not in listing(desk.spool)


def test_job_that_ran_before_the_split_was_finished_does_not_run_again(desk: Desk) -> None:
    """What came of the batch is looked for in every state."""
    taken = _take(desk, "jobs.json", JOBS)
    _split(desk, taken)
    _undo_end(desk, taken)
    name = desk.spool.job_names(PENDING)[0]
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(DONE, without_arrival(name)))
    assert _split(desk, taken, again=True) == 3
    assert len(_commands(desk)) == 3


def test_rejects_of_a_split_that_was_cut_short_are_not_doubled(desk: Desk) -> None:
    """Finishing a split writes each reason once."""
    taken = _take(desk, "jobs.json", [JOBS[0], 5])
    _split(desk, taken)
    before = listing(desk.spool)
    _undo_end(desk, taken)
    _split(desk, taken, again=True)
    assert listing(desk.spool) == before


def test_id_that_is_taken_in_the_midst_of_a_split(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that takes an id just then costs the batch only that one job (P7)."""
    taken = _take(desk, "jobs.json", [{"command": "batch", "id": job_id} for job_id in ("a", "b", "c")])
    real = fsops.publish

    def racing(source: str, target: str) -> None:
        if target.endswith("b.json") and not os.path.exists(target):
            desk.drop("b.json", {"command": "theirs", "id": "b"})
        real(source, target)

    monkeypatch.setattr(fsops, "publish", racing)
    assert _split(desk, taken) == 2
    assert listing(desk.spool)["pending"] == ["a.json", "b.json", "c.json"]
    assert json.loads(Path(desk.spool.path(PENDING, "b.json")).read_text())["command"] == "theirs"
    assert len(listing(desk.spool)["rejected"]) == 2


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
    assert _split(desk, taken, again=True) == 1
    assert "rejected" not in listing(desk.spool)


def test_single_document_in_a_file_of_many(desk: Desk) -> None:
    """A file that became one object meanwhile is one job."""
    taken = _take(desk, "jobs.json", JOBS[0])
    assert _split(desk, taken) == 1


def test_take_of_what_is_gone_says_so(desk: Desk) -> None:
    """Somebody else was first."""
    with pytest.raises(FileNotFoundError):
        batch.take(desk.spool, "x.json", "x", clock=desk.clock, rng=random.Random(1))
