"""A command on a node, as its worker sees it: what was asked of the node, what it printed, how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

from queuectl.cluster import protocol
from queuectl.cluster.protocol import Piece, RunEnd, RunSpec
from queuectl.jobs.verdict import Claimed
from queuectl.model import sizes
from queuectl.model.lifecycle import ABANDONED, FAILED, RELEASED, SUCCEEDED, TIMED_OUT, Outcome
from queuectl.system import outputs
from queuectl.worker.executors.base import Ended

# How far the start of a command has come.
WAITS, SENT, UNSURE, RUNS = "waits", "sent", "unsure", "runs"
# A worker that ends a command looks this often whether the node has told its end.
_LOOK_EVERY_S = 0.05
# A batch of starts has at most this many commands, and this many characters.
_BATCH, _BATCH_CHARS = 64, 2_000_000
# In a message an odd character takes six.
_ODD_CHARS = 6


class Output:
    """What a command has printed: it is fetched from the node and added to `tmp/LEASE.out`.

    Of more than `most` bytes the file gets the first half while the command runs, and the last half at its end.
    """

    def __init__(self, fd: int, most: int) -> None:
        self._fd = fd
        self._most = most
        self._half = most // 2
        self._shift = 0
        """How much further the position in the whole output is than the end of the file."""
        if os.fstat(fd).st_size > self._half:  # adopted: the last half is fetched again
            self._shift = self._half - os.fstat(fd).st_size

    @property
    def got(self) -> int:
        """The position in the whole output up to which the file has it."""
        return os.fstat(self._fd).st_size + self._shift

    @property
    def wants_more(self) -> bool:
        """True while the first half is not complete."""
        return self.got < self._half

    def add(self, offset: int, data: bytes, limit: int) -> None:
        """Add a part, up to the position `limit`; ignore a part that does not follow. Raises OSError."""
        if offset == self.got and data:
            outputs.add(self._fd, data[: max(0, limit - offset)])

    def add_live(self, piece: Piece) -> None:
        """Add a part that came while the command runs. Raises OSError."""
        self.add(piece.offset, piece.data, self._half)

    def next_read(self, size: int) -> tuple[int, int] | None:
        """Return from where and how much to read of an output of `size` bytes; None if the file is complete.

        Raises OSError.
        """
        got = self.got
        last_from = size - (self._most - self._half)
        if size > self._most and self._half <= got < last_from:
            note = b"\n[queuectl: %d bytes left out here; cluster.output_max is %s]\n" % (
                last_from - got,
                sizes.to_text(self._most).encode(),
            )
            outputs.add(self._fd, note)
            self._shift += last_from - got - len(note)
            got = last_from
        until = self._half if size > self._most and got < self._half else size
        return (got, min(protocol.READ_BYTES, until - got)) if got < until else None


class Command:
    """A command on a node: see `base.Process`."""

    def __init__(
        self,
        spec: RunSpec,
        claimed: Claimed,
        output: Output,
        *,
        member: str,
        ask_end: Callable[[Command, float], None],
    ) -> None:
        self.spec = spec
        self.claimed = claimed
        self.run = spec.run
        self.member = member
        """The life of the node's keeper that gets or got the command."""
        self.output = output
        self.stage = WAITS
        self.since_s = 0.0
        """When the stage began."""
        self.end: RunEnd | None = None
        """How it ended, as soon as the node has told that."""
        self.outcome: Outcome | None = None
        """What that means for the job, once the output is complete as well."""
        self.was_confirmed = False
        """True if the node has said once that it runs."""
        self.is_told = False
        """True once the worker knows the outcome."""
        self.is_ending = False
        self._ask_end = ask_end

    def terminate(self, grace_s: float) -> Generator[float, object, Ended]:
        """See `base.Process`: ask the node, and wait for its word or for the end of its lease."""
        self.is_ending = True
        self._ask_end(self, grace_s)
        while self.outcome is None:
            yield _LOOK_EVERY_S
        return self.ended()

    def end_left(self) -> Generator[float, object, tuple[tuple[int, ...], tuple[int, ...]]]:
        """See `base.Process`: the keeper has ended what was left, before it told the end."""
        return (), ()
        yield 0.0

    def ended(self) -> Ended:
        """Return how it ended in the words of an executor."""
        outcome = self.outcome
        assert outcome is not None
        return Ended(outcome.exit_code or 0, outcome.reason, killed=outcome.killed, left=outcome.left)

    def lose(self, reason: str) -> None:
        """Nothing of it runs any more, and its outcome is unknown."""
        if self.outcome is None:
            self.outcome = Outcome(ABANDONED, reason=reason)

    def release(self, reason: str) -> None:
        """The node has not started it, and never will: the job goes back uncounted (P9)."""
        if self.outcome is None:
            self.outcome = Outcome(RELEASED, reason=f"could not start: {reason}")

    def conclude(self) -> None:
        """The output is complete, so the outcome counts."""
        if self.outcome is None and self.end is not None:
            self.outcome = _outcome(self.spec, self.end)


def batches(waiting: list[Command]) -> Iterator[list[Command]]:
    """Yield commands in the batches in which they are started."""
    while waiting:
        batch: list[Command] = []
        size = 0
        while waiting and len(batch) < _BATCH and size < _BATCH_CHARS:
            batch.append(command := waiting.pop(0))
            text = str(command.spec)
            size += len(text) * (1 if text.isascii() else _ODD_CHARS)
        yield batch


def fits(resources: Mapping[str, float], offered: Mapping[str, float], commands: Iterable[Command]) -> bool:
    """Return whether what is offered has these resources beside those that live commands use."""
    live = [each.claimed.record.extras.resources for each in commands if each.end is None and each.outcome is None]
    return all(
        amount + sum(used.get(name, 0.0) for used in live) <= offered.get(name, 0.0)
        for name, amount in resources.items()
    )


def _outcome(spec: RunSpec, end: RunEnd) -> Outcome:
    """Return what the end of a run means for its job: the same words as for a command on this machine."""
    kind, code, reason = SUCCEEDED if end.exit_code == 0 else FAILED, end.exit_code, end.reason
    if end.kind == protocol.TIMEOUT:
        kind, reason = TIMED_OUT, f"timed out after {spec.timeout_s:g} s" if spec.timeout_s else "timed out"
    elif end.kind == protocol.OUTPUT:
        limit = f"output_max, {sizes.to_text(spec.output_max)}," if spec.output_max else "output_max"
        kind, code, reason = FAILED, None, f"printed more than {limit} and was ended"
    elif end.kind == protocol.ASKED:
        kind, reason = RELEASED, reason or "somebody ended it on its node"
    elif end.kind == protocol.LAPSE:
        kind, code = ABANDONED, None
        reason = "its node was cut off for longer than the lease, and ended it"
    return Outcome(kind, code, reason, end.duration_s, end.is_final, tuple(end.killed), tuple(end.left))
