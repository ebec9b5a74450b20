"""What a keeper knows of each session of a pool: its lease, its runs, its outcomes. Computes only."""

from __future__ import annotations

import os

from queuectl.cluster.lease_model import NodeLease
from queuectl.cluster.protocol import BeatRequest, RunEnd
from queuectl.cluster.wire import ProtocolError

# A session without anything that is silent for so long is forgotten.
_FORGOTTEN_AFTER_S = 3600.0
# Runs are remembered a little longer than a start by a fresh token can take.
_REMEMBER_LONGER_S = 5.0
_MAX_SESSIONS = 1000


class Session:
    """One worker of a pool, as the node knows it."""

    def __init__(self, name: str, first_token: int, now_s: float) -> None:
        self.name = name
        self.lease = NodeLease(os.urandom(6).hex(), first_token=first_token)
        self.lease_s = 0.0
        self.runs: set[str] = set()
        """The runs that live."""
        self.ended: dict[str, RunEnd] = {}
        """The outcomes that are not acknowledged, also those of earlier members."""
        self.heard_s = now_s
        self._seen: dict[str, float] = {}
        """Runs that were started or fenced, and when: they do not start (again)."""

    def prolong(self, beat: BeatRequest, now_s: float) -> None:
        """Take what a beat says about the lease."""
        self.heard_s = now_s
        self.lease.give_up(beat.void)
        if beat.token and beat.grant == self.lease.grant:
            self.lease_s = max(self.lease_s, beat.lease_s)
            self.lease.take(beat.token, beat.lease_s, now_s)

    def renew(self) -> None:
        """Begin another lease after one that has ended, when nothing lives any more."""
        self.lease = NodeLease(os.urandom(6).hex(), first_token=self.lease.next_token)
        self._seen.clear()  # starts under the old grant are refused by it

    def fence(self, run: str, now_s: float) -> bool:
        """Refuse a run from now on, unless it is known; return whether it is fenced."""
        if run in self.runs or run in self.ended:
            return False
        self.remember(run, now_s)
        return True

    def knows(self, run: str) -> bool:
        """Return whether a run was started or fenced."""
        return run in self.runs or run in self.ended or run in self._seen

    def remember(self, run: str, now_s: float) -> None:
        """Note that a run was started or fenced, for as long as a message that starts it may still arrive."""
        self._seen[run] = now_s
        while (oldest := next(iter(self._seen))) != run:
            if now_s - self._seen[oldest] < self.lease_s + _REMEMBER_LONGER_S:
                break
            del self._seen[oldest]

    def news(self, beat: BeatRequest) -> list[RunEnd]:
        """Return the outcomes that the pool has not heard of."""
        known = set(beat.known)
        return [end for run, end in self.ended.items() if run not in known]


class Sessions:
    """All sessions of a keeper, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Session] = {}
        self._first_token = 1

    def all(self) -> list[Session]:
        """Return the sessions."""
        return list(self._by_name.values())

    def get(self, name: str, now_s: float) -> Session:
        """Return a session, a new one if it is not known.

        Raises:
            ProtocolError: there are too many, or the name is none.
        """
        found = self._by_name.get(name)
        if found is None:
            if not 0 < len(name) <= 200 or not name.isprintable():
                raise ProtocolError("session: the name of a worker is needed")
            self._forget(now_s)
            if len(self._by_name) >= _MAX_SESSIONS:
                raise ProtocolError(f"session: this node has {_MAX_SESSIONS} sessions already")
            found = self._by_name[name] = Session(name, self._first_token, now_s)
        return found

    def find(self, name: str) -> Session | None:
        """Return a session if it is known."""
        return self._by_name.get(name)

    def _forget(self, now_s: float) -> None:
        """Forget sessions that are over. A token has one meaning for the life of a keeper."""
        for each in self.all():
            if not each.runs and not each.ended and now_s - each.heard_s > _FORGOTTEN_AFTER_S:
                self._first_token = max(self._first_token, each.lease.next_token)
                del self._by_name[each.name]
