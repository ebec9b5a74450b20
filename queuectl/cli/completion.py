"""Completes states, settings, tags, and the ids of jobs that a command can act on, at Tab.

A shell may evaluate a completion: zsh's script passes it to `eval`, and every shell puts the chosen word on the command
line. Names of files, tags and commands come from producers. So every completion passes `Plain`, which drops each word
with other characters than letters, digits and `._-`. No text of a job becomes the help of a completion.

Completion never makes or changes a folder. On an error it offers nothing.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from queuectl.errors import QueuectlError
from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, STATE_ALIASES

if TYPE_CHECKING:
    from queuectl.model.record import Record
    from queuectl.spool.folder import SpoolDir

Offer = Callable[[typer.Context, str], list[tuple[str, str]]]
_WORD = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 .,:;=/()<>+_-]")
# The most jobs to offer, and the most records to read for their tags.
_JOBS_MOST = 50
_READ_MOST = 200
_READ_S = 0.3
ANY_STATE = (RUNNING, PENDING, DLQ, DONE)


class Plain:
    """Mixin for a class that prints completions: drops everything that a shell could evaluate."""

    def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
        """Return only plain words with plain help."""
        found: list[Any] = super().get_completions(args, incomplete)  # type: ignore[misc]
        kept = [item for item in found if _WORD.fullmatch(item.value)]
        for item in kept:
            item.help = _NOT_PLAIN.sub("", item.help or "") or None
        return kept


def prepare() -> None:
    """Make Typer print completions through `Plain` for each shell."""
    from typer import _completion_classes as shells
    from typer._click.shell_completion import add_completion_class

    for made in (shells.BashComplete, shells.ZshComplete, shells.FishComplete, shells.PowerShellComplete):
        plain = type(f"Plain{made.__name__}", (Plain, made), {})
        for name in ("powershell", "pwsh") if made is shells.PowerShellComplete else (made.name,):
            add_completion_class(plain, name)


def ids(*states: str, held: bool | None = None) -> Offer:
    """Offer the ids of jobs in some states, the last names first; list each state once and open no file.

    With `held`, a job in pending/ must be held (True) or must not be (False).
    """

    def offer(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        found: dict[str, str] = {}
        spool = _spool(ctx)
        for state in states if spool is not None else ():
            assert spool is not None
            for job_id in _ids(spool, state, incomplete, held):
                found.setdefault(job_id, state)
        return [(job_id, found[job_id]) for job_id in heapq.nlargest(_JOBS_MOST, found)]

    return _quiet(offer)


def _ids(spool: SpoolDir, state: str, prefix: str, held: bool | None) -> Iterator[str]:
    listed = [name for name in os.listdir(spool.folder(state)) if name.startswith(prefix)]
    if state == PENDING and held is not None:
        listed = [name for name in listed if names.is_held(name) == held]
    for name in heapq.nlargest(2 * _JOBS_MOST, listed):
        parts = names.parse(name)
        if parts is not None and not names.why_bad_id(parts.stem):
            yield parts.stem


def words(*known: str) -> Offer:
    """Offer fixed words."""
    return _quiet(lambda _ctx, incomplete: [(word, "") for word in known if word.startswith(incomplete.lower())])


def states(*known: str) -> Offer:
    """Offer states, and their other names once their beginning is typed."""

    def offer(_ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        typed = incomplete.lower()
        others = [word for word, state in STATE_ALIASES.items() if typed and state in known]
        return [(word, STATE_ALIASES.get(word, "")) for word in (*known, *others) if word.startswith(typed)]

    return _quiet(offer)


def tags() -> Offer:
    """Offer the tags of jobs; read some records, for a short time only."""
    return _quiet(lambda ctx, incomplete: _counted((tag for item in _records(ctx) for tag in item.tags), incomplete))


def queues() -> Offer:
    """Offer the queues of jobs, in the same way."""
    return _quiet(lambda ctx, incomplete: _counted((item.place[0] or "default" for item in _records(ctx)), incomplete))


def schedules() -> Offer:
    """Offer the names of schedules."""

    def offer(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        from queuectl.spool import schedule_files

        spool = _spool(ctx)
        found = {} if spool is None else schedule_files.entries(schedule_files.names(spool))
        return [(name, "") for name in sorted(found) if found[name].file and name.startswith(incomplete)]

    return _quiet(offer)


def owners() -> Offer:
    """Offer the owners of jobs, in the same way."""
    return _quiet(lambda ctx, incomplete: _counted((item.owner for item in _records(ctx)), incomplete))


def _counted(found: Iterable[str], incomplete: str) -> list[tuple[str, str]]:
    return [(word, "") for word in sorted({word for word in found if word and word.startswith(incomplete)})]


def _records(ctx: typer.Context) -> Iterator[Record]:
    spool, until_s = _spool(ctx), time.monotonic() + _READ_S
    for state in ANY_STATE if spool is not None else ():
        assert spool is not None
        for name in heapq.nlargest(_READ_MOST, os.listdir(spool.folder(state))):
            if time.monotonic() > until_s:
                return
            if name.endswith(".json"):
                try:
                    yield spool.read(state, name).record
                except (OSError, QueuectlError):
                    continue


def setting_names() -> Offer:
    """Offer the names of settings."""

    def offer(_ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        from queuectl.model.setting import SETTINGS

        typed = incomplete.lower().replace("_", "-")
        shown = [(each.name.replace("_", "-"), each.allowed) for each in SETTINGS]
        return [(name, allowed) for name, allowed in shown if name.startswith(typed)]

    return _quiet(offer)


def setting_values() -> Offer:
    """Offer the values of the setting that was typed before: the words of its description that it accepts."""

    def offer(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        from queuectl.model import settings

        known = settings.setting(str(ctx.params.get("key") or ""))
        found = dict.fromkeys(re.findall(r"[a-z]{2,}", known.allowed))
        return [(word, "") for word in found if word.startswith(incomplete.lower()) and _takes(known.name, word)]

    return _quiet(offer)


def _takes(name: str, word: str) -> bool:
    from queuectl.model import settings

    try:
        settings.from_word(name, word)
    except QueuectlError:
        return False
    return True


def _spool(ctx: typer.Context) -> SpoolDir | None:
    """Return the spool that the command would use, or None if there is none yet: Tab makes no folder."""
    from queuectl.cli import context
    from queuectl.spool.folder import SpoolDir, is_spool

    path = context.options.spool or str(ctx.find_root().params.get("spool") or "") or context.found_path()
    return SpoolDir(path) if path and is_spool(path) else None


def _quiet(offer: Offer) -> Offer:
    def call(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        try:
            return offer(ctx, incomplete)
        except (QueuectlError, OSError, ValueError):
            return []  # an error would disturb the shell's command line

    return call
