"""What the parts of one pool share."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from queuectl.model.run_queue import RunQueue
from queuectl.pool.breaker import Breaker
from queuectl.pool.dispatcher import Dispatcher
from queuectl.pool.notices import Event
from queuectl.pool.options import Options
from queuectl.pool.shutdown import Shutdown
from queuectl.pool.worker_process import WorkerProcess
from queuectl.spool.session import Session


class Core(msgspec.Struct, frozen=True):
    """The values that nearly every part of a pool needs. Created once per pool (see `parts`)."""

    session: Session
    options: Options
    notify: Callable[[Event], None]
    queue: RunQueue
    """The waiting names."""
    workers: list[WorkerProcess]
    dispatcher: Dispatcher
    breaker: Breaker
    shutdown: Shutdown
