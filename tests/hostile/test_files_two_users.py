"""Attacks by a second user on an inbox of files: on its folders, and on the file between look and claim (P10).

Root is needed for them, as in `test_two_users`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

if sys.platform == "win32" or os.geteuid() != 0:
    pytest.skip("two users: only root can be both of them", allow_module_level=True)

from queuectl.inbox.file_poller import FilePoller
from queuectl.model.inbox import Inbox
from queuectl.model.settings import defaults
from tests.helpers import Desk, names_in
from tests.hostile.test_two_users import STRANGER, WORKER, As, Ground, done_as, exchange, ground

__all__ = ["ground"]


def poller_of(ground: Ground, drop: Path) -> FilePoller:
    """A poller of an inbox of files; it takes what was renamed."""
    box = Inbox(path=str(drop), mode="files", owner="anna", command=("cat", "{file}"), settle_s=0.0, max_waiting=10**6)
    session = Desk(ground.spool).session._replace(settings=defaults()._replace(durability="off"))
    return FilePoller(session, box, str(drop))


def look(ground: Ground, drop: Path, times: int = 1) -> str:
    """Look at the inbox as the workers' user; return the trouble."""
    told = ground.root / "queue" / "told"

    def act() -> None:
        poller = poller_of(ground, drop)
        for _ in range(times):
            poller.step()
        told.write_text(poller.state.trouble)

    done_as(WORKER, act)
    return told.read_text()


def test_a_stranger_s_file_is_taken_and_our_folders_cannot_be_exchanged(ground: Ground) -> None:
    """P10: the sticky bit keeps working/, done/ and failed/ in their places; working/ is closed to others."""
    drop = ground.make("drop", WORKER, 0o1777)
    done_as(STRANGER, lambda: (drop / "x.pdf").write_text("his") and None)
    assert look(ground, drop) == "" and len(names_in(ground.spool, "pending")) == 1

    def attack() -> None:
        for act in (
            lambda: os.rename(drop / "working", drop / "elsewhere"),
            lambda: os.rmdir(drop / "working"),
            lambda: os.listdir(drop / "working"),
            lambda: (drop / "working" / "x").write_text("x"),
            lambda: os.chmod(drop / "working", 0o777),
        ):
            with contextlib.suppress(PermissionError):
                act()
                raise AssertionError("it was allowed")

    done_as(STRANGER, attack)


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_folder_of_a_stranger_in_the_place_of_ours_stops_the_inbox(ground: Ground, kind: str) -> None:
    """P10: made before the receiver looked for the first time: nothing is moved into it, and the receiver says why."""
    drop, precious = ground.make("drop", WORKER, 0o1777), ground.make("queue/precious", WORKER)

    def attack() -> None:
        (drop / "working").symlink_to(precious) if kind == "link" else (drop / "working").mkdir()
        (drop / "x.pdf").write_text("his")

    done_as(STRANGER, attack)
    trouble = look(ground, drop, times=3)
    assert "working" in trouble and ("must be a folder" in trouble or f"user {STRANGER}" in trouble)
    assert os.listdir(precious) == [] and (drop / "x.pdf").exists() and not names_in(ground.spool, "pending")


@pytest.mark.parametrize("race_s", [0.7, pytest.param(3.0, marks=pytest.mark.slow)])
def test_flipping_a_file_with_a_link_to_a_secret_claims_no_link(ground: Ground, race_s: float) -> None:
    """P10: the command never gets the path of a link, however fast the stranger exchanges the names."""
    drop, secret = ground.make("drop", WORKER, 0o1777), ground.root / "queue" / "secret"
    secret.write_text("secret")
    os.chown(secret, WORKER, WORKER)
    secret.chmod(0o600)

    pairs = [(drop / f"{number:03}.pdf", drop / f".link{number}") for number in range(60)]

    def prepare() -> None:
        for path, link in pairs:
            path.write_text("his")
            link.symlink_to(secret)

    def flip() -> None:
        while True:
            for path, link in pairs:
                with contextlib.suppress(OSError):
                    exchange(path, link)

    def look_on() -> None:
        poller, until_s = poller_of(ground, drop), time.monotonic() + race_s
        while time.monotonic() < until_s:
            poller.step()

    done_as(STRANGER, prepare)
    with As(STRANGER, flip):
        done_as(WORKER, look_on)
    claimed = [path for path in (drop / "working").rglob("*") if path.is_symlink() or path.is_file()]
    assert len(claimed) == len(names_in(ground.spool, "pending")) > 0
    assert not [path for path in claimed if path.is_symlink()]
    assert secret.read_text() == "secret"
