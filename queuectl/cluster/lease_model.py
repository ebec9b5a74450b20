"""The lease under which a node runs commands for a pool, seen from both ends. Computes only: time comes as `now_s`.

Each answer of the node holds a new token. The pool brings the newest one back, and the lease then runs from the
instant at which that token was *made*, by the node's own clock. So a message that was on its way for a minute prolongs
nothing. The pool knows a bound by its own clock: when it *received* the last token that it ever brought back, plus the
lease. The token was made before it was received, so the node's lease ends first (promise P3).

The clocks need not agree. They must run at the same rate within 1 %, and also while the machine sleeps (the node uses
CLOCK_BOOTTIME); `margin_s` covers that and the time that the node takes to end its commands.
"""

from __future__ import annotations

import math
from collections import OrderedDict

# A node asks commands to end this long before its lease ends, and kills them at its end.
TERM_BEFORE_S = 5.0
# Tokens that a node remembers for a session. One is made for each answer, and the pool brings back the newest.
_TOKENS_KEPT = 256


def margin_s(lease_s: float) -> float:
    """Return how long after its bound a pool gives a lease up: 3 s with 30 s.

    Both clocks may be 1 % off, in opposite directions; the rest is for the kill.
    """
    return max(3.0, 2.4 + 0.0203 * lease_s)


class NodeLease:
    """The lease of one session, as the node's keeper has it.

    A lease is new (no token came back yet, nothing may run), runs, or has ended. An ended one never runs again: the
    keeper ends its commands and makes another NodeLease, with another grant.
    """

    def __init__(self, grant: str, *, first_token: int = 1) -> None:
        self.grant = grant
        self.until_s = -math.inf
        """When the lease ends."""
        self.is_void = False
        self.next_token = first_token
        """Counts on over all leases of a keeper, so that no token has two meanings."""
        self._made: OrderedDict[int, float] = OrderedDict()

    def make_token(self, now_s: float) -> int:
        """Return a new token for an answer that leaves now."""
        token = self.next_token
        self.next_token += 1
        self._made[token] = now_s
        if len(self._made) > _TOKENS_KEPT:
            self._made.popitem(last=False)
        return token

    def take(self, token: int, lease_s: float, now_s: float) -> bool:
        """Prolong the lease by a token that came back; return whether the token is one of this lease and not too old.

        The lease never gets shorter.
        """
        made_s = self._made.get(token)
        if made_s is None or self.has_ended(now_s) or now_s >= made_s + lease_s:
            return False
        self.until_s = max(self.until_s, made_s + lease_s)
        return True

    def is_fresh(self, token: int, within_s: float, now_s: float) -> bool:
        """Return whether a token of this lease is younger than `within_s`."""
        made_s = self._made.get(token)
        return made_s is not None and now_s < made_s + within_s

    def give_up(self, grant: str) -> bool:
        """End the lease because the pool has given this grant up; return whether it is this lease's."""
        if grant and grant == self.grant:
            self.is_void = True
        return self.is_void

    def has_ended(self, now_s: float) -> bool:
        """Return whether commands may no longer run, though they once might."""
        return self.is_void or -math.inf < self.until_s <= now_s

    def left_s(self, now_s: float) -> float:
        """Return for how long commands may run from now on; 0 for a new lease too."""
        return 0.0 if self.is_void else max(0.0, self.until_s - now_s)


class PoolLease:
    """The lease that one node has given to this session, as the pool knows it. Given up, it never comes back.

    An earlier life of this session may have prolonged a lease of `lease_s` until `bound_s` (adoption).
    """

    def __init__(self, bound_s: float = -math.inf, lease_s: float = 0.0) -> None:
        self.bound_s = bound_s
        """The node's lease has ended by then, whatever was lost or comes late (by the pool's clock, in seconds)."""
        self.token = 0
        self._received_s = -math.inf
        self._lease_s = lease_s

    def receive(self, token: int, now_s: float) -> None:
        """Note a token from an answer. Answers may arrive in any order; the newest token counts."""
        if token > self.token:
            self.token, self._received_s = token, now_s

    def bound_with(self, lease_s: float) -> float:
        """Return the bound if the token were brought back now. It must be on disk before that (the session's stamp)."""
        return max(self.bound_s, self._received_s + lease_s)

    def echo(self, lease_s: float, now_s: float) -> int:
        """Return the token to bring back in a beat that leaves now, 0 if there is none or this lease is given up."""
        if not self.token or self.is_given_up(now_s):
            return 0
        self.bound_s = self.bound_with(lease_s)
        self._lease_s = max(self._lease_s, lease_s)
        return self.token

    @property
    def give_up_s(self) -> float:
        """Return when the pool takes what ran there as dead; -inf if nothing can have run."""
        return self.bound_s + margin_s(self._lease_s)

    def is_given_up(self, now_s: float) -> bool:
        """Return whether the commands of this lease are dead for certain: then they are tried again elsewhere."""
        return self.bound_s > -math.inf and now_s >= self.give_up_s
