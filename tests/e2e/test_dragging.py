"""What a person does with a file manager while a pool runs: 18 cases of move, copy, rename and delete.

    of a waiting file   deleted; moved to dlq/; moved to done/; a drop copied; an enqueued one copied;
                        a drop renamed; an enqueued one renamed; a folder dropped; one named like a job dropped
    of a running job    deleted; moved to pending/; moved to done/
    of an ended one     dlq/ to pending/; done/ to pending/; copied from dlq/ to pending/;
                        a dead one deleted; dlq/ to done/
    of a rejected one   moved to pending/ once corrected

What each of them does is told in the spool's README.md and in FORMAT.md, section 4.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.helpers import listing, named, names_in, wait_until, write_drop
from tests.pool import PYTHON, SUCCEED, Pool, Witness, command_of, ends_with, is_running

_WAIT = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)"


@contextmanager
def held_up(spool: SpoolDir, gate: Path) -> Iterator[Pool]:
    """A pool whose one worker runs a job for as long as this lasts, so that files in pending/ wait; then all is run."""
    Spool(spool.root).enqueue([*PYTHON, _WAIT, str(gate)], id="gate")
    with Pool(spool, count=1) as pool:
        pool.event("started", "gate")
        yield pool
        gate.touch()
        pool.event("succeeded", "gate")
        Spool(spool.root).enqueue(SUCCEED, id="last", priority=-9)
        pool.event("succeeded", "last")


def events(spool: SpoolDir, state: str, name: str) -> list[str]:
    """The kinds of events in a record."""
    return [event.event for event in spool.read(state, name).record.history]


def test_what_is_done_to_a_waiting_file_counts_before_it_starts(spool: SpoolDir, tmp_path: Path) -> None:
    """P2, P7, P11: deleted, moved away, copied, renamed, or a folder among the files: what lies there is what runs."""
    witness = Witness(tmp_path / "witness")
    path = spool.path
    with held_up(spool, tmp_path / "gate"):
        for job_id in ("deleted", "to-dlq", "to-done", "copied", "renamed"):
            Spool(spool.root).enqueue(witness.command(), id=job_id)
        for name in ("dropped", "named"):
            write_drop(spool, f"{name}.json", {"command": witness.command()})

        def waiting(name: str) -> str:
            return path("pending", named(spool, "pending", f"{name}.json"))

        os.remove(waiting("deleted"))
        os.rename(waiting("to-dlq"), path("dlq", "to-dlq.json"))
        os.rename(waiting("to-done"), path("done", "to-done.json"))
        shutil.copy(waiting("copied"), path("pending", "copied (copy).json"))
        shutil.copy(waiting("dropped"), path("pending", "dropped 2.json"))
        os.rename(waiting("renamed"), path("pending", "other.json"))
        os.rename(waiting("named"), path("pending", "anew.json"))
        os.mkdir(path("pending", "folder"))
        os.mkdir(path("pending", "folder.json"))
        write_drop(spool, "folder/inside.json", {"command": witness.command()})
    ran = sorted({job_id for _, job_id, _, _ in witness.lines()})
    copies = [job_id for job_id in ran if job_id.startswith("copied-copy")]
    assert len(copies) == 1
    assert ran == sorted(["anew", "copied", copies[0], "dropped", "dropped-2", "renamed"])
    assert all(len(witness.starts(job_id)) == 1 for job_id in ran)
    assert sorted(names_in(spool, "pending")) == ["folder", "folder.json"]
    assert os.listdir(path("pending", "folder")) == ["inside.json"]
    assert names_in(spool, "dlq") == ["to-dlq.json"] and events(spool, "dlq", "to-dlq.json") == ["enqueued"]
    assert events(spool, "done", "to-done.json") == ["enqueued"]
    assert "warning" in events(spool, "done", f"{copies[0]}.json") or "warning" in events(spool, "done", "copied.json")


def test_deleting_the_file_of_a_running_job_ends_its_command(spool: SpoolDir, tmp_path: Path) -> None:
    """P2, P3: whoever deletes a running job's file wants its end; the worker goes on with the next job."""
    witness = Witness(tmp_path / "witness")
    Spool(spool.root).enqueue(witness.command(seconds=60), id="job")
    with Pool(spool, count=1) as pool:
        pid = wait_until(lambda: command_of(pool, "job"))
        wait_until(lambda: witness.starts("job"))
        began = time.monotonic()
        os.remove(spool.path("running", "job.json"))
        wait_until(lambda: not is_running(pid))
        assert time.monotonic() - began < 40  # of the 60 s that it would run
        assert pool.event("vanished", "job")["outcome"] == "cancelled"
        Spool(spool.root).enqueue(SUCCEED, id="next")
        pool.event("succeeded", "next")
    assert listing(spool) == {"done": ["next.json"]}
    assert len(witness.starts("job")) == 1


