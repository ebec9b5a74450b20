"""shutdown: the end of a pool in stages."""

from __future__ import annotations

import math

from queuectl.model import settings as config
from queuectl.pool.shutdown import Shutdown
from queuectl.pool.worker_process import WorkerProcess
from queuectl.worker.messages import Abandon, Kill, Order, Stop


class Deaf(WorkerProcess):
    """A worker that notes its orders and never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Order | str] = []
        self.is_gone = False

    @property
    def is_alive(self) -> bool:
        """True until the test says otherwise."""
        return not self.is_gone

    def send(self, order: Order) -> None:
        """Note an order."""
        self.orders.append(order)

    def kill(self) -> None:
        """Note the kill."""
        self.orders.append("killed")


def made() -> tuple[Deaf, Shutdown]:
    """A worker and its shutdown; a kill takes 5 s of grace, and its process 5 s more."""
    worker = Deaf()
    return worker, Shutdown([worker], config.defaults()._replace(kill_grace_s=5.0))


def test_a_stop_goes_from_stage_to_stage() -> None:
    """First the running jobs may end, then they are killed, then the process is."""
    worker, shutdown = made()
    assert shutdown.begin(100.0, 10.0)
    for now_s in (100.0, 109.0, 110.0, 119.0, 120.0):
        shutdown.advance(now_s)
    assert worker.orders == [Stop(), Kill(), "killed"]


def test_a_stop_gets_harder_and_never_softer() -> None:
    """A second request counts only with a shorter grace; one that counts is reported as such."""
    worker, shutdown = made()
    assert shutdown.begin(0.0, math.inf)
    assert not shutdown.begin(1.0, math.inf)
    assert shutdown.begin(2.0, 5.0)
    assert not shutdown.begin(3.0, 60.0)
    shutdown.advance(7.0)
    assert worker.orders == [Stop(), Kill()]


def test_a_pool_without_its_spool_ends_at_once() -> None:
    """P3: nothing may run under locks that exclude nobody."""
    worker, shutdown = made()
    shutdown.abandon(0.0)
    shutdown.advance(1.0)
    assert worker.orders == [Abandon()] and shutdown.has_begun


def test_whether_it_is_over_is_only_a_question() -> None:
    """It begins nothing; the end is over when it has begun and every worker is gone."""
    worker, shutdown = made()
    worker.is_gone = True
    assert not shutdown.is_over and not shutdown.has_begun
    shutdown.begin(0.0, 0.0)
    assert shutdown.is_over
    worker.is_gone = False
    assert not shutdown.is_over
