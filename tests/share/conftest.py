"""A spool with a short patience, the jobs that producers send to it, and the servers in front of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.spool.folder import SpoolDir
from tests.helpers import make_spool, names_in, wait_until
from tests.pool import Witness, queuectl
from tests.share.rig import Samba, Sshd
from tests.share.rig_nfs_webdav import Ganesha, WebDav

SETTLE_S = 0.6


class Queue:
    """One spool, what is sent to it and what became of that."""

    def __init__(self, folder: Path) -> None:
        self.spool: SpoolDir = make_spool(folder / "spool")
        self.witness = Witness(folder / "witness")
        self.outside = folder / "outside"
        self.outside.mkdir()
        self._sent: dict[Path, dict[str, Any]] = {}
        queuectl(self.spool, "config", "set", "settle_s", str(SETTLE_S))

    @property
    def pending(self) -> str:
        """Where producers write."""
        return self.spool.folder("pending")

    def body(self, name: str = "body", size: int = 0, filler: str = "x") -> Path:
        """A file outside the spool with a job that leaves a witness, filled up to `size` bytes."""
        path = self.outside / name
        document = {"command": self.witness.command(), "filler": filler, "last": "word"}
        document["filler"] = filler * max(1, size - len(json.dumps(document)))
        path.write_text(json.dumps(document), encoding="utf-8")
        self._sent[path] = document
        return path

    def ran_once(self, *job_ids: str, sent: Path, timeout: float = 60) -> None:
        """Wait until these jobs are done, and see that each ran exactly once and as it was sent, to the last byte."""
        wait_until(
            lambda: all(os.path.exists(self.spool.path("done", f"{job_id}.json")) for job_id in job_ids), timeout
        )
        assert {job_id: len(self.witness.starts(job_id)) for job_id in job_ids} == dict.fromkeys(job_ids, 1)
        assert self.witness.overlapping() == []
        for job_id in job_ids:
            record = json.loads(Path(self.spool.path("done", f"{job_id}.json")).read_bytes())
            expected = self._sent[sent]
            assert {key: record[key] for key in expected} == expected
            assert sum(1 for event in record["history"] if event["event"] == "started") == 1

    def nothing_else_ran(self, *job_ids: str) -> None:
        """These ran and no others, and nothing waits but what is left alone."""
        assert {job_id for _, job_id, _, _ in self.witness.lines()} == set(job_ids)

    def rejected(self) -> list[str]:
        """The names in rejected/, their reasons left out."""
        return sorted(name for name in names_in(self.spool, "rejected") if not name.endswith(".reason.txt"))

    def reason(self, name: str) -> str:
        """Why a file was rejected."""
        return Path(self.spool.reason_path(name)).read_text(encoding="utf-8")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """An empty queue."""
    return Queue(tmp_path)


@pytest.fixture
def samba(queue: Queue, tmp_path: Path) -> Iterator[Samba]:
    """A Samba over its pending/."""
    with Samba(queue.pending, tmp_path / "samba") as server:
        yield server


@pytest.fixture
def sshd(queue: Queue, tmp_path: Path) -> Iterator[Sshd]:
    """An sshd that leads into its pending/."""
    with Sshd(queue.pending, tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def nfs(queue: Queue, tmp_path: Path) -> Iterator[Ganesha]:
    """An NFSv4 server over its pending/."""
    with Ganesha(queue.pending, tmp_path / "ganesha") as server:
        yield server


@pytest.fixture(params=["rclone", "wsgidav"])
def webdav(request: pytest.FixtureRequest, queue: Queue, tmp_path: Path) -> Iterator[WebDav]:
    """A WebDAV server over its pending/, of two kinds."""
    with WebDav(request.param, queue.pending, tmp_path / "webdav") as server:
        yield server
