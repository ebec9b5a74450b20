"""run_queue: the order of suggestions, compared with a simple model; and that no owner starves."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from queuectl.model import names
from queuectl.model.run_queue import RunQueue
from tests.helpers import NOON_AT

_ARRIVALS = {names.stamp(NOON_AT + seconds): NOON_AT + seconds for seconds in range(-5, 30)}
waiting_names = st.builds(
    lambda number, due_s, arrived, priority: names.waiting_name(
        f"job{number}", None if due_s is None else NOON_AT + due_s, priority, "", arrived
    ),
    st.integers(0, 12),
    st.none() | st.integers(-5, 30),
    st.just("") | st.sampled_from(sorted(_ARRIVALS)),
    st.integers(-1, 2),
)


owners = st.sampled_from(["", "anna", "bob", "carl"])


class Ready(NamedTuple):
    """A name that could run: what was put first (the last one comes first), then by instant, then by name."""

    first: int
    instant_us: int
    name: str


class FeederMachine(RuleBasedStateMachine):
    """Random listings, events, times and takes, against a plain list that is sorted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = RunQueue()
        self.now_at = NOON_AT
        self.ready: list[Ready] = []
        self.latest: dict[str, Ready] = {}  # a name can be ready more than once
        self.later: set[str] = set()
        self.taken: set[str] = set()
        self.skipped: set[str] = set()
        self.seen_us = 0
        self.put_first = 0

    def _became_ready(self, name: str) -> None:
        parts = names.parse(name)
        assert parts is not None
        if parts.due_at is not None:
            instant_us = round(parts.due_at * 1e6)
        elif parts.arrived:
            instant_us = round(_ARRIVALS[parts.arrived] * 1e6)
        else:
            instant_us = self.seen_us
        self._put(Ready(0, instant_us, name))

    def _put(self, item: Ready) -> None:
        self.ready.append(item)
        self.latest[item.name] = item

    def _arrive(self, fresh: list[str]) -> None:
        if fresh:
            self.seen_us = max(round(self.now_at * 1e6), self.seen_us + 1)
        for name in fresh:
            parts = names.parse(name)
            if parts is not None and parts.due_at is not None and parts.due_at > self.now_at:
                self.later.add(name)
            else:
                self._became_ready(name)

    def _known(self) -> set[str]:
        return {*(item.name for item in self.ready), *self.later, *self.taken}

    @rule(listing=st.lists(waiting_names, max_size=8, unique=True))
    def list_folder(self, listing: list[str]) -> None:
        """A scan: what is not known yet comes in; what was skipped and is gone is forgotten."""
        fresh = sorted(set(listing) - self._known() - self.skipped)
        self.skipped &= set(listing)
        assert self.queue.update(*names.split_generated(listing), self.now_at) == len(fresh)
        self._arrive(fresh)

    @rule(name=waiting_names)
    def event(self, name: str) -> None:
        """One name that an event brings."""
        fresh = [name] if name not in self._known() else []
        assert self.queue.add([name], self.now_at) == len(fresh)
        self._arrive(fresh)

    @rule(seconds=st.integers(0, 12))
    def time_passes(self, seconds: int) -> None:
        """Names become ready at their time."""
        self.now_at += seconds
        following = self.queue.promote(self.now_at)
        due = sorted((parts.due_at, name) for name in self.later if (parts := names.parse(name)) and parts.due_at)
        ripe = [name for due_at, name in due if due_at <= self.now_at]
        for name in ripe:
            self._became_ready(name)
        self.later -= set(ripe)
        left = [due_at for due_at, name in due if name in self.later]
        assert following == (min(left) if left else None)

    @rule()
    def take(self) -> None:
        """The next name is the first by instant among those of the highest priority."""
        expected = min(self.ready, key=lambda item: (-_priority(item.name), item), default=None)
        assert self.queue.take() == (expected.name if expected is not None else None)
        if expected is not None:
            self.ready.remove(expected)
            self.taken.add(expected.name)

    @rule(data=st.data(), how=st.sampled_from(["forget", "put_first", "skip"]))
    def give_back(self, data: st.DataObject, how: str) -> None:
        """A taken name is settled, or suggested again at once, or left until it changes."""
        if not self.taken:
            return
        name = data.draw(st.sampled_from(sorted(self.taken)))
        self.taken.discard(name)
        getattr(self.queue, how)(name)
        if how == "put_first":
            self.put_first -= 1
            self._put(Ready(self.put_first, 0, name))
        elif how == "skip":
            self.skipped.add(name)

    @rule()
    def judge(self) -> None:
        """A drop that waits is judged, and gone: only what tells no instant, and each but once."""
        name = self.queue.next_unjudged()
        if name is not None:
            parts = names.parse(name)
            assert parts is not None and parts.due_at is None and not parts.arrived
            self.queue.pull(name)
            self.queue.forget(name)
            self.ready.remove(self.latest[name])

    @rule(name=waiting_names)
    def put_first_late(self, name: str) -> None:
        """A second worker hands back a name that others have got since: it may be ready already, and be so twice."""
        if name not in self.later and name not in self.skipped:
            self.queue.put_first(name)
            self.taken.discard(name)
            self.put_first -= 1
            self._put(Ready(self.put_first, 0, name))

    @rule(data=st.data())
    def unskip(self, data: st.DataObject) -> None:
        """A skipped file changed."""
        if not self.skipped:
            return
        name = data.draw(st.sampled_from(sorted(self.skipped)))
        self.skipped.discard(name)
        fresh = [name] if name not in self._known() else []
        self.queue.unskip(name, self.now_at)
        self._arrive(fresh)

    @invariant()
    def counts_agree(self) -> None:
        """The run queue knows how much it has."""
        assert len(self.queue) == len(self.ready)
        assert self.queue.waiting == len(self.later)


