"""Judge drops before their turn, so that priorities, due times and rejections do not wait for it.

The name of a drop says nothing about its job. While more names are ready than workers are free, the order matters, so
each drop is read: it gets its full name, is rejected, or is found to be arriving. A single drop on an idle pool is not
read twice, because a worker claims it. While workers are busy, judging takes at most 5 % of the time. Unused time is
saved, up to a tenth of a second, so that a few drops, and the first of many, are judged at once. The time for drops
that are skipped, because another job has their unique key, does not count: it saves their claims.

No run depends on this: a drop that is not judged in time is claimed as it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import assert_never

from queuectl.errors import QueuectlError
from queuectl.jobs.triage import Triage, Verdict
from queuectl.jobs.verdict import (
    Arriving,
    Busy,
    Dead,
    Declined,
    Foreign,
    Gone,
    Later,
    Many,
    Open,
    Rejected,
    Skipped,
    Stuck,
    Unreadable,
)
from queuectl.model.run_queue import RunQueue
from queuectl.system.clock import Clock

# The share of the time that judging may take, and how much of it can be saved up.
SHARE = 0.05
SAVED_AT_MOST_S = 0.1
# While no worker is free, judging takes this long at a time, so that reports of workers do not wait for longer.
# When all saved time is used, this much is saved first, because waking up for each file costs more than judging it.
SLICE_S = 0.005
# If a worker is free and time is saved, so many drops are judged however long that takes: on a busy machine this
# process may lose the processor for longer than all saved time.
AT_ONCE = 16
# A file whose stripe is busy, or that its writer has open, is judged again after this.
AGAIN_S = 0.1


class EarlyJudge:
    """Judges the drops in a pool's run queue; `passed` gets each verdict."""

    def __init__(
        self, triage: Triage, queue: RunQueue, passed: Callable[[str, Declined], None], *, clock: Clock
    ) -> None:
        self._triage = triage
        self._queue = queue
        self._passed = passed
        self._clock = clock
        self._saved_s = SAVED_AT_MOST_S
        self._saved_at_s = clock.monotonic()
        self._is_saving = False
        self._refund_s = 0.0
        """How much of the time went into drops that were skipped: each of them saves a claim, or a run."""
        self._again: list[tuple[float, str]] = []

    @property
    def has_any(self) -> bool:
        """True if a file must be judged, now or later. Otherwise the caller can skip this object."""
        return bool(self._again) or self._queue.has_unjudged

    def next_s(self, free: int) -> float | None:
        """Return when work is due without an event (monotonic), or None; `free` workers have no names."""
        if self._matters(free):
            missing_s = max(0.0, SLICE_S - self._saved_s) if self._is_saving else 0.0
            return self._saved_at_s + missing_s / SHARE
        return self._again[0][0] if self._again and len(self._queue) > free else None

    def has_work(self, free: int) -> bool:
        """Return whether `step` may have something to do; `free` workers have no names."""
        return bool(self._again) or self._matters(free)

    def _matters(self, free: int) -> bool:
        return self._queue.has_unjudged and len(self._queue) > free

    def step(self, free: int) -> None:
        """Judge some drops if their order matters and there is time.

        Raises:
            OSError: an error of the machine, not of a file.
        """
        now_s = self._clock.monotonic()
        while self._again and self._again[0][0] <= now_s:
            self._queue.judge_again(heapq.heappop(self._again)[1])
        self._saved_s = min(SAVED_AT_MOST_S, self._saved_s + (now_s - self._saved_at_s) * SHARE)
        self._saved_at_s = now_s
        if not self._matters(free) or (self._is_saving and self._saved_s < SLICE_S):
            return
        until_s = now_s + (self._saved_s if free else min(self._saved_s, SLICE_S))
        at_least = AT_ONCE if free and self._saved_s > SLICE_S else 0
        try:
            while self._matters(free) and (at_least > 0 or self._clock.monotonic() < until_s):
                at_least -= 1
                if (name := self._queue.next_unjudged()) is not None:
                    self._judge(name)
        finally:
            self._saved_at_s = self._clock.monotonic()
            self._saved_s -= self._saved_at_s - now_s - self._refund_s
            self._refund_s = 0.0
            self._is_saving = self._saved_s <= 0

    def _judge(self, name: str) -> None:
        verdict: Verdict | Stuck | None
        begun_s = self._clock.monotonic()
        try:
            verdict = self._triage.judge(name)
        except OSError as error:
            verdict = self._triage.stuck(name, error)
            if verdict is None:
                self._queue.judge_again(name)
                raise
        except (QueuectlError, ValueError, RecursionError):
            return  # judging failed: the claim of the file reports what is wrong (P6)
        match verdict:
            case None:
                pass
            case Busy() | Open():
                heapq.heappush(self._again, (self._clock.monotonic() + AGAIN_S, name))
            case Many():
                self._queue.pull(name)
                self._queue.put_ahead(name)
            case Arriving() | Unreadable() | Stuck() | Foreign() | Gone() | Dead() | Skipped() | Later() | Rejected():
                self._queue.pull(name)
                self._passed(name, verdict)
                if isinstance(verdict, Skipped):
                    self._refund_s += self._clock.monotonic() - begun_s
            case _:
                assert_never(verdict)
