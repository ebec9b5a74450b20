"""A pool without processes, whose parts are called by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from queuectl.model import history, record, times
from queuectl.model.lifecycle import PENDING
from queuectl.model.settings import Settings
from queuectl.pool.notices import Event
from queuectl.pool.options import Options
from queuectl.pool.parts import Parts
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk
from tests.helpers import FakeClock


class StillPool:
    """The parts of a pool that does not run, and what they have told."""

    def __init__(self, spool: SpoolDir, settings: Settings, **options: bool | int) -> None:
        self.told: list[Event] = []
        self.clock = FakeClock()
        session = Session(spool, settings, self.clock, random.Random())
        self.parts = Parts(session, Options(slots=1, cwd=spool.root)._replace(**options), self.told.append)

    def close(self) -> None:
        """Close the handles."""
        self.parts.scanner.close()
        self.parts._close_locks()


@pytest.fixture
def pool(spool: SpoolDir, settings: Settings) -> Iterator[StillPool]:
    """A pool that does not run."""
    made = StillPool(spool, settings)
    yield made
    made.close()


def store_retries(spool: SpoolDir, count: int, *, at: float, delay_s: float = 8.0) -> None:
    """Retries as a pool stores them whose clock says `at`."""
    due_at = at + delay_s
    failed = history.event(
        "failed", at, attempt=1, exit_code=1, to=PENDING, due_at=times.to_text(due_at), delay_s=delay_s
    )
    events = [
        history.event("enqueued", at, by="enqueue"),
        history.event("started", at, attempt=1, lease="w.0"),
        failed,
    ]
    for number in range(count):
        spec = {"id": f"job{number}", "command": "true", "max_retries": 3, "backoff_base": 2.0, "backoff_max": 60.0}
        path = spool.path(PENDING, f"job{number},due={times.to_name(due_at)}.json")
        disk.create(path, record.frame(spec, events), sync=False)
