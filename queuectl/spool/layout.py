"""Where everything of a spool is, and what each file is called. Only this module spells these names.

    pending/ running/ done/ dlq/   the states; a job is one file in exactly one of them (promise P2)
                                   (dlq/ID.error.txt says in words why the job beside it is dead, ID.cancelled.txt
                                   who cancelled it)
    rejected/                      what could not become a job, each beside NAME.reason.txt (P6)
    logs/                          ID.ATTEMPT.log, what a command printed
    examples/                      jobs to copy; nothing in it is run
    queuectl.toml, README.md, job.schema.json, PAUSED
    status.html, status.json, queuectl.prom   what a supervisor writes for people and programs to look at
    .queuectl/                     tmp/ (unfinished writes), locks/ (stripes), leases/, pools/, taken/ (files of many
                                   jobs), splits/ (how far each of those has been split),
                                   cancels/ (runs that are to end), signed/ (ids of signed jobs, each taken once);
                                   where the settings name inboxes also
                                   inboxes/ (OWNER.json, OWNER.lock), handover/OWNER/ (jobs between an inbox and
                                   pending/), owed/OWNER/ (jobs that an inbox is to hear of), identity;
                                   clock (what time it was when a pool last looked)

Computes only: it looks at no disk.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from queuectl.model import history, names, record
from queuectl.model.lifecycle import DLQ, REJECTED, STATES
from queuectl.model.settings import SETTINGS_NAME

MACHINERY = ".queuectl"
LOGS = "logs"
EXAMPLES = "examples"
PAUSED = "PAUSED"
README_TXT = "README.txt"
# The dashboard. They lie beside the folders, where no job ever is, and are for looking at only.
PAGE, FACTS, METRICS = "status.html", "status.json", "queuectl.prom"
BOARD = (PAGE, FACTS, METRICS)
START = "start,"
REASON_ENDING = ".reason.txt"
ERROR_ENDING = ".error.txt"
CANCELLED_ENDING = ".cancelled.txt"
SPLIT_ENDING = ".split.txt"
FOLDERS = (
    *STATES,
    REJECTED,
    LOGS,
    *(
        os.path.join(MACHINERY, part)
        for part in ("tmp", "locks", "leases", "pools", "taken", "splits", "cancels", "signed")
    ),
)
# What a lease may be named. Its name stands in records, which others can write: it must not lead out of its folder.
_NO_LEASE = re.compile(r"[^A-Za-z0-9._-]")
_LEASE_CHARS = 120


class Located(NamedTuple):
    """Where a job lies."""

    state: str
    name: str
    path: str


class Layout:
    """The paths of one spool folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.fspath(root))
        self._folders = {state: os.path.join(self.root, state) for state in (*STATES, REJECTED, LOGS)}
        self.machinery = os.path.join(self.root, MACHINERY)
        self.tmp_dir = os.path.join(self.machinery, "tmp")
        self.stripe_dir = os.path.join(self.machinery, "locks")
        self.lease_dir = os.path.join(self.machinery, "leases")
        self.pool_dir = os.path.join(self.machinery, "pools")
        self.taken_dir = os.path.join(self.machinery, "taken")
        self.split_dir = os.path.join(self.machinery, "splits")
        self.cancel_dir = os.path.join(self.machinery, "cancels")
        self.inbox_dir = os.path.join(self.machinery, "inboxes")
        self.handover_dir = os.path.join(self.machinery, "handover")
        self.owed_dir = os.path.join(self.machinery, "owed")
        self.identity_path = os.path.join(self.machinery, "identity")
        self.clock_path = os.path.join(self.machinery, "clock")
        self.signed_dir = os.path.join(self.machinery, "signed")
        self.settings_path = os.path.join(self.root, SETTINGS_NAME)
        self.paused_path = os.path.join(self.root, PAUSED)
        self.readme_path = os.path.join(self.root, "README.md")
        self.schema_path = os.path.join(self.root, "job.schema.json")
        self.examples_dir = os.path.join(self.root, EXAMPLES)
        self.dashboard_lock_path = os.path.join(self.machinery, "dashboard.lock")
        self.stale_lock_path = os.path.join(self.machinery, "stale.lock")

    def folder(self, state: str) -> str:
        """The folder of a state (or of `rejected`, `logs`)."""
        return self._folders[state]

    def path(self, state: str, name: str) -> str:
        """The path of a file in a state folder."""
        return f"{self._folders[state]}{os.sep}{name}"

    def stripe_path(self, stripe: int) -> str:
        """The lock file of a stripe."""
        return os.path.join(self.stripe_dir, f"{stripe:02d}.lock")

    def lease_path(self, lease: str) -> str:
        """The lock file of a lease, by the name that a `started` event gives it."""
        return os.path.join(self.lease_dir, f"{_lease_name(lease)}.lock")

    def signed_path(self, key: str, job_id: str) -> str:
        """What says that a signed id was used; ids that differ only in case are one."""
        return os.path.join(self.signed_dir, f"{key}--{job_id}".lower())

    def tmp_path(self, name: str) -> str:
        """A path for an unfinished write."""
        return os.path.join(self.tmp_dir, name)

    def output_path(self, lease: str) -> str:
        """Where the command that runs under a lease writes what it prints, until it has ended."""
        return os.path.join(self.tmp_dir, f"{_lease_name(lease)}.out")

    def start_path(self, job_id: str, lease: str) -> str:
        """The record of a drop whose command was started under a lease, until it is on disk and takes its place."""
        return self.tmp_path(f"{START}{job_id},{lease}")

    def log_path(self, job_id: str, attempt: int) -> str:
        """Where the output of an attempt is kept."""
        return os.path.join(self._folders[LOGS], f"{job_id}.{attempt}.log")

    def reason_path(self, name: str) -> str:
        """The text beside a rejected file."""
        return self.path(REJECTED, name + REASON_ENDING)

    def split_path(self, token: str) -> str:
        """The note of how far the split of a file of many jobs has come."""
        return os.path.join(self.split_dir, f"{token}.json")

    def split_text_path(self, token: str) -> str:
        """The text in rejected/ that lists what was refused of a file of many jobs."""
        return self.path(REJECTED, token + SPLIT_ENDING)

    def error_path(self, name: str, *, cancelled: bool = False) -> str:
        """The text beside the file of a dead job, or of a cancelled one."""
        return self.path(DLQ, name.removesuffix(".json") + (CANCELLED_ENDING if cancelled else ERROR_ENDING))

    def pool_path(self, pool: str, kind: str) -> str:
        """A file of a pool: `json`, who it is; `lock`; `stop`, a request; `stopped`, what the stop did."""
        return os.path.join(self.pool_dir, f"{os.path.basename(pool)}.{kind}")

    def cancel_path(self, job_id: str, attempt: int) -> str:
        """The request to cancel one run of a job."""
        return os.path.join(self.cancel_dir, f"{job_id}.{attempt}")

    def inbox_path(self, owner: str, kind: str) -> str:
        """What the receiver of an inbox keeps: `json`, its state; `lock`, its lock; `tokens`, of its claims."""
        return os.path.join(self.inbox_dir, f"{owner}.{kind}")


def _lease_name(lease: str) -> str:
    return _NO_LEASE.sub("-", lease)[:_LEASE_CHARS]


def record_name(job_id: str) -> str:
    """The name of a job's file in every folder but pending/."""
    return f"{job_id}.json"


def name_for(item: record.Record, standing: history.Standing, now_at: float, arrived: str = "") -> str:
    """The name of a waiting job's file by what its record says; `arrived` is what a name said of its arrival."""
    due_at = standing.due_at
    if due_at is not None and history.is_due(due_at, standing.delay_s, now_at):
        due_at = None
    return names.waiting_name(item.id, due_at, item.priority, item.owner, arrived)