def test_moving_the_file_of_a_running_job_to_pending_runs_it_again_when_its_command_has_ended(
    spool: SpoolDir, tmp_path: Path
) -> None:
    """P3: two runs never overlap, and nobody waits for a minute."""
    witness = Witness(tmp_path / "witness")
    Spool(spool.root).enqueue(witness.command(seconds="60,0"), id="job")
    with Pool(spool, count=2) as pool:
        wait_until(lambda: witness.starts("job"))
        os.rename(spool.path("running", "job.json"), spool.path("pending", "job.json"))
        pool.event("succeeded", "job")
    assert witness.overlapping() == []
    assert len(witness.starts("job")) == 2
    assert listing(spool) == {"done": ["job.json"]}
    assert events(spool, "done", "job.json") == ["enqueued", "started", "abandoned", "started", "succeeded"]


def test_moving_the_file_of_a_running_job_to_done_ends_it_and_leaves_it_there(spool: SpoolDir, tmp_path: Path) -> None:
    """P2: the folder is the state: what a person put into done/ is done."""
    witness = Witness(tmp_path / "witness")
    Spool(spool.root).enqueue(witness.command(seconds=60), id="job")
    with Pool(spool, count=1) as pool:
        pid = wait_until(lambda: command_of(pool, "job"))
        os.rename(spool.path("running", "job.json"), spool.path("done", "job.json"))
        wait_until(lambda: not is_running(pid))
        pool.event("vanished", "job")
    assert listing(spool) == {"done": ["job.json"]}
    assert events(spool, "done", "job.json") == ["enqueued", "started"]


def test_what_has_ended_runs_again_when_it_is_dragged_to_pending(spool: SpoolDir, tmp_path: Path) -> None:
    """P7: from dlq/ with all its retries afresh, from done/ once more; a copy is kept beside it; the text follows."""
    witness = Witness(tmp_path / "witness")
    Spool(spool.root).enqueue(witness.command(code=3), id="dead", max_retries=1, backoff_base=0)
    Spool(spool.root).enqueue(witness.command(), id="done")
    text = Path(spool.error_path("dead.json"))
    with Pool(spool, count=2):
        ends_with(spool, {"dlq": 1, "done": 1})
        assert "drag dead.json to pending/" in wait_until(lambda: text.exists() and text.read_text())
        first = text.read_text()
        os.rename(spool.path("dlq", "dead.json"), spool.path("pending", "dead.json"))
        os.rename(spool.path("done", "done.json"), spool.path("pending", "done.json"))
        wait_until(lambda: len(witness.ends("dead")) == 4 and len(witness.ends("done")) == 2)
        ends_with(spool, {"dlq": 1, "done": 1})
        wait_until(lambda: text.exists() and text.read_text() != first)
        assert "attempt 4 ended with exit code 3" in text.read_text()
        shutil.copyfile(spool.path("dlq", "dead.json"), spool.path("pending", "dead.json"))
        ends_with(spool, {"dlq": 2, "done": 1})
        (twin,) = set(spool.job_names("dlq")) - {"dead.json"}
        assert len(witness.starts("dead")) == 4  # the copy runs, and its texts are kept, under an id of its own
        assert len(witness.starts(twin.removesuffix(".json"))) == 2
        assert len(events(spool, "dlq", twin)) == 16 and len(events(spool, "dlq", "dead.json")) == 10
        assert spool.read("dlq", twin).record.id == twin.removesuffix(".json")
        os.remove(spool.path("dlq", twin))
        os.rename(spool.path("dlq", "dead.json"), spool.path("done", "dead.json"))
        Spool(spool.root).enqueue(SUCCEED, id="next")
        ends_with(spool, {"dlq": 0, "done": 3})
    assert events(spool, "done", "dead.json") == [
        "enqueued", "started", "failed", "started", "failed",
        "requeued", "started", "failed", "started", "failed",
    ]  # fmt: skip
    with Pool(spool, "--drain") as pool:  # a pool takes away, when it starts, the texts of jobs that are gone
        assert pool.wait() == 0
    assert listing(spool) == {"done": ["dead.json", "done.json", "next.json"]}


def test_a_rejected_file_that_was_corrected_runs_when_it_is_moved_to_pending(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: it is judged afresh; the reason beside the old one stays for its owner to delete."""
    write_drop(spool, "job.json", {"comand": SUCCEED})
    with Pool(spool, count=1) as pool:
        wait_until(lambda: "job.json" in names_in(spool, "rejected"))
        corrected = tmp_path / "job.json"
        os.rename(spool.path("rejected", "job.json"), corrected)
        corrected.write_text(json.dumps({"command": SUCCEED}))
        os.rename(corrected, spool.path("pending", "job.json"))
        pool.event("succeeded", "job")
    assert listing(spool) == {"done": ["job.json"], "rejected": ["job.json.reason.txt"]}
