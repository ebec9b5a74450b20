"""Keeps the waiting names in the order of runs. Knows only the names of files; does no I/O.

The run queue only suggests names. A name may be gone, or be suggested twice or to two workers: the claim decides, so
this module can neither lose nor double a job. `order` defines the order; queues of equal priority take turns, and so do
the owners within a queue. `parking` keeps the names behind full keys, `due_names` those whose time has not come,
`blocked_names` those that wait for another job, and `undated_names` those that say no time. Every list that shows the
order takes it from here (see `run_order`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from queuectl.model import blocked_names, flagged_names, names, needs, order, queues
from queuectl.model.blocked_names import ALL, BlockedNames
from queuectl.model.due_names import FAR_S, DueNames
from queuectl.model.flagged_names import Group
from queuectl.model.needs import Choice
from queuectl.model.pacing import Where
from queuectl.model.parking import Parked, Parking
from queuectl.model.queue_turns import QueueTurns
from queuectl.model.queues import DEFAULT, Place, Queues
from queuectl.model.ready_lines import AnyLine, ReadyLines
from queuectl.model.undated_names import UndatedNames

# Higher than every priority of a job.
_AHEAD = 10**9
# From this many names on, usual names are parsed together.
_MANY = 50
_ALL = Choice()


class RunQueue:
    """The known waiting names of one spool.

    Args:
        limits: the queues of the settings.
        slots: how many jobs the pool runs at once.
        choice: the jobs that the pool takes.
    """

    def __init__(self, limits: Queues | None = None, *, slots: int = 1, choice: Choice = _ALL) -> None:
        self._parking = Parking(limits or {}, slots)
        self._ready = ReadyLines(weight_of=self._weight_of, is_closed=self._parking.is_closed)
        self._is_plain = not limits  # no name so far can be limited
        self._on_back: Callable[[str], None] = lambda _name: None
        self._choice, self._is_choosy = choice, choice.is_choosy
        self.has_needs = False
        """True once there was a job that needs resources."""
        self._count = 0  # of the names in _ready
        self._waiting = DueNames()
        self.blocked = BlockedNames()
        self._known: set[str] = set()
        self._skipped: set[str] = set()  # arriving and foreign files: not suggested until they change
        self._undated = UndatedNames()

    def look_ahead(self, depth_of: Callable[[str], int], on_back: Callable[[str], None]) -> None:
        """Suggest `depth_of(queue)` names for each place of a queue with fewer slots than the pool.

        `on_back` is called with each name that was limited and does not count as suggested any more, and with "" if
        none does.
        """
        self._parking.depth_of = depth_of
        self._on_back = on_back

    @property
    def is_plain(self) -> bool:
        """True if no name so far can be limited."""
        return self._is_plain

    def narrow(self, name: str) -> Place | None:
        """Return what limits a name that was taken, if its queue has fewer slots than the pool; else None."""
        return None if self._is_plain else self._parking.narrow(name)

    def __len__(self) -> int:
        """Return the number of names that could run now."""
        return self._count

    @property
    def waiting(self) -> int:
        """The number of names that are due later."""
        return len(self._waiting)

    def update(self, generated: list[str], others: list[str], now_at: float) -> int:
        """Add a listing of pending/, split by `names.split_generated`; return the number of new names."""
        if self._skipped:
            self._skipped.intersection_update((*generated, *others))
        if not self._choice.takes_generated:
            generated = []
        self._known.difference_update(self.blocked.keep(others))
        return self._take_over(self._fresh(generated), self._fresh(others), now_at)

    def _fresh(self, listed: list[str]) -> list[str]:
        """Return the names that are neither known nor skipped, as a new list."""
        if not self._known and not self._skipped:
            return listed.copy()
        return [name for name in listed if name not in self._known and name not in self._skipped]

    def add(self, fresh: Iterable[str], now_at: float, *, verified: bool = False) -> int:
        """Add names from an event, a retry or a listing; return the number of new names. Known names change nothing.

        `verified`: the times in the names are the times in their records.
        """
        new = [name for name in dict.fromkeys(fresh) if name not in self._known]
        return self._take_over([], new, now_at, verified=verified)

    def _take_over(self, generated: list[str], others: list[str], now_at: float, *, verified: bool = False) -> int:
        """Add new names; return the number of those that are or may be jobs. Generated ids are their own keys."""
        lines: dict[tuple[int, str, str], list[str]] = {(0, "", ""): generated} if generated else {}
        count = len(generated)
        self._known.update(generated)
        seen, undated = self._undated.new_stamp(now_at) if others else "", []
        if len(others) >= _MANY:
            groups, others = flagged_names.split(others, now_at)
            for group in groups:
                count += self._take_group(group, lines, now_at, verified=verified)
        if len(others) >= _MANY and not self._is_choosy:
            by_parent, others = blocked_names.split(others)
            for parent, some in by_parent.items():
                self._known.update(some)
                self.blocked.add_many(some, parent)
            timed, others = order.split_timed(others)
            if timed:
                lines.setdefault((0, "", ""), []).extend(order.keys_of_timed(timed))
            count += len(timed)
            self._known.update(timed)
        for name in others:
            parts = names.parse(name)
            if parts is None and not names.is_batch(name):
                continue
            may_leave = self._is_choosy or (parts is not None and parts.needs)
            if names.is_held(name) or (may_leave and self._choice.leaves(name, parts)):
                self._skipped.add(name)
                continue
            self._known.add(name)
            if parts is not None and parts.after:
                self.blocked.add(name, parts.after)
                continue
            count += 1
            if parts is not None and (parts.queue or parts.key or parts.needs):
                self._is_plain = False
                self.has_needs = self.has_needs or bool(parts.needs)
            if parts is not None and parts.due_at is not None and parts.due_at > now_at:
                self._waiting.add(parts.due_at, name, is_far=not verified and parts.due_at - now_at > FAR_S)
                continue
            key = order.key_of(name, parts)
            if not key:
                key = self._undated.add(name, order.key_at(seen, name))
                if parts is not None:
                    undated.append(name)
            lines.setdefault(_line_of(parts), []).append(key)
        for (priority, owner, queue), keys in sorted(lines.items(), key=lambda item: min(item[1])):
            self._extend(keys, priority, owner, queue)
        undated.sort(reverse=True)
        self._undated.judge(undated)
        return count

    def _take_group(
        self, group: Group, lines: dict[tuple[int, str, str], list[str]], now_at: float, *, verified: bool
    ) -> int:
        """Add the names of a group, those that could run now to `lines`; return their number."""
        if self._is_choosy and self._choice.leaves(group.names[0], group.parts):
            self._skipped.update(group.names)
            return 0
        self._known.update(group.names)
        self._is_plain = self._is_plain and not group.parts.queue and not group.has_keys
        self._waiting.add_many(group.later, far_from_at=math.inf if verified else now_at + FAR_S)
        if group.sort_keys:
            lines.setdefault(_line_of(group.parts), []).extend(group.sort_keys)
        return len(group.names)

    def _ripen(self, name: str) -> None:
        """Make a name ready that is due."""
        parts = names.parse(name)
        self._extend([order.key_of(name, parts)], *_line_of(parts))

    def _extend(self, keys: list[str], priority: int, owner: str, turn: str) -> None:
        self._count += len(keys)
        self._ready.extend(keys, priority, owner, turn)

    def _weight_of(self, turn: str) -> int:
        return queues.weight(needs.of_turn(turn)[0], self._parking.limits)

    @property
    def next_due_at(self) -> float | None:
        """The due time of the next name that is not ready yet, or None."""
        return self._waiting.next_due_at

    def promote(self, now_at: float) -> float | None:
        """Make names ready that are due; return `next_due_at`."""
        while (due_at := self._waiting.next_due_at) is not None and due_at <= now_at:
            self._ripen(self._waiting.pop())
        return due_at

    def take(self, kind: str = needs.ANY) -> str | None:
        """Return the next name to suggest, or None. It stays known until `forget`, so no listing adds it again.

        `kind`: which jobs the worker that asks may get (`needs.PLAIN`, `needs.NEEDING`).
        """
        if not self._count or (kind == needs.NEEDING and not self.has_needs):
            return None
        if self.has_needs and kind != self._parking.kind:
            self._parking.kind = kind
            self._ready.open_all()
        for line in self._ready.lines:
            while (key := line.pop() if self._is_plain else self._pop(line)) is not None:
                name = order.name_of(key)
                if not self._is_plain and not self._parking.admit(name, key):
                    continue
                self._count -= 1
                if name in self._undated.key_of:
                    self._undated.discard(name)
                return name
        return None

    def take_new(self, name: str) -> bool:
        """Do for a new name what `add` and `take` do together; return False if others wait or more must be known."""
        if (
            self._count
            or not self._is_plain
            or self._is_choosy
            or name in self._known
            or name in self._skipped
            or not names.is_plain(name)
        ):
            return False
        self._known.add(name)
        return True

    def _pop(self, line: AnyLine) -> str | None:
        """Return the next key of a line, or None; some names may be limited."""
        if not isinstance(line, QueueTurns) and self._parking.is_closed(DEFAULT):
            return None
        return line.pop()

    def put_first(self, name: str) -> None:
        """Suggest a taken name again, before all others of its priority and queue."""
        parts = names.parse(name)
        self.unspent(name)
        self.release(name)
        self._known.add(name)
        if parts is not None and (parts.queue or parts.key or parts.needs):
            self._is_plain = False
            self.has_needs = self.has_needs or bool(parts.needs)
        key = self._undated.key_before_all(name)
        if parts is not None and not order.key_of(name, parts):
            self._undated.add(name, key)
            self._undated.judge([name])
        self._count += 1
        self._ready.put_before(key, *_line_of(parts))

    def forget(self, name: str, *, is_out: bool = False) -> None:
        """Forget a taken name that is settled, gone or renamed. If a listing has it again, it is new.

        With `is_out` another worker may still run the job, so that the name still counts for its queue and key.
        """
        if not is_out and not self._is_plain:
            self.release(name)
        self._known.discard(name)
        self._skipped.discard(name)
        if name in self.blocked.parent_of:
            self.blocked.discard(name)

    def forget_taken(self) -> None:
        """Forget all names except those that are due later or blocked.

        Call it when no name is ready and no worker has a name, so that the next listing finds a lost name (P5).
        """
        assert not self._count
        if len(self._known) != len(self._waiting) + len(self.blocked):
            self._known.intersection_update([*self._waiting.names, *self.blocked])
        self._parking.forget_out()
        self._on_back("")
        self._ready.clear()
        self._undated.clear()

    def skip(self, name: str) -> None:
        """Stop suggesting this file while it stays listed; see `unskip`."""
        self.release(name)
        self._known.discard(name)
        self._skipped.add(name)

    def unskip(self, name: str, now_at: float) -> None:
        """Suggest a skipped file again, because it has changed."""
        self._skipped.discard(name)
        self.add([name], now_at)

    def knows(self, name: str) -> bool:
        """Return whether a name waits, as far as this pool knows."""
        return name in self._known or name in self._skipped

    def unblock(self, parent: str, now_at: float, at_most: int = ALL) -> int:
        """Suggest the names that wait for a parent, because it has ended; return their number (`take_ready`)."""
        keys = []
        seen = self._undated.new_stamp(now_at)
        for name in self.blocked.pop(parent, at_most):
            is_timed = names.is_generated(name.partition(names.AFTER)[0])
            keys.append(self._undated.add(name, name if is_timed else order.key_at(seen, name)))
        self._extend(keys, 0, "", "")
        return len(keys)

    # ------------------------------------------------------------------------------------------------- judging

    @property
    def has_unjudged(self) -> bool:
        """Whether there are ready files that must be judged before the order of runs is known."""
        return bool(self._undated.to_judge)

    def next_unjudged(self) -> str | None:
        """Return a file to judge, or None; return each file once.

        The last listing comes first, so that an urgent new file among thousands of old files is found soon.
        """
        return self._undated.next_unjudged()

    def judge_again(self, name: str) -> None:
        """Return a name to the files to judge, if it is still ready."""
        self._undated.judge([name])

    def pull(self, name: str) -> None:
        """Take this name, as `take` takes the next one."""
        if (key := self._undated.discard(name)) is not None:
            self._ready.gone.add(key)
            self._count -= 1

    def put_ahead(self, name: str) -> None:
        """Suggest a taken name before all others, whatever their priority."""
        self._known.add(name)
        self._extend([self._undated.key_before_all(name)], _AHEAD, "", "")

    # ------------------------------------------------------------------------------------------- queues and keys

    def put_behind(self, name: str, where: Where, until_s: float | None = None) -> None:
        """Keep a name until its queue, or its key if it has one in `where`, has room; see `watched`.

        With `until_s` a rate is why: until then (monotonic); see `look_at_rates`.
        """
        queue, key = where
        self._is_plain = False
        parts = names.parse(name)
        own = order.key_of(name, parts)
        if key:
            self._known.add(name)
            self._count += 1
            self._parking.shut_key(name, own or self._undated.key_before_all(name), where, until_s)
            return
        if until_s is None:
            self._parking.shut(queue)
        else:
            self._parking.pacing.close((queue, ""), until_s)
        if not own:
            self.put_first(name)
            return
        # Several workers may find the gate shut, in any order: each name takes its own place in the line again.
        self._known.add(name)
        self._extend([own], *_line_of(parts))

    @property
    def watched(self) -> tuple[set[str], set[Where]]:
        """The queues, and the keys with their queues, whose gates were found shut."""
        return self._parking.watched

    @property
    def next_rate_s(self) -> float | None:
        """When the log of a rate is to be looked at (monotonic), or None."""
        return self._parking.pacing.next_s

    def due_rates(self, now_s: float) -> list[Where]:
        """Return the queues, and the keys with their queues, whose logs are to be looked at now; see `allow`."""
        return self._parking.pacing.due(now_s)

    def allow(self, where: Where, count: int, until_s: float) -> None:
        """Suggest `count` names of a queue, or with a key, and none beyond that before `until_s` (monotonic)."""
        if where[1] and not self._parking.is_parked(where):
            self._parking.pacing.forget(where)
            return
        self._parking.pacing.allow(where, count, until_s)
        self._open_rate(where, count)

    def forget_rate(self, where: Where) -> None:
        """Let a queue or key start what it likes: it has no rate any more."""
        self._parking.pacing.forget(where)
        self._open_rate(where, 1)

    def unspent(self, name: str) -> None:
        """Let another name start for one that was suggested and did not start."""
        if not self._is_plain:
            for where in self._parking.pacing.refund(name):
                self._open_rate(where, 1)

    def _open_rate(self, where: Where, count: int) -> None:
        queue, key = where
        if not key:
            self._open(queue)
            return
        for _ in range(count):
            if not (freed := self._parking.open_key(where)):
                break
            self._put_back(freed)

    def reopen(self, queue: str, key: str = "") -> None:
        """Suggest names of a queue, or the next one of a key, again."""
        if key:
            self._put_back(self._parking.open_key((queue, key)))
            return
        self._parking.open(queue)
        self._open(queue)

    def pause_queues(self, paused: Iterable[str]) -> None:
        """Suggest no names of the queues that are paused now, and names of all others."""
        for queue in self._parking.pause(paused):
            self._open(queue)
        self._is_plain = self._is_plain and not paused

    def change_limits(self, limits: Queues, *, slots: int) -> None:
        """Use other limits of queues, or another number of slots of the pool."""
        opened, freed = self._parking.change(limits, slots)
        self._is_plain = self._is_plain and not limits
        for queue in opened:
            self._open(queue)
        self._put_back(freed)

    def put_needing(self, name: str) -> None:
        """Keep a name until some node can fill its needs; see `offer`."""
        if (parts := names.parse(name)) is not None and parts.needs:
            self._parking.lack(parts.needs)
        self.put_first(name)

    def offer(self, needed: str = "") -> None:
        """Suggest names with these needs again ("": with any)."""
        self._parking.offer(needed)
        self._ready.open_all()

    def release(self, name: str) -> None:
        """Count a suggested name as back, if it counts for a queue or key."""
        if self._is_plain:
            return
        queue, freed = self._parking.release(name)
        if queue:
            self._on_back(name)
            self._open(queue)
            self._put_back(freed)

    def _open(self, queue: str) -> None:
        if self.has_needs:
            self._ready.open_all()
        else:
            self._ready.open("" if queue == DEFAULT else queue)

    def _put_back(self, freed: list[Parked]) -> None:
        for item in freed:
            self._extend([item.key], -item.before, item.owner, item.turn)
            self._count -= 1  # parked names count as ready

    # --------------------------------------------------------------------------------------------------- clock

    def next_unverified(self) -> str | None:
        """Return a name with a distant time and an unread record, each once, or None."""
        return self._waiting.next_unverified(self._known)

    def recheck_waiting(self, now_at: float) -> list[str]:
        """Return all names that are due later, by their time; the caller reads their records (a clock was set)."""
        return self._waiting.recheck(now_at)

    def advance(self, wanted: set[str], now_at: float) -> None:
        """Make waiting names ready at once: their records say that they are due, whatever the times in the names."""
        for name in self._waiting.take_out(wanted):
            parts = names.parse(name)
            key = order.key_at(self._undated.new_stamp(now_at), name)  # increasing stamps, in the order of their times
            self._extend([key], *_line_of(parts))


def _line_of(parts: names.NameParts | None) -> tuple[int, str, str]:
    """Return the priority, the owner and the queue in a name."""
    if parts is None:
        return 0, "", ""
    return parts.priority, parts.owner, needs.turn_of(parts) if parts.needs else parts.queue
