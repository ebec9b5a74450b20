"""Parses the queues of a spool, `[queues.NAME]` in queuectl.toml, and says which limits a job passes. Computes only.

A queue need not be in the settings: then it has no limits, and weight 1.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from queuectl.errors import InvalidSettingsError
from queuectl.model import names, rate, times
from queuectl.model.extras import DEFAULT_QUEUE
from queuectl.model.rate import Rate
from queuectl.model.setting import SETTINGS, Setting
from queuectl.model.setting_checks import FOREVER, duration, integer, number, one_of
from queuectl.model.spec import PRIORITY_LIMIT

SECTION = "queues"
DEFAULT = DEFAULT_QUEUE
OWNER = "owner"
# A board has a line per running job, and each start reads it.
SLOTS_LIMIT = 1000
# The head of a board has room for as many outcomes.
OUTCOMES_LIMIT = 200


class Queue(NamedTuple):
    """The settings of one queue. None: the setting of the spool applies."""

    slots: int = 0
    """How many of its jobs run at once, over all pools; 0: no limit."""
    per_key: int = 1
    """How many of its jobs with one key run at once."""
    key: str = ""
    """`owner`: the key of a job without a key is its owner."""
    weight: int = 1
    """How many jobs it starts per turn."""
    priority: int = 0
    """The priority of its jobs without their own."""
    max_retries: int | None = None
    backoff_base: float | None = None
    backoff_max: float | None = None
    jitter: float | None = None
    timeout: float | None = None
    rate: str = ""
    """How many of its jobs start in any window, as `model.rate` has it; "": no limit."""
    rate_per_key: str = ""
    """The same for those with one key."""
    halt_after: int = 0
    """After so many failed runs in a row it halts; 0: never."""
    halt_share: float = 0.0
    """If this share of the last `halt_of` runs failed, it halts; 0: never."""
    halt_of: int = 20
    halt_for: float | None = None
    """How long it halts; None: until somebody resumes it."""

    @property
    def has_breaker(self) -> bool:
        """Whether failures can halt it."""
        return bool(self.halt_after or self.halt_share)


Queues = Mapping[str, Queue]
_COPIED = "Copied into a job when it is accepted."
_PLAIN = Queue()


def _as_spool(name: str) -> Setting:
    """Return the setting of a queue that stands for the setting `name` of the spool."""
    known = next(each for each in SETTINGS if each.name == name)
    return known._replace(default="", meaning=f"The {name} of its jobs, instead of the setting {name}. {_COPIED}")


QUEUE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "slots",
        0,
        f"a whole number from 0 to {SLOTS_LIMIT}; 0 means no limit",
        integer(0, SLOTS_LIMIT),
        "How many jobs of this queue run at once, over all pools of this machine.",
    ),
    Setting(
        "per_key",
        1,
        f"a whole number from 1 to {SLOTS_LIMIT}",
        integer(1, SLOTS_LIMIT),
        "How many jobs of this queue with the same key run at once.",
    ),
    Setting(
        "key", "", '"owner", or "" for none', one_of(OWNER, ""), "owner: a job without a key has its owner as key."
    ),
    Setting(
        "weight",
        1,
        "a whole number from 1 to 1000",
        integer(1, 1000),
        "How many jobs this queue starts in its turn. Queues with jobs of equal priority take turns.",
    ),
    Setting(
        "priority",
        0,
        f"a whole number from -{PRIORITY_LIMIT} to {PRIORITY_LIMIT}",
        integer(-PRIORITY_LIMIT, PRIORITY_LIMIT),
        f"The priority of its jobs without their own. {_COPIED}",
    ),
    *map(_as_spool, ("max_retries", "backoff_base", "backoff_max", "jitter")),
    Setting(
        "timeout",
        "",
        "a duration of 0.001 seconds or more such as 30m or 2h",
        duration(0.001, times.LONGEST_S),
        f"The timeout of its jobs without their own. {_COPIED}",
    ),
    Setting(
        "rate",
        "",
        rate.ALLOWED,
        rate.check,
        "How many jobs of this queue start in any window of this length, over all pools. A retry is a start, too.",
    ),
    Setting("rate_per_key", "", rate.ALLOWED, rate.check, "The same for the jobs of this queue with one key."),
    Setting(
        "halt_after",
        0,
        f"a whole number from 0 to {OUTCOMES_LIMIT}; 0 means never",
        integer(0, OUTCOMES_LIMIT),
        "Circuit breaker: after so many failed runs in a row, the queue is paused by a file PAUSED-QUEUE with the last "
        "failure. Afterwards one job runs at a time, until one succeeds.",
    ),
    Setting(
        "halt_share",
        0,
        "a number from 0 to 1; 0 means never",
        number(0, 1),
        "The same if this share of the last halt_of runs failed.",
    ),
    Setting(
        "halt_of",
        20,
        f"a whole number from 2 to {OUTCOMES_LIMIT}",
        integer(2, OUTCOMES_LIMIT),
        "How many runs halt_share looks at.",
    ),
    Setting(
        "halt_for",
        FOREVER,
        "a duration from 1s such as 30s or 10m, or forever",
        duration(1, times.LONGEST_S, forever=True),
        "How long the circuit breaker pauses the queue. forever: until somebody resumes it.",
    ),
)
_BY_NAME = {setting.name: setting for setting in QUEUE_SETTINGS}


class Place(msgspec.Struct, frozen=True):
    """What limits a job: the queue and the key, with their limits."""

    queue: str
    key: str
    """As `names.key_flag` returns it; "" for none."""
    slots: int
    """0: no limit."""
    per_key: int
    rules: Queue | None = None
    """The settings of the queue, if it has a rate or a circuit breaker."""


def rates_of(place: Place) -> tuple[tuple[str, Rate], ...]:
    """Return the rates that a job passes: that of its key, and then that of its queue (with the key "")."""
    if place.rules is None:
        return ()
    return _rates(place.rules.rate, place.rules.rate_per_key if place.key else "", place.key)


@functools.lru_cache(maxsize=256)
def _rates(of_queue: str, of_key: str, key: str) -> tuple[tuple[str, Rate], ...]:
    found = ((key, rate.of(of_key)), ("", rate.of(of_queue)))
    return tuple((key, each) for key, each in found if each is not None)


def counts_alike(old: Queue, new: Queue) -> bool:
    """Return whether the board of a queue is right after a change: all its jobs passed the gate, with the same keys."""
    return old.key == new.key and _gates_all(old) and _gates_all(new)


def _gates_all(limits: Queue) -> bool:
    return bool(limits.slots or limits.rate or limits.has_breaker)


def place(queue: str, key: str, owner: str, queues: Queues) -> Place | None:
    """Return what limits a job, or None if nothing does. `key` is as `names.key_flag` returns it."""
    queue = queue or DEFAULT
    limits = queues.get(queue, _PLAIN)
    if not key and owner and limits.key == OWNER:
        key = names.key_flag(owner)
    if not key and not _gates_all(limits):
        return None
    rules = limits if limits.rate or limits.rate_per_key or limits.has_breaker else None
    return Place(queue, key, limits.slots, limits.per_key, rules)


def replace(live: Queues, new: Queues) -> None:
    """Change the queues of a running process in place, for everything that uses its settings."""
    assert isinstance(live, dict)
    live.clear()
    live.update(new)


def weight(queue: str, queues: Queues) -> int:
    """Return how many names of a queue are taken in its turn."""
    return queues.get(queue or DEFAULT, _PLAIN).weight


def setting(name: str) -> Setting:
    """Return the setting `queues.QUEUE.KEY`, with that name. In KEY, dashes and underscores are interchangeable.

    Raises:
        InvalidSettingsError: the name of the queue is not valid, or a queue has no such setting.
    """
    _, _, rest = name.partition(".")
    queue, dot, key = rest.rpartition(".")
    key = key.replace("-", "_")
    if not dot:
        raise InvalidSettingsError(
            f"{name[:60]}: takes a table [queues.NAME] with settings of the queue",
            key=name,
            hint="write queues.NAME.KEY, such as queues.mail.slots",
        )
    if why := names.why_bad_queue(queue):
        raise InvalidSettingsError(f"{SECTION}.{queue[:60]}: the name of a queue {why}", key=name)
    if key not in _BY_NAME:
        near = difflib.get_close_matches(key, _BY_NAME, n=1, cutoff=0.5)
        question = f"; did you mean {near[0]}?" if near else ""
        hint = f"a queue has these settings: {', '.join(_BY_NAME)}"
        raise InvalidSettingsError(f"{name[:80]}: unknown key{question}", key=name, hint=hint)
    return _BY_NAME[key]._replace(name=f"{SECTION}.{queue}.{key}")


def parse(values: Mapping[str, Any]) -> dict[str, Queue]:
    """Return the queues of checked settings, `queues.QUEUE.KEY` by name."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        _, queue, key = name.split(".")
        found.setdefault(queue, {})[key.replace("-", "_")] = value
    return {queue: Queue(**fields) for queue, fields in found.items()}


def example() -> list[str]:
    """Return the lines of a new queuectl.toml that show a queue."""
    return [
        '# A queue with limits, for jobs with "queue": "mail". All settings of a queue: docs/settings.md.',
        "# Running workers use a change at once.",
        "# [queues.mail]",
        "# slots = 4          # at most so many of its jobs run at once; 0 means no limit",
        '# per_key = 1        # at most so many of its jobs with the same "key" run at once',
        "# weight = 3         # jobs that it starts in its turn",
        "#",
        "# [queues.api]",
        '# rate = "100/1m"    # at most so many of its jobs start in any minute',
        "# halt_after = 5     # after so many failed runs in a row the queue is paused",
        '# halt_for = "10m"   # for so long; left out: until somebody resumes it',
    ]