class TurnsMachine(RuleBasedStateMachine):
    """Random names of several owners and priorities: what no order of events may do to an owner."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = RunQueue()
        self.count = 0
        self.ready: dict[tuple[int, str], list[str]] = {}  # by priority and owner, in the order of their arrival
        self.taken: list[str] = []
        # For each owner with work at a priority: the jobs of each other owner that were taken while it waited.
        self.passed_by: dict[tuple[int, str], Counter[str]] = {}

    def _new(self, owner: str, priority: int) -> str:
        self.count += 1
        return names.waiting_name(f"job{self.count:04}", None, priority, owner)

    def _arrived(self, name: str, *, first: bool = False) -> None:
        key = _turn_of(name)
        queue = self.ready.setdefault(key, [])
        queue.insert(0 if first else len(queue), name)
        self.passed_by.setdefault(key, Counter())

    @rule(owner=owners, priority=st.integers(0, 1), count=st.integers(1, 5), listed=st.booleans())
    def arrive(self, owner: str, priority: int, count: int, listed: bool) -> None:
        """An owner brings work: one listing, or events."""
        fresh = [self._new(owner, priority) for _ in range(count)]
        if listed:
            assert self.queue.update(*names.split_generated(fresh), NOON_AT) == count
        else:
            assert self.queue.add(fresh, NOON_AT) == count
        for name in fresh:
            self._arrived(name)

    @rule()
    def take(self) -> None:
        """The owner's first, of the highest priority; and nobody goes twice while another waits."""
        name = self.queue.take()
        if name is None:
            assert not any(self.ready.values())
            return
        priority, owner = key = _turn_of(name)
        assert priority == max(each for (each, _), queue in self.ready.items() if queue)
        assert self.ready[key].pop(0) == name
        self.taken.append(name)
        self.passed_by.pop(key)
        if self.ready[key]:
            self.passed_by[key] = Counter()
        for (level, other), passed in self.passed_by.items():
            if level == priority and other != owner:
                passed[owner] += 1
                assert passed[owner] <= 1, f"{owner} went twice while {other} waited"

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Nothing came of a turn: the name is taken first, and that turn did not count."""
        if self.taken:
            name = data.draw(st.sampled_from(self.taken))
            self.taken.remove(name)
            self.queue.put_first(name)
            priority, owner = _turn_of(name)
            self._arrived(name, first=True)
            for (level, other), passed in self.passed_by.items():
                if level == priority and other != owner:
                    passed[owner] -= 1

    @invariant()
    def counts_agree(self) -> None:
        """The run queue knows how much it has."""
        assert len(self.queue) == sum(map(len, self.ready.values()))


def _turn_of(name: str) -> tuple[int, str]:
    parts = names.parse(name)
    assert parts is not None
    return parts.priority, parts.owner


def _priority(name: str) -> int:
    parts = names.parse(name)
    return parts.priority if parts else 0


TestFeeder = FeederMachine.TestCase
TestFeeder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTurns = TurnsMachine.TestCase
TestTurns.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
