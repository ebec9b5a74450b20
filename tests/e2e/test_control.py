"""Cancelling, pausing, running again: the commands, while real pools work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import QueuectlError, SpoolUnavailableError
from queuectl.spool import cancel_requests, pause
from queuectl.spool.folder import SpoolDir
from tests.helpers import listing, named, only, wait_until
from tests.pool import SUCCEED, WINDOWS, Pool, Witness, is_running, kill, queuectl


def _events(spool: SpoolDir, state: str, job_id: str) -> list[str]:
    return [event.event for event in spool.read(state, named(spool, state, f"{job_id}.json")).record.history]


def test_a_running_job_is_ended_with_what_it_started(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: `cancel` ends the tree, the reason is on record, and the worker goes on with the next job."""
    child = tmp_path / "child"
    inner = tmp_path / "inner.py"
    inner.write_text(
        "import subprocess, sys, pathlib\n"
        "made = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(made.pid))\n"
        "made.wait()\n"
    )
    queuectl(spool, "enqueue", "--id", "long", "--", sys.executable, str(inner))
    with Pool(spool, count=1) as pool:
        wait_until(lambda: child.exists() and child.read_text())
        assert queuectl(spool, "cancel", "long", "--reason", "wrong input") == "long"
        wait_until(lambda: not is_running(int(child.read_text())))
        assert _events(spool, "dlq", "long") == ["enqueued", "started", "cancelled"]
        last = spool.read("dlq", "long.json").record.history[-1]
        assert last.reason == "wrong input; cancelled"
        queuectl(spool, "enqueue", "--id", "next", "--command", SUCCEED)
        pool.event("succeeded", "next")
    assert cancel_requests.waiting(spool) == []


def test_a_cancelled_job_runs_again_by_retry(spool: SpoolDir, tmp_path: Path) -> None:
    """What was left of the request does not end the next run."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds=0.1))
    assert queuectl(spool, "cancel", "job") == "job"
    cancel_requests.put(spool, cancel_requests.Request("job", 0, "somebody", ""))
    queuectl(spool, "retry", "job")
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    assert _events(spool, "done", "job") == ["enqueued", "cancelled", "requeued", "started", "succeeded"]
    assert len(witness.starts("job")) == 1


@pytest.mark.skipif(WINDOWS, reason="there a command ends with its worker")
def test_the_run_of_a_dead_worker_is_cancelled_once_its_command_has_ended(spool: SpoolDir, tmp_path: Path) -> None:
    """P3, P5: nobody is left to end it; it is not run again, and until then it is said that it still runs."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--", *witness.command(seconds=witness.gate))
    pool = Pool(spool, count=1)
    wait_until(lambda: witness.starts("job"))
    pool.kill_worker_of("job")
    kill(pool.pid)
    pool.wait()
    api = Spool(spool.root)
    api.session = api.session._replace(settings=api.settings._replace(kill_grace_s=-10.0))
    with pytest.raises(SpoolUnavailableError, match="is still running"):
        api.cancel("job")
    witness.open_gate()
    wait_until(lambda: witness.ends("job"))
    with Pool(spool, "--drain", count=1) as again:
        assert again.wait() == 0
    assert _events(spool, "dlq", "job") == ["enqueued", "started", "cancelled"]
    assert len(witness.starts("job")) == 1
    assert cancel_requests.waiting(spool) == []


def test_a_drop_is_cancelled_where_it_lies(spool: SpoolDir) -> None:
    """A file that no worker has looked at becomes a record that says so."""
    Path(spool.path("pending", "my job.json")).write_text(json.dumps({"command": SUCCEED, "note": [1]}))
    assert queuectl(spool, "cancel", "my-job") == "my-job"
    stored = spool.read("dlq", "my-job.json")
    assert [event.event for event in stored.record.history] == ["enqueued", "cancelled"]
    assert b'"note": [1]' in stored.data
    assert spool.waiting_names() == []


def test_a_job_that_has_ended_cannot_be_cancelled(spool: SpoolDir) -> None:
    """It is said where it is."""
    api = Spool(spool.root)
    api.enqueue("true", id="job")
    api.cancel("job", reason="first")
    with pytest.raises(QueuectlError, match="has already ended: it is in dlq/"):
        api.cancel("job")


def test_jobs_are_chosen_by_what_they_are(spool: SpoolDir) -> None:
    """Tag, text, state and exit code choose; nothing is done without a yes."""
    for number in range(4):
        tag = "odd" if number % 2 else "even"
        queuectl(
            spool, "enqueue", "--id", f"job{number}", "--tag", tag, "--max-retries", "0", "--command", f"exit {number}"
        )
    assert queuectl(spool, "cancel", "--tag", "odd", "--dry-run").split() == ["job1", "job3"]
    assert queuectl(spool, "cancel", "--tag", "odd", check=False) == ""
    assert len(spool.waiting_names()) == 4
    assert queuectl(spool, "cancel", "--match", "*3", "--yes") == "job3"
    with Pool(spool, "--drain", count=1) as pool:
        pool.wait()
    assert queuectl(spool, "retry", "--exit-code", "2", "--dry-run") == "job2"
    assert queuectl(spool, "purge", "--state", "dlq", "--yes").split() == ["job1", "job2", "job3"]
    assert queuectl(spool, "purge", "--state", "done", "--match", "job0", "--yes") == "job0"


