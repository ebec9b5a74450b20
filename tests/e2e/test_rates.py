"""Queues with a rate or a circuit breaker, from end to end: real pools, and the records of what ran."""

from __future__ import annotations

import json
import os
from pathlib import Path

from queuectl.api import Spool
from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in, wait_until, write_drop
from tests.pool import PYTHON, SUCCEED, Pool, ends_with, queuectl


def starts_of(spool: SpoolDir, *states: str) -> list[float]:
    """When the jobs in some states started, by their records, in order."""
    found = []
    for state in states:
        for name in names_in(spool, state):
            if name.endswith(".json"):
                record = json.loads(Path(spool.path(state, name)).read_bytes())
                found += [times.from_text(event["at"]) for event in record["history"] if event["event"] == "started"]
    return sorted(found)


def most_in(starts: list[float], window_s: float) -> int:
    """The most starts in any window of this length; two that are a window apart are in none together."""
    at = [round(start * 1000) for start in starts]
    return max(sum(one <= other < one + round(window_s * 1000) for other in at) for one in at)


def test_rate_holds_over_two_pools(spool: SpoolDir) -> None:
    """Two pools run retries, drops and waiting jobs at 4 a second: no window holds five, and each job runs (P12)."""
    queuectl(spool, "config", "set", "queues.api.rate", "4/1s")
    queue = Spool(spool.root)
    queue.enqueue_many([{"id": f"a{number}", "command": SUCCEED, "queue": "api"} for number in range(8)])
    queue.enqueue_many([{"id": f"free{number}", "command": SUCCEED} for number in range(4)])
    queue.enqueue("exit 3", id="retried", queue="api", max_retries=1, backoff_base=0)
    write_drop(spool, "dropped.json", {"command": SUCCEED, "queue": "api"})
    with Pool(spool, "--drain", count=2) as one, Pool(spool, "--drain", count=2) as two:
        assert (one.wait(), two.wait()) == (0, 0)
    ends_with(spool, {DONE: 13, DLQ: 1, PENDING: 0})
    for number in range(4):
        os.unlink(spool.path(DONE, f"free{number}.json"))
    starts = starts_of(spool, DONE, DLQ)
    assert len(starts) == 11
    assert most_in(starts, 1.0) <= 4
    assert most_in(starts, 1.0) > 1


def test_changed_rate_acts_at_once(spool: SpoolDir) -> None:
    """A rate of one an hour holds the second job, which nothing tries meanwhile; another rate lets it start."""
    queuectl(spool, "config", "set", "queues.api.rate", "1/1h")
    queue = Spool(spool.root)
    queue.enqueue_many([{"id": f"a{number}", "command": SUCCEED, "queue": "api"} for number in range(3)])
    with Pool(spool, count=2) as pool:
        pool.event("succeeded")
        queue.enqueue(SUCCEED, id="other")
        pool.event("succeeded", "other")
        # A worker that was held up may still try the name that it has.
        assert any(_is_left_alone(spool, pool, f"later{number}") for number in range(5))
        queuectl(spool, "config", "set", "queues.api.rate", "100/1h")
        ends_with(spool, {PENDING: 0, RUNNING: 0})
    assert len([name for name in spool.job_names(DONE) if not name.startswith("later")]) == 4
    assert len(starts_of(spool, DONE)) == len(spool.job_names(DONE))


def _is_left_alone(spool: SpoolDir, pool: Pool, job_id: str) -> bool:
    """Return whether nothing tries the two jobs that wait while another one waits for a second, and runs."""

    def tries() -> list[int]:
        try:
            found = [os.stat(spool.path(PENDING, name)).st_ctime_ns for name in sorted(names_in(spool, PENDING))]
        except FileNotFoundError:  # a try moves the file
            return []
        return found if len(found) == 2 else []

    before = wait_until(tries)
    Spool(spool.root).enqueue(SUCCEED, id=job_id, delay=1)
    pool.event("succeeded", job_id)
    return tries() == before


def test_failures_halt_all_pools_and_one_job_tries(spool: SpoolDir, tmp_path: Path) -> None:
    """The third failure halts the queue for two pools, the hook fires once, one job tries after `until`, and a success
    opens the queue (P12)."""
    hook, works = tmp_path / "hook", tmp_path / "works"
    note = f"import os, sys; print(os.environ['QUEUECTL_EVENT'], sys.argv[1], file=open({str(hook)!r}, 'a'))"
    Path(spool.settings_path).write_text(
        f'[hooks]\non_halt = {json.dumps([*PYTHON, note])}\n[queues.api]\nhalt_after = 3\nhalt_for = "1s"\n'
    )
    command = [*PYTHON, f"import os, sys; sys.exit(not os.path.exists({str(works)!r}))"]
    queue = Spool(spool.root)
    queue.enqueue_many([{"id": f"a{n:02}", "command": command, "queue": "api", "max_retries": 0} for n in range(30)])
    paused = Path(spool.queue_paused_path("api"))
    with Pool(spool, count=2) as one, Pool(spool, count=2) as two:
        wait_until(lambda: hook.exists() and len(names_in(spool, DLQ)) >= 2 * 8)
        text = wait_until(lambda: _text(paused)).split("\n")
        assert "runs failed in a row; the last one was a" in text[0]
        assert text[1].startswith("until ")
        assert text[2] == "by halt_after"
        for pool in (one, two):
            wait_until(lambda pool=pool: any("queue api is halted" in str(event) for event in pool.events))
        works.touch()
        ends_with(spool, {PENDING: 0})
        assert not paused.exists()
    starts = starts_of(spool, DLQ)
    # While the third failure is recorded three more jobs may run, with four workers. Then one job tries after each
    # pause, which lasts for a second from its failure on. Each failed try halts the queue once more.
    halts = hook.read_text().splitlines()
    assert set(halts) == {f"halt {paused}"}
    first, tries = starts[: 1 - len(halts)], starts[1 - len(halts) :]
    assert 3 <= len(first) <= 6
    assert len(tries) >= 2
    assert most_in(tries, 0.9) == 1


def _text(path: Path) -> str:
    """Return what a file holds that comes and goes, "" while it is away."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def test_resumed_queue_lets_one_job_try(spool: SpoolDir, tmp_path: Path) -> None:
    """Without halt_for a person ends the pause, by the command or by deleting the file."""
    queuectl(spool, "config", "set", "queues.api.halt_after", "1")
    works = tmp_path / "works"
    command = [*PYTHON, f"import os, sys; sys.exit(not os.path.exists({str(works)!r}))"]
    queue = Spool(spool.root)
    queue.enqueue_many([{"id": f"a{n}", "command": command, "queue": "api", "max_retries": 0} for n in range(6)])
    paused = Path(spool.queue_paused_path("api"))
    with Pool(spool, count=1):
        wait_until(lambda: paused.exists() and len(names_in(spool, PENDING)) == 5)  # one may be tried for a moment
        queuectl(spool, "resume", "api")
        wait_until(lambda: paused.exists() and len(names_in(spool, PENDING)) == 4)
        works.touch()
        paused.unlink()
        ends_with(spool, {DONE: 4, PENDING: 0})
