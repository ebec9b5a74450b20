"""Keeps the names that must wait behind a full key, and counts what each queue has out. Computes only.

A pool suggests no more names of a queue or key than may run at once. What other pools run is not counted here: they
show when a worker finds the gate shut (`shut`). The gate decides; this only saves useless tries.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from queuectl.model import names, needs, queues
from queuectl.model.pacing import Pacing, Where
from queuectl.model.queues import DEFAULT, Place, Queues

# Where the flags of a name with a generated id begin.
_FLAGS_AT = len("YYYYMMDD-HHMMSS-UUUUUU-TTTT")
# The usual flag of a due time: what follows it means the same without it.
_DUE, _DUE_CHARS = ",due=", len(",due=YYYYMMDDTHHMMSSZ")
_KINDS_AT_MOST = 10_000


class Kind(msgspec.Struct, frozen=True):
    """What the flags in a name say: what limits the job, and its line."""

    place: Place | None
    before: int = 0
    """The negative priority."""
    owner: str = ""
    turn: str = ""


class Parked(msgspec.Struct, frozen=True, order=True):
    """A name that waits behind a full key: the order in which they come back, and its line."""

    before: int
    """The negative priority."""
    key: str
    """As in `order`."""
    owner: str
    turn: str


class Parking:
    """What is out, and what is parked, in one pool.

    Args:
        limits: the queues of the settings.
        slots: how many jobs this pool runs at once.
    """

    def __init__(self, limits: Queues, slots: int) -> None:
        self.limits = limits
        self._slots = slots
        self._kinds: dict[str, Kind] = {}
        """By the flags of names with generated ids, because many names have the same."""
        self._out: dict[str, Place] = {}
        self._out_of: Counter[str] = Counter()
        self._out_with: Counter[Where] = Counter()
        self._parked: dict[Where, list[Parked]] = {}
        self._full: set[str] = set()
        self._shut: set[str] = set()
        self._paused: frozenset[str] = frozenset()
        self._shut_keys: set[Where] = set()
        self.pacing = Pacing()
        """What the rates let this pool suggest."""
        self._lacking: set[str] = set()
        """Needs that no node can fill now."""
        self.depth_of: Callable[[str], int] = lambda _queue: 1
        """How many names are suggested for each place of a queue with fewer slots than the pool."""
        self.kind = needs.ANY
        """Which jobs have turns at this moment: those that the worker which asks may get."""

    def is_closed(self, turn: str) -> bool:
        """Return whether the jobs of a queue with certain needs, or with none, are left out of the turns."""
        queue, needed = needs.of_turn(turn)
        if needed in self._lacking or self.kind == (needs.PLAIN if needed else needs.NEEDING):
            return True
        queue = queue or DEFAULT
        return queue in self._full or queue in self._shut or queue in self._paused or self.pacing.is_closed(queue)

    def _kind_of(self, name: str) -> Kind:
        is_due = name.startswith(_DUE, _FLAGS_AT)
        flags = name[_FLAGS_AT + _DUE_CHARS :] if is_due else name[_FLAGS_AT:]
        kind = self._kinds.get(flags)
        if kind is not None and name.find(",") == _FLAGS_AT:
            return kind
        parts = names.parse(name)
        if parts is None:
            return Kind(None)
        place = queues.place(parts.queue, parts.key, parts.owner, self.limits)
        kind = Kind(place, -parts.priority, parts.owner, needs.turn_of(parts))
        if not parts.arrived and name.find(",") == _FLAGS_AT and flags.startswith(",") and _DUE not in flags:
            if len(self._kinds) >= _KINDS_AT_MOST:
                self._kinds.clear()
            self._kinds[flags] = kind
        return kind

    def admit(self, name: str, key: str) -> bool:
        """Return whether a name may be suggested now; if not, it is parked behind its key."""
        kind = self._kind_of(name)
        place = kind.place
        if place is None or name in self._out:
            return True
        where = place.queue, place.key
        if place.key:
            if where in self._shut_keys or self._out_with[where] >= place.per_key or self.pacing.is_closed(*where):
                self._park(where, kind, key)
                return False
            self._out_with[where] += 1
        self.pacing.spend(name, *where)
        self._out[name] = place
        self._out_of[place.queue] += 1
        if self._has_all_out(place):
            self._full.add(place.queue)
        return True

    def narrow(self, name: str) -> Place | None:
        """Return what limits a name that is out, if its queue has fewer slots than the pool; else None.

        With as many slots as the pool has, the pool alone cannot pass the limit.
        """
        place = self._out.get(name)
        return place if place is not None and 0 < place.slots < self._slots else None

    def _has_all_out(self, place: Place) -> bool:
        if not 0 < place.slots < self._slots:
            return False
        out = self._out_of[place.queue]
        return out >= place.slots and out >= place.slots * self.depth_of(place.queue)

    def _park(self, where: Where, kind: Kind, key: str) -> None:
        heapq.heappush(self._parked.setdefault(where, []), Parked(kind.before, key, kind.owner, kind.turn))

    def release(self, name: str) -> tuple[str, list[Parked]]:
        """Count a name that was suggested as back; return the queue that may be open now ("": none) and the names
        that come back.
        """
        place = self._out.pop(name, None)
        if place is None:
            return "", []
        self.pacing.ended(name)
        self._out_of[place.queue] -= 1
        if not self._out_of[place.queue]:
            del self._out_of[place.queue]
        if not self._has_all_out(place):
            self._full.discard(place.queue)
        self._shut.discard(place.queue)
        where = (place.queue, place.key)
        if not place.key:
            return place.queue, []
        self._out_with[where] -= 1
        if not self._out_with[where]:
            del self._out_with[where]
        return place.queue, self.open_key(where)

    def forget_out(self) -> None:
        """Count nothing as out. Call it when no worker has a name."""
        for memory in (self._out, self._out_of, self._out_with, self._full):
            memory.clear()
        self.pacing.clear()

    # ------------------------------------------------------------------------------------- what other pools run

    def shut(self, queue: str) -> None:
        """Leave a queue out: its gate lets no more in."""
        self._shut.add(queue)

    def shut_key(self, name: str, key: str, where: Where, until_s: float | None = None) -> None:
        """Park a name behind its key, which lets no more in: until `until_s`, if its rate is why."""
        if until_s is None:
            self._shut_keys.add(where)
        else:
            self.pacing.close(where, until_s)
        self._park(where, self._kind_of(name), key)

    def is_parked(self, where: Where) -> bool:
        """Return whether names wait behind a key."""
        return where in self._parked

    @property
    def watched(self) -> tuple[set[str], set[Where]]:
        """The queues and the keys that a gate has shut."""
        return self._shut, self._shut_keys

    def lack(self, needed: str) -> None:
        """Leave out the jobs with these needs."""
        self._lacking.add(needed)

    def offer(self, needed: str) -> None:
        """Give the jobs with these needs their turns again ("": with any needs)."""
        self._lacking -= {needed} if needed else self._lacking.copy()

    def open(self, queue: str) -> None:
        """Give a queue its turns again."""
        self._shut.discard(queue)

    def open_key(self, where: Where) -> list[Parked]:
        """Return the first name behind a key, which may have room now."""
        self._shut_keys.discard(where)
        line = self._parked.get(where)
        if not line or self.pacing.is_closed(*where):
            return []
        item = heapq.heappop(line)
        if not line:
            del self._parked[where]
        return [item]

    def pause(self, paused: Iterable[str]) -> set[str]:
        """Leave out the queues that are paused now; return those that are not paused any more."""
        before, self._paused = self._paused, frozenset(paused)
        return set(before - self._paused)

    def change(self, limits: Queues, slots: int) -> tuple[set[str], list[Parked]]:
        """Use other limits; return the queues that may be open now and all parked names."""
        self.limits = limits
        self._kinds.clear()
        self._slots = slots
        opened = self._full | self._shut | self.pacing.clear()
        freed = [item for line in self._parked.values() for item in line]
        for memory in (self._full, self._shut, self._shut_keys, self._parked):
            memory.clear()
        return opened, freed
