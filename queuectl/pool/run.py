"""Run a pool in this process."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Callable, Iterator

from queuectl.model.settings import Settings
from queuectl.pool import preflight
from queuectl.pool.notices import HandOn, Outbox
from queuectl.pool.options import Options
from queuectl.pool.parts import Parts
from queuectl.pool.preflight import Warn
from queuectl.pool.supervisor import Supervisor
from queuectl.spool.folder import SpoolDir
from queuectl.spool.pools import StopSummary
from queuectl.spool.session import Session
from queuectl.system.clock import Clock


def run_pool(
    spool: SpoolDir, settings: Settings, options: Options, hand_on: HandOn, *, warn: Warn = lambda _text: None
) -> StopSummary:
    """Run a pool in this process until it ends; SIGINT, SIGTERM, SIGHUP or SIGBREAK stops it gracefully, twice at once.

    `hand_on` gets the events of each round of the pool's loop, `warn` the warnings of the checks before the start.

    Raises:
        UntrustedSpoolError, InvalidSettingsError: other users could make the pool run anything (P10).
        SpoolUnavailableError: workers cannot run here (see `preflight`), or the spool was deleted or replaced, and the
            running jobs were ended.
        OSError: the pool cannot be started (full disk, too many processes).
    """
    preflight.check(spool, settings, warn)
    if options.cluster_slots:
        preflight.check_cluster(spool, settings)
    preflight.warn_of_power(spool, warn)
    preflight.warn_of_versions(spool, warn)
    outbox = Outbox(hand_on)
    parts = Parts(Session(spool, settings, Clock(), random.Random()), options, outbox.put)
    with _stop_signals(parts.control.signal):
        return _run(parts, outbox)


def _run(parts: Parts, outbox: Outbox) -> StopSummary:
    parts.pool.enter()
    try:
        parts.begin()
        supervisor = Supervisor(parts.core.session.clock, parts.sources(), parts.duties(), flush=outbox.flush)
        supervisor.run(until=parts.is_over)
        parts.finish()
    finally:
        try:
            outbox.flush()
        finally:
            parts.close()
    return parts.summary()


@contextlib.contextmanager
def _stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Make signals call `stop`. A signal that was ignored at the start stays ignored, as nohup requires."""
    old = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            old[number] = signal.signal(number, lambda _number, _frame: stop())
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
