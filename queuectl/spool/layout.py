"""The paths of a spool: its folders and the names of its files. Only this module spells these names.

    pending/ running/ done/ dlq/   the states; a job is one file in exactly one of them (promise P2)
                                   (dlq/ID.error.txt explains why a job is dead, ID.cancelled.txt who cancelled it)
    rejected/                      files that could not become jobs, each with NAME.reason.txt (P6)
    logs/                          ID.ATTEMPT.log, the output of a command; ID.ATTEMPT.result, what it gave back
    schedules/                     NAME.json, what makes jobs again and again; NAME,last=...,next=....tick, the note of
                                   its ticks; NAME.reason.txt, why it makes none
    examples/                      jobs to copy; nothing in it runs
    queuectl.toml, README.md, job.schema.json, PAUSED, PAUSED-QUEUE
    status.html, status.json, queuectl.prom   the dashboard, for people and programs
    .queuectl/                     tmp/ (unfinished writes), locks/ (stripes), leases/, desk/ (what commands
                                   give back), pools/, taken/ (files of many jobs), splits/ (how far each of those is
                                   split), cancels/ (requests to end a run), signed/ (used ids of signed jobs), clock
                                   (the time of a pool's last look), counts (jobs of the last hour and day);
                                   with a cluster also engine/ (how long runs elsewhere may go on);
                                   with limits of queues also gates/ (QUEUE, the jobs that run, and QUEUE.lock;
                                   with rates QUEUE.starts and QUEUE.keys/KEY.starts, the last starts);
                                   with unique jobs also unique/ (KEY, the newest job of a key, and NN.lock);
                                   with schedules also schedules.lock;
                                   with dead parents also victims/ (PARENT/CHILD, who is dead because of whom);
                                   with inboxes also inboxes/ (OWNER.json, OWNER.lock), handover/OWNER/ (jobs between
                                   an inbox and pending/), owed/OWNER/ (receipts to be written), identity

This module only computes and never reads the disk.
"""

from __future__ import annotations

import os
import re

import msgspec

from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, REJECTED, STATES
from queuectl.model.settings import SETTINGS_NAME

MACHINERY = ".queuectl"
LOGS = "logs"
EXAMPLES = "examples"
SCHEDULES = "schedules"
PAUSED = "PAUSED"
README_TXT = "README.txt"
# The dashboard, in the root of the spool, where no job ever is. Nothing reads these files back.
PAGE, FACTS, METRICS = "status.html", "status.json", "queuectl.prom"
BOARD = (PAGE, FACTS, METRICS)
START = "start,"
REASON_ENDING = ".reason.txt"
LOG_ENDING, RESULT_ENDING = ".log", ".result"
ERROR_ENDING = ".error.txt"
CANCELLED_ENDING = ".cancelled.txt"
SPLIT_ENDING = ".split.txt"
BOARD_ENDING = ".nodes"
STARTS_ENDING, KEYS_ENDING = ".starts", ".keys"
FOLDERS = (
    *STATES,
    REJECTED,
    LOGS,
    *(
        os.path.join(MACHINERY, part)
        for part in ("tmp", "locks", "leases", "desk", "pools", "taken", "splits", "cancels", "signed")
    ),
)
# The name of a lease comes from records, which others can write. It must not lead out of its folder.
_NO_LEASE = re.compile(r"[^A-Za-z0-9._-]")
_LEASE_CHARS = 120


class Located(msgspec.Struct, frozen=True, gc=False):
    """A job's file: its state, its name there, and its path."""

    state: str
    name: str
    path: str


class LogParts(msgspec.Struct, frozen=True):
    """The parts of the name of a log or a result."""

    job_id: str
    attempt: int


