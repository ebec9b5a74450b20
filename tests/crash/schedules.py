"""The operations of the crash sweep on schedules: looks that make notes and jobs, and what must be there after each (P14)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from queuectl.jobs.ticker import Ticker
from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool import schedule_files
from queuectl.spool.folder import SpoolDir
from tests.crash.driver import Hands, Operation

# 2027-01-15T08:00:00Z.
START_AT = 1_800_000_000.0
HOURLY = {"command": "true", "cron": "0 * * * *", "zone": "UTC", "overlap": "allow"}
_TEXT = "cron 0 * * * * in UTC"


class Wanted(NamedTuple):
    """What must be there after a look that was cut short and the looks after it: ticks by hour, and the note."""

    hours: tuple[int, ...]
    note: str
    content: str = _TEXT


def put(hands: Hands, content: dict[str, Any], name: str = "a.json") -> Path:
    """Write a schedule."""
    os.makedirs(hands.spool.schedules_dir, exist_ok=True)
    path = Path(hands.spool.schedule_path(name))
    path.write_text(json.dumps(content))
    return path


def look(hands: Hands, at: float | None = None) -> list[str]:
    """What a pool does that has just started: look until nothing is left to do."""
    if at is not None:
        hands.clock.now_at = at
    ticker = Ticker(hands.session, notify=lambda _: None)
    made: list[str] = []
    try:
        while True:
            some = ticker.look(schedule_files.names(hands.spool), list_again=lambda: schedule_files.names(hands.spool))
            made += some
            if not some and not ticker.is_behind:
                return made
    finally:
        ticker.close()


def _noted(hours: float = 0.0, **keys: Any) -> Callable[[Hands], object]:
    """A schedule whose note is there, and the job of the first tick if it was `hours` ago."""

    def prepare(hands: Hands) -> None:
        put(hands, {**HOURLY, **keys})
        look(hands, START_AT)
        if hours:
            look(hands, START_AT + hours * 3600)

    return prepare


def _at(hours: float) -> Callable[[Hands], Any]:
    """Nothing but the time."""

    def begin(hands: Hands) -> None:
        hands.clock.now_at = START_AT + hours * 3600

    return begin


def _changed(hands: Hands) -> None:
    put(hands, {**HOURLY, "cron": "30 * * * *"})
    _at(2.6)(hands)


def _held(hands: Hands) -> None:
    if os.path.exists(path := hands.spool.schedule_path("a.json")):
        os.rename(path, hands.spool.schedule_path("a,hold.json"))
    _at(2.6)(hands)


def _wrong(hands: Hands) -> None:
    put(hands, {**HOURLY, "catch_up": "some"})
    _at(0.5)(hands)


def _many(hands: Hands) -> None:
    for name in "abc":
        put(hands, HOURLY, f"{name}.json")
    look(hands, START_AT)


def _operation(name: str, prepare: Callable[[Hands], object], begin: Callable[[Hands], Any]) -> Operation:
    return Operation(f"schedule: {name}", prepare, begin, lambda hands, _: look(hands), {})


_NEXT_10 = "a,last=20270115T090000Z,next=20270115T100000Z.tick"
OPERATIONS: dict[str, tuple[Operation, Wanted]] = {
    operation.name: (operation, wanted)
    for operation, wanted in (
        (
            _operation("a first look", lambda hands: put(hands, HOURLY), _at(0)),
            Wanted((), "a,next=20270115T090000Z.tick"),
        ),
        (_operation("a tick", _noted(), _at(1)), Wanted((9,), _NEXT_10)),
        (_operation("a tick that may not overlap", _noted(overlap="skip"), _at(1)), Wanted((9,), _NEXT_10)),
        (
            _operation("a tick that would wait", _noted(overlap="wait"), _at(1)),
            Wanted((9,), _NEXT_10),
        ),
        (
            _operation("a tick after one", _noted(1), _at(2)),
            Wanted((9, 10), "a,last=20270115T100000Z,next=20270115T110000Z.tick"),
        ),
        (_operation("three schedules", _many, _at(1)), Wanted((9,), _NEXT_10)),
        (
            _operation("all of three ticks", _noted(catch_up="all"), _at(3.5)),
            Wanted((9, 10, 11), "a,last=20270115T110000Z,next=20270115T120000Z.tick"),
        ),
        (
            _operation("one of three ticks", _noted(), _at(3.5)),
            Wanted((11,), "a,last=20270115T110000Z,next=20270115T120000Z.tick"),
        ),
        (
            _operation("none of three ticks", _noted(catch_up="none"), _at(3.5)),
            Wanted((), "a,next=20270115T120000Z.tick"),
        ),
        (
            _operation("the last job waits", _noted(1, overlap="skip"), _at(2)),
            Wanted((9,), "a,last=20270115T090000Z,next=20270115T110000Z,skipped=1.tick"),
        ),
        (
            _operation("another expression", _noted(1), _changed),
            Wanted((9,), "a,last=20270115T090000Z,next=20270115T113000Z.tick", "cron 30 * * * * in UTC"),
        ),
        (_operation("held", _noted(1), _held), Wanted((9,), "a,last=20270115T090000Z.tick")),
        (_operation("a mistake", _noted(), _wrong), Wanted((), "a,next=20270115T090000Z.tick")),
    )
}


def move_on(spool: SpoolDir, state: str) -> None:
    """Let the jobs that are there go to another state, as workers do between a crash and the next look."""
    for name in spool.job_names(PENDING):
        job_id = name.partition(",")[0].removesuffix(".json")
        target = f"{job_id},due=20280101T000000Z,prio=7.json" if state == PENDING else f"{job_id}.json"
        os.rename(spool.path(PENDING, name), spool.path(state, target))


def wrong_about(spool: SpoolDir, wanted: Wanted) -> list[str]:
    """What is wrong with the notes and the jobs of the schedules, each as a sentence."""
    wrong = []
    listed = sorted(os.listdir(spool.schedules_dir))
    schedules = sorted({name[0] for name in listed if name.endswith(".json")})
    for schedule in schedules:
        notes = [name for name in listed if name.endswith(".tick") and name[0] == schedule]
        if notes != [wanted.note.replace("a,", f"{schedule},", 1)]:
            wrong.append(f"the notes are {notes} instead of {wanted.note}")
        elif Path(spool.schedule_path(notes[0])).read_text().strip() != wanted.content:
            wrong.append("the note holds another expression")
    ids = sorted(
        name.partition(",")[0].removesuffix(".json")
        for state in (PENDING, RUNNING, DONE, DLQ)
        for name in spool.job_names(state)
        if not name.startswith("kept-")
    )
    ticks = [times.to_name(START_AT - 8 * 3600 + hour * 3600) for hour in wanted.hours]
    expected = sorted(f"{schedule}-{tick}" for schedule in schedules for tick in ticks)
    if ids != expected:
        wrong.append(f"the jobs are {ids} instead of {expected}")
    files = [Path(spool.schedule_path(name)).read_text() for name in listed if name.endswith(".json")]
    if ("a.reason.txt" in listed) != any('"some"' in text for text in files):
        wrong.append("the text about the mistake is missing, or is there without one")
    return wrong
