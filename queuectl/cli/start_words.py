"""Reads the usual words of `queuectl worker start` without Typer, whose import costs a fifth of a pool's start.

Whatever else is typed, a mistake included, is left to Typer. What both can read they read alike: a test compares them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from queuectl.cli import context
from queuectl.spool.pools import SLOTS_AT_MOST

_COMMANDS = ["worker", "start"]
_VALUES = {"--spool": "--spool", "--count": "--count", "-c": "--count", "--max-jobs": "--max-jobs"}


class Wanted(NamedTuple):
    """The pool that a command line asks for."""

    slots: int | None = None
    """How many jobs to run at once on this machine; None: as many as usual."""
    drain: bool = False
    max_jobs: int | None = None
    grace_s: float | None = None
    queues: tuple[str, ...] = ()
    """The queues whose jobs it runs; none: all."""
    is_cluster: bool = False
    """Whether its jobs run on the nodes of a cluster, in `cluster_slots` at most (None: the setting)."""
    cluster_slots: int | None = None
    as_json: bool = False


def read(words: list[str]) -> Wanted | None:
    """Return the pool that these words ask for, and keep their `--spool`; None if Typer must read them."""
    if context.COMPLETION_VARIABLE in os.environ:
        return None
    found: dict[str, str] = {}
    drain = False
    commands: list[str] = []
    left = iter(words)
    for word in left:
        is_of_start = commands == _COMMANDS
        if not word.startswith("-"):
            commands.append(word)
        elif word == "--drain" and is_of_start:
            drain = True
        else:
            option, value = _VALUES.get(word, ""), next(left, "")
            if not option or not value or value.startswith("-"):
                return None
            if not (commands == [] or is_of_start if option == "--spool" else is_of_start and _is_number(value)):
                return None
            found[option] = value
    count, max_jobs = (int(found[option]) if option in found else None for option in ("--count", "--max-jobs"))
    if commands != _COMMANDS or max_jobs == 0 or not (count is None or 1 <= count <= SLOTS_AT_MOST):
        return None
    context.options.spool = found.get("--spool", "")
    return Wanted(count, drain, max_jobs)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
