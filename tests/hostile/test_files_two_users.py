"""Attacks by a second user on an inbox of files: on its folders, and on the file between look and claim (P10).

Root is needed for them, as in `test_two_users`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32" or os.geteuid() != 0:
    pytest.skip("two users: only root can be both of them", allow_module_level=True)

from queuectl.inbox.file_poller import FilePoller
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from queuectl.model.settings import defaults
from tests.helpers import Desk, names_in
from tests.hostile.test_two_users import STRANGER, WORKER, As, Ground, done_as, exchange, ground

__all__ = ["ground"]


def poller_of(ground: Ground, drop: Path, **keys: Any) -> FilePoller:
    """A poller of an inbox of files; it takes what was renamed."""
    words = ("cat", "{file}")
    box = Inbox(path=str(drop), mode="files", owner="anna", command=words, settle_s=0.0, max_waiting=10**6, **keys)
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
        while time.monotonic() < until_s or not names_in(ground.spool, "pending"):
            poller.step()
            assert time.monotonic() < until_s + 60

    done_as(STRANGER, prepare)
    with As(STRANGER, flip):
        done_as(WORKER, look_on)
    claimed = [path for path in (drop / "working").rglob("*") if path.is_symlink() or path.is_file()]
    assert len(claimed) == len(names_in(ground.spool, "pending")) > 0
    assert not [path for path in claimed if path.is_symlink()]
    assert secret.read_text() == "secret"


def end_all(ground: Ground, drop: Path, told: Path, **keys: Any) -> None:
    """Take what is there, run it, and let the files go, as the workers' user; `told` gets why one cannot."""
    poller, desk = poller_of(ground, drop, **keys), Desk(ground.spool)
    poller.step()
    for name in names_in(ground.spool, "pending"):
        desk.run(name, Outcome("succeeded", 0))
    poller.step()
    told.write_text(poller.state.trouble + "".join(row.why for row in poller.state.unmoved_rows))


@pytest.fixture
def far() -> Iterator[Path]:
    """A folder on another file system than the ground, of the workers' user, sticky and open to others."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no other file system: /dev/shm")
    made = Path(tempfile.mkdtemp(prefix="queuectl-far-", dir="/dev/shm"))
    os.chown(made, WORKER, WORKER)
    made.chmod(0o1777)
    yield made
    shutil.rmtree(made)


def test_a_copy_follows_no_link_of_a_stranger_and_replaces_no_file(ground: Ground, far: Path) -> None:
    """P7, P10: the stranger has made the names that the copy and its text would have; it is not writable for him."""
    if ground.root.stat().st_dev == far.stat().st_dev:
        pytest.skip("there is no other file system")
    drop, secret = ground.make("drop", WORKER, 0o1777), ground.root / "queue" / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    os.chown(secret, WORKER, WORKER)

    def attack() -> None:
        (drop / "x.pdf").write_text("his")
        (drop / "x.pdf").chmod(0o666)
        (far / "x.pdf").symlink_to(secret)

    done_as(STRANGER, attack)
    told = ground.root / "queue" / "told"
    done_as(WORKER, lambda: end_all(ground, drop, told, on_success=str(far)))
    assert (told.read_text(), secret.read_text()) == ("", "secret")
    assert (far / "x.pdf").is_symlink() and (far / "x (2).pdf").read_text() == "his"
    info = (far / "x (2).pdf").stat()
    assert (info.st_uid, info.st_mode & 0o777) == (WORKER, 0o644)


@pytest.mark.parametrize("kind", ["owner", "mode", "above"])
def test_a_folder_outside_that_a_stranger_can_exchange_gets_no_file(ground: Ground, kind: str) -> None:
    """P10: it is his, or he can write to it, or to the folder above; the file stays in working/."""
    drop, above = ground.make("drop", WORKER, 0o1777), ground.make("above", WORKER, 0o777 if kind == "above" else 0o755)
    out = ground.make("above/out", STRANGER if kind == "owner" else WORKER, 0o777 if kind == "mode" else 0o755)
    done_as(STRANGER, lambda: (drop / "x.pdf").write_text("his") and None)
    told = ground.root / "queue" / "told"
    done_as(WORKER, lambda: end_all(ground, drop, told, on_success=str(out)))
    assert f"refusing on_success of the inbox anna: {above if kind == 'above' else out}" in told.read_text()
    assert os.listdir(out) == [] and len(list((drop / "working").rglob("x.pdf"))) == 1


def test_a_kept_file_of_a_stranger_runs_again_only_for_a_change_of_his(ground: Ground) -> None:
    """P10: his other files are taken, whatever their times; the notes are closed to him."""
    drop = ground.make("drop", WORKER, 0o1777)
    told = ground.root / "queue" / "told"

    def drops(name: str) -> None:
        (drop / name).write_text("his")
        os.utime(drop / name, (1e9, 1e9))

    for name, count in (("x.pdf", 1), ("y.pdf", 2), ("x.pdf", 2)):
        done_as(STRANGER, lambda name=name: drops(name))
        done_as(WORKER, lambda: end_all(ground, drop, told, on_success="keep"))
        assert len(names_in(ground.spool, "done")) == count and told.read_text() == ""
    assert sorted(os.listdir(drop)) == ["working", "x.pdf", "y.pdf"]

    def reads() -> None:
        with pytest.raises(PermissionError):
            Path(ground.spool.inbox_path("anna", "kept")).read_bytes()

    done_as(STRANGER, reads)