class Layout:
    """The paths of one spool folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.fspath(root))
        self._folders = {state: os.path.join(self.root, state) for state in (*STATES, REJECTED, LOGS)}
        self.machinery = os.path.join(self.root, MACHINERY)
        self.tmp_dir = os.path.join(self.machinery, "tmp")
        self.stripe_dir = os.path.join(self.machinery, "locks")
        self.lease_dir = os.path.join(self.machinery, "leases")
        self.desk_dir = os.path.join(self.machinery, "desk")
        self.pool_dir = os.path.join(self.machinery, "pools")
        self.taken_dir = os.path.join(self.machinery, "taken")
        self.split_dir = os.path.join(self.machinery, "splits")
        self.cancel_dir = os.path.join(self.machinery, "cancels")
        self.gate_dir = os.path.join(self.machinery, "gates")
        self.unique_dir = os.path.join(self.machinery, "unique")
        self.victims_dir = os.path.join(self.machinery, "victims")
        self.inbox_dir = os.path.join(self.machinery, "inboxes")
        self.handover_dir = os.path.join(self.machinery, "handover")
        self.owed_dir = os.path.join(self.machinery, "owed")
        self.identity_path = os.path.join(self.machinery, "identity")
        self.clock_path = os.path.join(self.machinery, "clock")
        self.signed_dir = os.path.join(self.machinery, "signed")
        self.engine_dir = os.path.join(self.machinery, "engine")
        self.engine_length_path = os.path.join(self.engine_dir, "length")
        self.settings_path = os.path.join(self.root, SETTINGS_NAME)
        self.paused_path = os.path.join(self.root, PAUSED)
        self.readme_path = os.path.join(self.root, "README.md")
        self.schema_path = os.path.join(self.root, "job.schema.json")
        self.examples_dir = os.path.join(self.root, EXAMPLES)
        self.schedules_dir = os.path.join(self.root, SCHEDULES)
        self.schedules_lock_path = os.path.join(self.machinery, "schedules.lock")
        self.counts_path = os.path.join(self.machinery, "counts")
        self.counts_lock_path = os.path.join(self.machinery, "counts.lock")
        self.dashboard_lock_path = os.path.join(self.machinery, "dashboard.lock")
        self.stale_lock_path = os.path.join(self.machinery, "stale.lock")

    def folder(self, state: str) -> str:
        """Return the folder of a state (or of `rejected`, `logs`)."""
        return self._folders[state]

    def path(self, state: str, name: str) -> str:
        """Return the path of a file in a state folder."""
        return f"{self._folders[state]}{os.sep}{name}"

    def stripe_path(self, stripe: int) -> str:
        """Return the lock file of a stripe."""
        return os.path.join(self.stripe_dir, f"{stripe:02d}.lock")

    def lease_path(self, lease: str) -> str:
        """Return the lock file of a lease, by its name in a `started` event."""
        return os.path.join(self.lease_dir, f"{_lease_name(lease)}.lock")

    def stamp_path(self, session: str) -> str:
        """Return the stamp of a worker whose commands run on other machines."""
        return os.path.join(self.engine_dir, _lease_name(session))

    def session_lock_path(self, session: str) -> str:
        """Return the lock of whoever speaks to the nodes in the name of this session."""
        return self.stamp_path(session) + ".lock"

    def node_board_path(self, session: str) -> str:
        """Return the board of a worker whose commands run on other machines: its nodes."""
        return self.stamp_path(session) + BOARD_ENDING

    def signed_path(self, key: str, job_id: str) -> str:
        """Return the file that marks a signed id as used. Ids that differ only in case are the same."""
        return os.path.join(self.signed_dir, f"{key}--{job_id}".lower())

    def tmp_path(self, name: str) -> str:
        """Return a path for an unfinished write."""
        return os.path.join(self.tmp_dir, name)

    def output_path(self, lease: str) -> str:
        """Return the file for the output of the command that runs under a lease; its final place is `log_path`."""
        return os.path.join(self.tmp_dir, f"{_lease_name(lease)}.out")

    def desk_path(self, lease: str) -> str:
        """Return the folder for what the command that runs under a lease gives back."""
        return os.path.join(self.desk_dir, _lease_name(lease))

    def start_path(self, job_id: str, lease: str) -> str:
        """Return the file for the record of a started drop, until the record is on disk and replaces the drop."""
        return self.tmp_path(f"{START}{job_id},{lease}")

    def log_path(self, job_id: str, attempt: int) -> str:
        """Return the log of one attempt."""
        return os.path.join(self._folders[LOGS], f"{job_id}.{attempt}.log")

    def result_path(self, job_id: str, attempt: int) -> str:
        """Return the result of one attempt."""
        return os.path.join(self._folders[LOGS], f"{job_id}.{attempt}{RESULT_ENDING}")

    def reason_path(self, name: str) -> str:
        """Return the text beside a rejected file."""
        return self.path(REJECTED, name + REASON_ENDING)

    def split_path(self, token: str) -> str:
        """Return the note with the progress of a split."""
        return os.path.join(self.split_dir, f"{token}.json")

    def plan_path(self, token: str, number: int) -> str:
        """Return a part of the plan of a flow while it is split."""
        return os.path.join(self.split_dir, f"{token}.{number}.plan")

    def split_text_path(self, token: str) -> str:
        """Return the text in rejected/ that lists the refused jobs of a file of many jobs."""
        return self.path(REJECTED, token + SPLIT_ENDING)

    def error_path(self, name: str, *, cancelled: bool = False) -> str:
        """Return the text beside a dead job, or beside a cancelled one."""
        return self.path(DLQ, name.removesuffix(".json") + (CANCELLED_ENDING if cancelled else ERROR_ENDING))

    def pool_path(self, pool: str, kind: str) -> str:
        """Return a file of a pool: `json` (who it is), `lock`, `stop` (a request), `stopped` (what the stop did)."""
        return os.path.join(self.pool_dir, f"{os.path.basename(pool)}.{kind}")

    def gate_path(self, queue: str) -> str:
        """Return the board of a queue: a line per running job that passed the queue's gate."""
        return os.path.join(self.gate_dir, queue)

    def gate_lock_path(self, queue: str) -> str:
        """Return the lock file of a queue's gate."""
        return os.path.join(self.gate_dir, f"{queue}.lock")

    def unique_path(self, name: str) -> str:
        """Return the note of a unique key, by its name."""
        return os.path.join(self.unique_dir, name)

    def unique_lock_path(self, number: int) -> str:
        """Return a lock file of unique keys."""
        return os.path.join(self.unique_dir, f"{number:02d}.lock")

    def starts_path(self, queue: str, key: str = "") -> str:
        """Return the log of the last starts of a queue, or of its jobs with a key (as in names)."""
        if not key:
            return os.path.join(self.gate_dir, f"{queue}{STARTS_ENDING}")
        return os.path.join(self.key_starts_dir(queue), f"{_key_stem(key)}{STARTS_ENDING}")

    def key_starts_dir(self, queue: str) -> str:
        """Return the folder with the logs of the keys of a queue."""
        return os.path.join(self.gate_dir, f"{queue}{KEYS_ENDING}")

    def victims_of(self, parent: str) -> str:
        """Return the folder with the names of the jobs that are dead because of a parent."""
        return os.path.join(self.victims_dir, parent)

    def victim_path(self, parent: str, child: str) -> str:
        """Return the note that a job is dead because of a parent."""
        return os.path.join(self.victims_dir, parent, child)

    def queue_paused_path(self, queue: str) -> str:
        """Return the file that pauses a queue."""
        return f"{self.paused_path}-{queue}"

    def cancel_path(self, job_id: str, attempt: int) -> str:
        """Return the request to cancel one run of a job."""
        return os.path.join(self.cancel_dir, f"{job_id}.{attempt}")

    def schedule_path(self, name: str) -> str:
        """Return the path of a file in schedules/."""
        return os.path.join(self.schedules_dir, name)

    def inbox_path(self, owner: str, kind: str) -> str:
        """Return a file of an inbox's process: `json` (its state), `lock`, `tokens` (of its claims), `kept` (files)."""
        return os.path.join(self.inbox_dir, f"{owner}.{kind}")


