"""The resources that a job needs, such as one GPU: their check, their flag in a name, and their turn. Computes only.

Nodes of a cluster offer resources by name; a machine that runs jobs itself offers none. In a pool's run queue the jobs
of one queue with the same needs have turns of their own, so that those that fit nowhere hold up nobody.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from queuectl.errors import InvalidJobError
from queuectl.model import names, order, sizes
from queuectl.model.names import NameParts

KEY = "resources"
MOST = 8
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")
_LARGEST = 2.0**60
_DEFAULT = "default"
# Between a queue and the needs of its turn; no name has this.
_BETWEEN = "\n"

# Which jobs a worker may get.
ANY, PLAIN, NEEDING = "any", "plain", "needing"


def parse(given: Mapping[str, float | str]) -> dict[str, float]:
    """Check the key `resources`; return it as a record holds it.

    Raises:
        InvalidJobError: the error names the key and its mistake.
    """
    if len(given) > MOST:
        raise InvalidJobError(f"{KEY}: has {len(given)} names, at most {MOST} are possible", key=KEY)
    made: dict[str, float] = {}
    for name, value in sorted(given.items()):
        if not _NAME.fullmatch(name):
            why = "must have 1 to 32 characters of A-Z a-z 0-9 . _ - and start with a letter"
            raise InvalidJobError(f"{KEY}: the name {name[:60]!r} {why}", key=KEY)
        try:
            made[name] = amount(value)
        except ValueError as error:
            hint = "write a number such as 1 or 0.5, or a size such as '16GB'"
            raise InvalidJobError(f"{KEY}.{name}: {error}", key=KEY, hint=hint) from error
    return made


def amount(value: float | str) -> float:
    """Return an amount of a resource: a number, or a size in bytes such as `16GB`.

    Raises:
        ValueError: it is neither, or not above 0.
    """
    number = float(sizes.parse(value)) if isinstance(value, str) else float(value)
    if not 0 < number <= _LARGEST or math.isnan(number):
        raise ValueError("must be above 0 and at most 2^60")
    return int(number) if number == int(number) else number


def flag(needs: Mapping[str, float]) -> str:
    """Return needs as the flag `needs` in a name has them: `GPU-1`, or for long ones a beginning and a hash."""
    return names.key_flag("-".join(f"{name}-{exact(needs[name])}" for name in sorted(needs)))


def exact(number: float) -> str:
    """Return an amount as a text that means exactly this number."""
    return str(int(number)) if number == int(number) else repr(float(number))


def words(needs: Mapping[str, float]) -> str:
    """Return needs for people: `GPU=1, memory=16 GiB`."""
    shown = {name: sizes.to_text(int(number)) if number >= 2**20 else f"{number:g}" for name, number in needs.items()}
    return ", ".join(f"{name}={number}" for name, number in sorted(shown.items()))


def turn_of(parts: NameParts | None) -> str:
    """Return the turn of a job in a run queue: its queue, and its needs if it has any ("": the default queue)."""
    if parts is None:
        return ""
    return f"{parts.queue}{_BETWEEN}{parts.needs}" if parts.needs else parts.queue


def of_turn(turn: str) -> tuple[str, str]:
    """Return the queue of a turn ("": the default queue), and the needs ("": none)."""
    queue, _, needs = turn.partition(_BETWEEN)
    return queue, needs


class Choice(NamedTuple):
    """Which jobs a pool takes."""

    only: frozenset[str] = frozenset()
    """The queues; none: all."""
    plain: bool = True
    """Whether it takes jobs without needs."""
    needing: bool = True
    """Whether it takes jobs with needs."""

    @property
    def is_choosy(self) -> bool:
        """True if it leaves jobs without flags alone, or jobs of some queues."""
        return bool(self.only) or not self.plain

    @property
    def takes_generated(self) -> bool:
        """True if it takes the jobs whose names are plain ids."""
        return self.plain and (not self.only or _DEFAULT in self.only)

    def leaves(self, name: str, parts: NameParts | None) -> bool:
        """Return whether it leaves a name to other pools. Of a drop only its judge knows that."""
        if parts is None or parts.after or not (parts.queue or parts.needs or order.key_of(name, parts)):
            return False
        if not (self.needing if parts.needs else self.plain):
            return True
        return bool(self.only) and (parts.queue or _DEFAULT) not in self.only
