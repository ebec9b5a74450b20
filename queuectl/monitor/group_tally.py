"""Count the jobs of each group, those of one file, by the names that a snapshot lists anyway. Computes only.

Names are searched thousands at once. A listing without a name of a group costs one search for the instant in a token.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict

from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.monitor.rows import GroupProgress

# Rows, at most.
GROUPS = 20
# A group that has ended is news for this long, from when its token was made.
_NEWS_S = 86_400.0
# As in `spool.groups`: TOKEN is a name, an instant and four characters, and an id goes on after it.
# `re` compiles these when they are first needed: most spools have no groups.
_INSTANT = r"-[0-9]{8}T[0-9]{6}-[0-9a-z]{4}-"
_ID = rf"^([^,\n]+{_INSTANT[:-1]})-[A-Za-z0-9._-]+"
_MEMBER = rf"{_ID}(?:,[^\n]*)?\.json$"
_CANCELLED = rf"{_ID}\.cancelled\.txt$"
_INSTANT_CHARS, _END_CHARS = 15, 5


class GroupTally:
    """The jobs of one snapshot by group and state."""

    def __init__(self) -> None:
        self._jobs: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._cancelled: Counter[str] = Counter()

    def add(self, state: str, listed: list[str]) -> None:
        """Count names of files in a state's folder, also those of texts in dlq/."""
        text = "\n".join(listed)
        if "T" not in text or re.search(_INSTANT, text) is None:  # the first test takes a fiftieth of the second
            return
        self._jobs[state].update(re.findall(_MEMBER, text, re.MULTILINE))
        if state == DLQ:
            self._cancelled.update(re.findall(_CANCELLED, text, re.MULTILINE))

    def rows(self, now_at: float) -> tuple[tuple[GroupProgress, ...], int]:
        """Return rows of the groups that are not over, newest first, then of the newest that are; and how many groups
        that are not over have no row.
        """
        tokens = set().union(*self._jobs.values())
        running = {token for token in tokens if self._jobs[PENDING][token] or self._jobs[RUNNING][token]}
        news = {token for token in tokens - running if (at := _made_at(token)) is not None and at > now_at - _NEWS_S}
        chosen = heapq.nlargest(GROUPS, running | news, key=lambda token: (token in running, _instant(token), token))
        return tuple(map(self._row, chosen)), max(0, len(running) - GROUPS)

    def _row(self, token: str) -> GroupProgress:
        by_state = {state: self._jobs[state][token] for state in (PENDING, RUNNING, DONE, DLQ)}
        cancelled = min(self._cancelled[token], by_state[DLQ])
        dead = by_state[DLQ] - cancelled
        total = sum(by_state.values())
        return GroupProgress(token, total, by_state[DONE], dead, cancelled, by_state[RUNNING], by_state[PENDING])


def _instant(token: str) -> str:
    return token[-_INSTANT_CHARS - _END_CHARS : -_END_CHARS]


def _made_at(token: str) -> float | None:
    """Return when the token was made, None if the instant in it is none."""
    return times.from_name(f"{_instant(token)}Z")
