"""headline: the state of a queue in one sentence."""

from __future__ import annotations

import pytest

from queuectl.monitor.headline import about, headline
from queuectl.monitor.rows import EndedPool, PoolRow
from queuectl.monitor.snapshot import Snapshot
from tests.helpers import NOON_AT
from tests.unit.monitor.test_page import snapshot_of


def queue(
    *, pending: int = 0, running: int = 0, done: int = 0, dlq: int = 0, workers: int = 0, **facts: object
) -> Snapshot:
    """A queue with so many jobs and workers, and nothing else."""
    quiet: dict[str, object] = {
        "paused": None,
        "paused_until": None,
        "counts": {"pending": pending, "running": running, "done": done, "dlq": dlq, "rejected": 0},
        "ready": 0,
        "later": 0,
        "held": 0,
        "incomplete": 0,
        "stopped": 0,
        "next_due_at": None,
        "oldest_since": None,
        "failed_last_hour": 0,
        "ended_pool": None,
        "cancelled": 0,
        "pools": (PoolRow("p", "h", 1, workers, NOON_AT),) if workers else (),
    }
    return snapshot_of(**{**quiet, **facts})


WAITING = {"pending": 36, "ready": 36, "oldest_since": NOON_AT - 190}
DRAINED = EndedPool("drained", NOON_AT - 300)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            {**WAITING, "running": 2, "workers": 2, "failed_last_hour": 2},
            "Both workers are busy, 36 waiting, the oldest for 3 min, 2 failed in the last hour",
        ),
        ({"running": 2, "workers": 4}, "2 of 4 workers busy, nothing is waiting"),
        ({"running": 1, "workers": 1}, "1 worker busy, nothing is waiting"),
        ({"workers": 2, "done": 9}, "2 workers idle, nothing is waiting"),
        ({"running": 9, "workers": 3}, "All 3 workers are busy, nothing is waiting"),
        (
            {"running": 5, "workers": 2},
            "Both workers are busy, nothing is waiting",
        ),  # some of them belong to dead workers
        (
            {"workers": 1, "pending": 1, "ready": 1, "oldest_since": NOON_AT - 5},
            "1 worker idle, 1 waiting for 5 s",
        ),
        ({"workers": 1, "pending": 1, "ready": 1, "oldest_since": NOON_AT - 0.9}, "1 worker idle, 1 waiting"),
        ({"workers": 1, "pending": 1, "later": 1, "next_due_at": NOON_AT + 480}, "1 worker idle, 1 due in 8 min"),
        (
            {"workers": 1, "pending": 4, "later": 2, "next_due_at": NOON_AT + 480, "held": 1, "incomplete": 1},
            "1 worker idle, 2 due later, the first in 8 min, 1 held, 1 file incomplete",
        ),
        ({}, "The queue is empty and no workers are running"),
        ({"done": 9}, "Nothing is waiting and no workers are running"),
        ({"done": 9, "ended_pool": EndedPool("stopped", NOON_AT)}, "Nothing is waiting and no workers are running"),
        ({"done": 9, "ended_pool": DRAINED}, "All done: the workers have finished"),
        (
            {"done": 9, "dlq": 1, "failed_last_hour": 1, "ended_pool": DRAINED},
            "Nothing left to run, 1 job is dead",
        ),
        ({"done": 9, "dlq": 3, "cancelled": 1, "ended_pool": DRAINED}, "Nothing left to run, 2 jobs are dead"),
        ({"done": 9, "dlq": 1, "cancelled": 1, "ended_pool": DRAINED}, "All done: the workers have finished"),
        ({**WAITING}, "No workers are running, 36 waiting, the oldest for 3 min"),
        ({**WAITING, "ended_pool": DRAINED}, "No workers are running, 36 waiting, the oldest for 3 min"),
        (
            {"running": 1, "ended_pool": EndedPool("died", None)},
            "The last workers died, 1 job was left running",
        ),
        ({"running": 2}, "No workers are running, 2 jobs were left running"),
        ({"done": 9, "ended_pool": EndedPool("died", None)}, "The last workers died"),
        (
            {"paused": "disk swap", "running": 1, "workers": 2, "pending": 3, "stopped": 3},
            "Paused (disk swap), 1 still running, 3 waiting",
        ),
        ({"paused": "", "paused_until": NOON_AT + 7200, "workers": 2}, "Paused until 10:00 UTC"),
        ({"paused": "", "paused_until": NOON_AT + 86400, "workers": 2}, "Paused until 2027-01-16 08:00 UTC"),
        ({"paused": "", "pending": 3, "stopped": 3}, "Paused, no workers are running, 3 waiting"),
    ],
)
def test_it_says_how_the_queue_is_doing(facts: dict[str, object], sentence: str) -> None:
    """Each state of a queue has its plain sentence."""
    assert headline(queue(**facts)) == sentence  # type: ignore[arg-type]


def test_a_duration_has_one_unit() -> None:
    """Rounded down: nobody has waited for 3 min who has waited for 2."""
    assert [about(seconds) for seconds in (-5, 0, 59.9, 60, 3599, 3600, 86399, 172799, 172800, 9e6)] == [
        *("0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "47 h", "2 days", "104 days")
    ]