def test_ids_come_on_standard_input(spool: SpoolDir) -> None:
    """`queuectl list ... | cut -f1 | queuectl cancel -`."""
    for number in range(3):
        queuectl(spool, "enqueue", "--id", f"job{number}", "--command", SUCCEED)
    assert queuectl(spool, "cancel", "-", stdin="job0\njob2\n").split() == ["job0", "job2"]
    assert listing(spool)["pending"] == ["job1.json"]


def test_a_pause_ends_by_itself(spool: SpoolDir) -> None:
    """`pause --for`: nothing starts until then, and the file is gone afterwards."""
    with Pool(spool, count=1).ready() as pool:
        queuectl(spool, "pause", "--for", "1h")
        pool.event("paused")
        queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
        began = time.monotonic()
        queuectl(spool, "pause", "--reason", "a moment", "--for", "1s")
        pool.event("succeeded", "job")
        assert time.monotonic() - began > 1.0
        assert not pause.is_paused(spool)


def test_resume_goes_on(spool: SpoolDir) -> None:
    """`resume` deletes PAUSED, whoever made it."""
    queuectl(spool, "pause")
    assert pause.reason(spool) == "by `queuectl pause`"
    assert queuectl(spool, "resume") == "resumed"
    assert queuectl(spool, "resume") == "the queue was not paused"


def _edit(spool: SpoolDir, tmp_path: Path, job_id: str, change: str) -> str:
    """`queuectl edit` with an editor that is a Python program; what was printed to both streams."""
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import json, sys\nfrom pathlib import Path\npath = Path(sys.argv[1])\n"
        f"job = json.loads(path.read_text(encoding='utf-8'))\n{change}\n"
        "path.write_text(json.dumps(job), encoding='utf-8')\n"
    )
    words = [sys.executable, "-m", "queuectl", "--spool", spool.root, "edit", job_id]
    env = {**os.environ, "EDITOR": f'"{sys.executable}" "{editor}"', "VISUAL": ""}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).strip()


def test_a_waiting_job_is_edited_and_runs_as_it_was_saved(spool: SpoolDir, tmp_path: Path) -> None:
    """The history is kept, a new priority shows in its name, unknown keys stay."""
    queuectl(spool, "enqueue", '{"id": "job", "command": "exit 1", "note": "x"}')
    change = f"job['command'] = {SUCCEED!r}; job['priority'] = 5"
    assert _edit(spool, tmp_path, "job", change) == "job"
    assert listing(spool)["pending"] == ["job,prio=5.json"]
    with Pool(spool, "--drain", count=1) as pool:
        pool.wait()
    assert _events(spool, "done", "job") == ["enqueued", "started", "succeeded"]
    assert b'"note": "x"' in spool.read("done", "job.json").data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("pass", "nothing changed"),
        ("job['timeout'] = 'soon'", "timeout: "),
        ("job['id'] = 'other'", "the id cannot be changed"),
        ("job = [job]", "the text holds several jobs"),
        ("sys.exit(3)", "the editor failed with exit code 3; the job is unchanged"),
    ],
)
def test_what_cannot_be_a_job_is_not_put_back(spool: SpoolDir, tmp_path: Path, change: str, said: str) -> None:
    """The file is byte for byte what it was."""
    queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
    path = Path(spool.path("pending", only(spool, "pending")))
    before = path.read_bytes()
    assert said in _edit(spool, tmp_path, "job", change)
    assert path.read_bytes() == before


def test_a_job_that_was_started_meanwhile_is_not_edited(spool: SpoolDir, tmp_path: Path) -> None:
    """It runs as it was; what was typed is kept."""
    queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
    paths = spool.path("pending", only(spool, "pending")), spool.path("done", "job.json")
    move = f"import os; os.rename({paths[0]!r}, {paths[1]!r})"
    said = _edit(spool, tmp_path, "job", f"{move}; job['priority'] = 1")
    assert "has changed since it was read" in said
    kept = Path(said.split("is kept in ")[1].split("\n")[0])
    assert json.loads(kept.read_text())["priority"] == 1
    kept.unlink()


def test_drain_waits_for_the_last_job(spool: SpoolDir) -> None:
    """With a pool at work it ends when nothing is left; with none it ends with its time."""
    queuectl(spool, "enqueue", "--command", SUCCEED)
    assert queuectl(spool, "drain", "--timeout", "100ms", check=False) == ""
    assert len(spool.waiting_names()) == 1
    with Pool(spool, count=1):
        queuectl(spool, "drain")
    assert len(spool.job_names("done")) == 1


def test_a_held_job_is_passed_over_until_it_is_released(spool: SpoolDir) -> None:
    """`hold` shows in the name; the others run, a pool that drains ends, and a rename does the same as the command."""
    for name in "abc":
        queuectl(spool, "enqueue", "--id", name, "--priority", "2", "--command", SUCCEED)
    assert queuectl(spool, "hold", "a", "b").split() == ["a", "b"]
    assert "a,prio=2,hold.json" in listing(spool)["pending"]
    assert "2 held" in queuectl(spool, "status")
    listed = json.loads(queuectl(spool, "list", "--state", "pending", "--json"))["jobs"]
    assert [(job["id"], job["held"]) for job in listed] == [("c", False), ("a", True), ("b", True)]
    queuectl(spool, "check")
    with Pool(spool, "--drain", count=1) as pool:
        pool.wait()
    assert spool.job_names("done") == ["c.json"]
    queuectl(spool, "drain")
    with Pool(spool, count=1).ready() as pool:
        assert queuectl(spool, "release", "--all", "--match", "a", "--yes") == "a"
        pool.event("succeeded", "a")
        os.rename(spool.path("pending", only(spool, "pending")), spool.path("pending", "b.json"))
        pool.event("succeeded", "b")
