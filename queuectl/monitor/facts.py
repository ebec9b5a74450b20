"""status.json: a snapshot for programs; `queuectl status --json` uses the same keys. Computes only.

FORMAT.md, section 8, has a row for every key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queuectl.model import times
from queuectl.model.inbox import FILES
from queuectl.model.lifecycle import DLQ, DONE, FAILED, REJECTED, RUNNING, SKIPPED
from queuectl.monitor.headline import headline
from queuectl.monitor.heartbeat import STALE_S
from queuectl.monitor.inboxes import EndedFile, InboxRow
from queuectl.monitor.nodes import sentence
from queuectl.monitor.rows import ArrivingRow, Bucket
from queuectl.monitor.snapshot import Snapshot, pace

# Raised when a key of status.json is renamed or taken away; a key more is no new version.
VERSION = 1


def inbox_document(row: InboxRow) -> dict[str, Any]:
    """Return the row of an inbox with its files and refusals."""
    made = row._asdict()
    made["files"] = [each._asdict() for each in row.files]
    made["unmoved_files"] = [each._asdict() for each in row.unmoved_files]
    made["refused"] = [{key: getattr(each, key) for key in each.__struct_fields__} for each in row.refused]
    if row.mode != FILES:
        for key in ("command", "working", "last_done", "last_failed"):
            del made[key]
        return made
    return made | {"last_done": _ended_file(row.last_done), "last_failed": _ended_file(row.last_failed)}


def _ended_file(end: EndedFile | None) -> dict[str, Any] | None:
    return None if end is None else {**end._asdict(), "ended_at": _text(end.ended_at)}


def document(found: Snapshot, *, advice: tuple[str, str]) -> dict[str, Any]:
    """Return status.json. `advice` is a command and why."""
    return {
        "version": VERSION,
        "written_at": times.to_text(found.taken_at),
        "stale_after_s": STALE_S,
        "detail": "full" if found.is_full else "counts",
        **facts(found, advice=advice),
        "causes": _rows(found.causes),
        "finished": pace(found.finishes)._asdict(),
        "next_jobs": [{**row._asdict(), "since": _text(row.since)} for row in found.nexts],
        "held_jobs": [{**row._asdict(), "since": _text(row.since)} for row in found.held_jobs],
        "load": {"hour": _buckets(found.load.hour), "day": _buckets(found.load.day)},
        "by_tag": _rows(found.tags),
        "by_owner": _rows(found.owners),
        "left_out": {
            "causes": found.causes_left,
            "by_tag": found.tags_left,
            "by_owner": found.owners_left,
            "groups": found.groups_left,
            "schedules": found.schedules_left,
        },
    }


def facts(found: Snapshot, *, advice: tuple[str, str]) -> dict[str, Any]:
    """Return what `queuectl status --json` and status.json both have, under the same keys."""
    return {
        "spool": found.path,
        "headline": headline(found),
        "paused": found.paused,
        "paused_until": _text(found.paused_until),
        "retention_waits": found.retention_waits or None,
        "counts": found.counts,
        "cancelled_jobs": found.cancelled,
        "waiting": {
            "ready": found.ready,
            "later": found.later,
            "held": found.held,
            "paused": found.stopped,
            "blocked": found.blocked,
            "incomplete": found.incomplete,
            "next_due_at": _text(found.next_due_at),
            "last_due_at": _text(found.last_due_at),
            "soon": _rows(found.dues),
            "oldest": None
            if found.oldest_since is None
            else {"id": found.oldest_id, "since": _text(found.oldest_since)},
        },
        "workers": found.workers,
        "pools": [
            {**_without(row, "clusters"), "processes": _rows(pool.processes)}
            for row, pool in zip(_rows(found.pools), found.pools, strict=True)
        ],
        "clusters": [
            {**row, "text": sentence(each, found.taken_at), "nodes": _rows(each.nodes)}
            for row, each in zip(_rows(found.clusters), found.clusters, strict=True)
        ],
        "ended_pool": None
        if found.ended_pool is None
        else {"how": found.ended_pool.how, "at": _text(found.ended_pool.at)},
        "last_hour": {
            DONE: found.done_last_hour,
            FAILED: found.failed_last_hour,
            SKIPPED: found.skipped_last_hour,
        },
        "settings_changed": found.settings_changed,
        "queues": [
            {
                **each._asdict(),
                "paused_until": _text(each.paused_until),
                "rate_next_at": _text(each.rate_next_at),
                "keys": _rows(each.keys),
            }
            for each in found.queues
        ],
        "schedules": _rows(found.schedules),
        "groups": [{**each._asdict(), "text": each.text} for each in found.groups],
        RUNNING: _rows(found.runs),
        "failures": _rows(found.failures),
        REJECTED: _rows(found.refusals),
        "foreign": found.foreign,
        "copies": found.copies,
        "arriving": [arriving_document(row, found.taken_at) for row in found.arriving],
        "inboxes": [inbox_document(row) for row in found.inboxes],
        "truncated": _truncated(found),
        "next": {"command": advice[0], "why": advice[1]},
    }


def _truncated(found: Snapshot) -> list[str]:
    """Return the keys whose rows are fewer than there are."""
    if not found.is_full:
        return []
    rows = {
        RUNNING: (len(found.runs), found.counts[RUNNING]),
        "failures": (len(found.failures), found.counts[DLQ]),
        REJECTED: (len(found.refusals), found.counts[REJECTED]),
        "soon": (len(found.dues), found.later),
    }
    return [key for key, (shown, total) in rows.items() if shown < total]


def _rows(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Return named tuples for programs: a field that ends in `_at` becomes an RFC 3339 text."""
    return [
        {key: _text(value) if key.endswith("_at") else value for key, value in row._asdict().items()} for row in found
    ]


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def _buckets(found: Sequence[Bucket]) -> list[dict[str, Any]]:
    return [{**bucket._asdict(), "at": _text(bucket.at)} for bucket in found]


def arriving_document(row: ArrivingRow, now_at: float) -> dict[str, Any]:
    """Return an arriving file as `status --json` and status.json have it."""
    quiet_s = None if row.changed_at is None else round(max(0.0, now_at - row.changed_at), 3)
    return {**row._asdict(), "changed_at": _text(row.changed_at), "quiet_s": quiet_s}


def _text(instant_at: float | None) -> str | None:
    return None if instant_at is None else times.to_text(instant_at)