def _lease_name(lease: str) -> str:
    return _NO_LEASE.sub("-", lease)[:_LEASE_CHARS]


def _key_stem(key: str) -> str:
    """Return a key, as names have it, for the name of a file: case does not count there."""
    is_plain = key == key.lower() and not names.is_device(key)
    return key if is_plain else names.hashed_flag(key).lower()


def log_parts(name: str) -> LogParts | None:
    """Split the name of a log, ID.ATTEMPT.log, or of a result; return None for any other name."""
    stem, dot, ending = name.rpartition(".")
    head, _, number = stem.rpartition(".")
    return LogParts(head, int(number)) if dot + ending in (LOG_ENDING, RESULT_ENDING) and number.isdecimal() else None


def record_name(job_id: str) -> str:
    """Return the name of a job's file in every folder but pending/."""
    return f"{job_id}.json"


def name_for(item: record.Record, standing: history.Standing, now_at: float, arrived: str = "") -> str:
    """Return the name of a waiting job's file for its record; `arrived` is the arrival in its earlier name."""
    if (blocked := item.blocked) is not None:
        return names.blocked_name(item.id, blocked.pointer)
    due_at = standing.due_at
    if due_at is not None and history.is_due(due_at, standing.delay_s, now_at):
        due_at = None
    return names.waiting_name(item.id, due_at, item.priority, item.owner, arrived, item.place)
