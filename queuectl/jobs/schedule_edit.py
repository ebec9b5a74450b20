"""Add, remove, hold and run schedules, as a person does with files (FORMAT.md, section 4, "Schedules").

Each is one change of one file, so no lock is needed: a pool sees the file before or after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from queuectl.errors import InvalidJobError, QueuectlError
from queuectl.jobs import submission
from queuectl.jobs.arguments import JobId, JobKeys
from queuectl.jobs.enqueue import Producer
from queuectl.model import document, schedule, tick_name, times
from queuectl.model.schedule import Schedule
from queuectl.spool import schedule_files, trust
from queuectl.spool.schedule_files import Entry
from queuectl.spool.schedule_reading import Reader
from queuectl.spool.session import Session
from queuectl.system import disk, zone


class ScheduleKeys(JobKeys, total=False):
    """The keys of a schedule that `Spool.add_schedule` takes as arguments; None counts as left out."""

    cron: str | None
    every: float | str | None
    offset: float | str | None
    zone: str | None
    spread: float | str | None
    catch_up: Literal["one", "none", "all"] | None
    overlap: Literal["skip", "wait", "allow"] | None


def add(session: Session, name: str, given: Mapping[str, Any], *, replace: bool = False) -> Schedule:
    """Write a schedule's file and return the schedule. Without a zone, a cron expression gets the machine's.

    Raises:
        InvalidJobError: it is not a schedule; names the key and what the key takes.
        QueuectlError: there is a schedule of that name, and not `replace`.
        UntrustedSpoolError: others can write to the spool.
        OSError: the system call failed.
    """
    spool = session.spool
    made = schedule.check(given, name, defaults=session.settings.retry_defaults, local_zone=zone.local_name())
    keys = dict(given)
    if made.zone and "zone" not in keys:
        keys = {key: value for each in keys.items() for key, value in _with_zone(each, made.zone)}
    trust.check(spool)
    spool.complete()
    disk.make_folder(spool.schedules_dir)
    present = _entry(session, name)
    if present is not None and not replace:
        hint = f"to change it: queuectl schedule add {name} --replace ..."
        raise QueuectlError(f"there is a schedule {name!r} already", hint=hint)
    file = tick_name.file_name(name) if present is None else present.file
    data = (json.dumps(keys, indent=1, ensure_ascii=False) + "\n").encode()
    sync = session.syncs_accepted
    if replace:
        spool.replace_file(spool.schedule_path(file), data, hint=name, sync=sync)
    else:
        try:
            spool.publish_file(spool.schedule_path(file), data, hint=name, sync=sync)
        except FileExistsError as error:
            raise QueuectlError(f"there is a schedule {name!r} already") from error
    if sync:
        disk.sync_folder(spool.schedules_dir)
    return made


def _with_zone(item: tuple[str, Any], zone_name: str) -> list[tuple[str, Any]]:
    return [item, ("zone", zone_name)] if item[0] == "cron" else [item]


def _entry(session: Session, name: str) -> Entry | None:
    folded = name.lower()
    for entry in schedule_files.entries(schedule_files.names(session.spool)).values():
        if entry.file and entry.schedule.lower() == folded:
            return entry
    return None


def remove(session: Session, name: str) -> None:
    """Delete the file of a schedule, and what queuectl has written about it. Raises UnknownScheduleError, OSError."""
    spool = session.spool
    entry = schedule_files.entry_of(spool, name)
    disk.unlink_dropped(spool.schedule_path(entry.file))
    for note in entry.notes:
        disk.unlink(spool.schedule_path(note.name))
    schedule_files.delete_reason(spool, entry.schedule)


def hold(session: Session, name: str, *, held: bool) -> bool:
    """Hold a schedule, or release it; return False if it is so already. Raises UnknownScheduleError, OSError."""
    spool = session.spool
    entry = schedule_files.entry_of(spool, name)
    if entry.is_held == held:
        return False
    disk.move(spool.schedule_path(entry.file), spool.schedule_path(tick_name.file_name(name, held=held)))
    return True


def run(session: Session, name: str) -> JobId:
    """Make a job of a schedule now, beside its ticks, and return its id.

    Unless its `overlap` is `allow`, the job has the unique key of the schedule, so the id may be that of a job that is
    there (`JobId.added`).

    Raises:
        UnknownScheduleError, InvalidJobError: there is no such schedule, or its file has a mistake.
        UntrustedSpoolError, SpoolUnavailableError, OSError: as for an enqueue.
    """
    found = Reader(session).read(schedule_files.entry_of(session.spool, name))
    if isinstance(found, document.Incomplete):
        raise InvalidJobError(f"the file of schedule {name!r} is not whole: {found.why}", hint=found.hint)
    trust.check(session.spool)
    now_at = times.round_up(session.clock.now())
    producer = Producer(session)
    job_id = f"{name}-now-{times.to_name(now_at)}"
    keys = found.document_of(now_at, job_id=job_id)
    keys.pop("run_at", None)
    prepared = producer.prepare(keys, by="enqueue", schedule=name)
    [made] = submission.put_in(producer, [prepared])
    return made if isinstance(made, JobId) else JobId(made)
