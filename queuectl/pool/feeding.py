"""Give work to the workers: make names ready, judge drops before their turn, and suggest names."""

from __future__ import annotations

from queuectl.pool.control import Control
from queuectl.pool.core import Core
from queuectl.pool.early_judge import EarlyJudge
from queuectl.pool.scanner import Scanner


class Promotion:
    """A duty of the loop: make names ready whose time has come."""

    def __init__(self, core: Core) -> None:
        self._queue = core.queue
        self._clock = core.session.clock

    def step(self, _now_s: float) -> None:
        """Make names ready."""
        self._queue.promote(self._clock.now())

    def due_s(self) -> float | None:
        """Return when the next name becomes ready (monotonic), or None."""
        due_at = self._queue.next_due_at
        return None if due_at is None else self._clock.monotonic() + due_at - self._clock.now()


class Feeding:
    """A duty of the loop: suggest names to the workers, unless the pool ends, is paused, or has a machine problem."""

    def __init__(self, core: Core, early_judge: EarlyJudge, scanner: Scanner, control: Control) -> None:
        self._core = core
        self._dispatcher = core.dispatcher
        self._early_judge = early_judge
        self._scanner = scanner
        self._control = control

    def _may_feed(self) -> bool:
        return not self._core.shutdown.has_begun and not self._control.is_paused and not self._core.breaker.is_open

    def step(self, _now_s: float) -> None:
        """Judge some drops if their order matters, then suggest names."""
        if self._early_judge.has_any and self._early_judge.has_work(free := self._dispatcher.free) and self._may_feed():
            with self._core.breaker.guard():
                self._early_judge.step(free)
        if self._may_feed():
            has_idle = self._dispatcher.feed(careful=self._core.breaker.errors > 0)
            self._scanner.arm(is_calm=has_idle or self._dispatcher.is_slow)

    def feed_new(self, name: str) -> bool:
        """Suggest a new name at once, if that is simple and nothing speaks against it; else return False."""
        return self._may_feed() and self._dispatcher.feed_new(name)

    def due_s(self) -> float | None:
        """Return when a name must be suggested or judged without an event (monotonic), or None.

        Also return None while `step` does nothing, because a time in the past would make the loop spin. A tick ends
        that state.
        """
        if not self._may_feed():
            return None
        due_s = self._dispatcher.next_s()
        if self._early_judge.has_any:
            judge_s = self._early_judge.next_s(self._dispatcher.free)
            if judge_s is not None:
                return judge_s if due_s is None else min(due_s, judge_s)
        return due_s


class PromptFeeding:
    """A duty of the loop, the first one: suggest the names that events have brought before anything else that is due.

    On an idle pool somebody waits for them, and a tick may take longer than the start of a command.
    """

    def __init__(self, core: Core, scanner: Scanner, feeding: Feeding) -> None:
        self._dispatcher = core.dispatcher
        self._scanner = scanner
        self._feeding = feeding

    def step(self, now_s: float) -> None:
        """Suggest new names; but only add them if a listing is due, because names that it brings may come first."""
        fresh, self._scanner.fresh = self._scanner.fresh, []
        may_feed = now_s < self._scanner.due_s()
        if fresh and not (may_feed and len(fresh) == 1 and self._feeding.feed_new(fresh[0])):
            self._dispatcher.add(fresh)
        if may_feed and self._dispatcher.has_news:
            self._feeding.step(now_s)

    def due_s(self) -> None:
        """Return None: new names come with an event."""
