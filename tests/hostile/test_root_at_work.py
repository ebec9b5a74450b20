"""Root works in the spool of another user (P9, P10): nothing there becomes root's, and nothing outside is touched.

The spool belongs to a user who is only a number. The test process is root; what the user does is done in a child.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.maintenance import check
from queuectl.maintenance.findings import Finding
from queuectl.model import names
from queuectl.model import settings as config
from queuectl.model.lifecycle import Outcome
from queuectl.spool import pools, trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import acting
from queuectl.system.clock import Clock
from tests.helpers import Desk, names_in
from tests.hostile.test_two_users import RACES, WORKER, As, Ground, done_as, flip_for_ever
from tests.hostile.test_two_users import ground as ground


@pytest.fixture(autouse=True)
def _may_enqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is put in by its owner as a rule; what root makes when it is not asked for that is looked at here."""
    monkeypatch.setattr(trust, "check", lambda _spool: None)


def _strangers(spool: SpoolDir) -> list[str]:
    """What in a spool is not the user's."""
    return [
        os.path.relpath(path, spool.root)
        for folder, _, files in os.walk(spool.root)
        for path in (folder, *(os.path.join(folder, name) for name in files))
        if os.lstat(path).st_uid != WORKER or os.lstat(path).st_gid != WORKER
    ]


def _work(root: str) -> None:
    """What a person does with a queue."""
    spool = Spool(root)
    for job_id in ("j1", "j2", "j3"):
        spool.enqueue("true", id=job_id)
    spool.enqueue_many([{"command": "true"}, {"command": "false"}])
    spool.cancel("j1", by="root")
    spool.requeue("j1")
    spool.cancel("j2", by="root")
    spool.purge("j2")
    spool.hold("j3")
    spool.pause("because")
    spool.resume()
    spool.pause("because")
    Path(spool.folder.path("pending", "torn.json")).touch()
    os.chown(spool.folder.path("pending", "torn.json"), WORKER, WORKER)
    check.run(spool.folder, repair=True, names_only=False, clock=Clock())


def test_what_root_makes_belongs_to_the_owner(ground: Ground) -> None:
    """P9: after all that root does in it, the spool is as the owner would have left it, and the owner's jobs run."""
    _work(ground.spool.root)
    assert _strangers(ground.spool) == []
    assert os.geteuid() == 0 and acting.owner_of("/tmp") is None

    def run() -> None:
        desk = Desk(ground.spool)
        desk.run("j1.json", Outcome("succeeded", 0, "", 0.1))
        desk.close()

    done_as(WORKER, run)
    assert "j1.json" in names_in(ground.spool, "done")


def test_another_way_to_the_owners_rights(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where a thread has no rights of its own for files (macOS): by the user of the process."""
    monkeypatch.setattr(acting, "_file_rights", lambda: None)
    _work(ground.spool.root)
    assert _strangers(ground.spool) == []
    assert (os.geteuid(), os.getegid()) == (0, 0)
    Path(ground.root, "still-root").mkdir(mode=0o700)


@pytest.mark.parametrize("folder", ["pending", "dlq", "done", ".queuectl/tmp", ".queuectl/locks", ".queuectl"])
def test_a_link_in_the_place_of_a_folder_leads_root_nowhere(ground: Ground, folder: str) -> None:
    """P10: the owner points a folder of the spool at one of root's: root makes, changes and deletes nothing there."""
    precious = ground.make("precious", 0)
    (precious / "j1.json").write_text('{"command": "true"}', encoding="utf-8")
    for name in ("tmp", "locks", "leases", "pools", "taken", "cancels", "signed"):
        (precious / name).mkdir()
    before = _look(precious)
    place = Path(ground.spool.root, folder)
    ordinary = [
        lambda spool: spool.enqueue("true", id="j9"),
        lambda spool: spool.cancel("j1", by="root"),
        lambda spool: spool.requeue("j1"),
        lambda spool: spool.purge("j1"),
        lambda spool: spool.pause("because"),
        lambda spool: check.run(spool.folder, repair=True, names_only=False, clock=Clock()),
    ]
    shutil.rmtree(place)
    place.symlink_to(precious)
    os.lchown(place, WORKER, WORKER)
    for act in ordinary:
        _tried(lambda act=act: act(Spool(ground.spool.root)))  # type: ignore[misc]
    assert _look(precious) == before


def _look(folder: Path) -> list[tuple[str, int, int, bytes]]:
    return sorted(
        (str(path), info.st_uid, info.st_mode, path.read_bytes() if stat.S_ISREG(info.st_mode) else b"")
        for path in folder.rglob("*")
        for info in [path.lstat()]
    )


def _tried(act: Callable[[], object]) -> None:
    """Do it, if it can be done."""
    try:
        act()
    except Exception as error:
        print(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("race_s", RACES)
def test_flipping_a_folder_with_a_link_leads_root_nowhere(ground: Ground, race_s: float) -> None:
    """P10: the same, however fast the owner swaps the folder with a link to root's."""
    precious = ground.make("precious", 0)
    tmp, link = Path(ground.spool.tmp_dir), Path(ground.spool.machinery, "link")
    link.symlink_to(precious)
    os.lchown(link, WORKER, WORKER)
    spool = Spool(ground.spool.root)
    made = 0
    with As(WORKER, lambda: flip_for_ever(tmp, link)):
        until_s = time.monotonic() + race_s
        while time.monotonic() < until_s or made <= 10:
            _tried(lambda: spool.enqueue("true"))
            made += 1
            assert time.monotonic() < until_s + 60
    assert list(precious.iterdir()) == []


def _stripe_of_root(ground: Ground, job_id: str) -> Path:
    """A lock file as an older queuectl left it."""
    path = Path(ground.spool.stripe_path(names.stripe_of(job_id)))
    path.touch(0o600)
    os.chown(path, 0, 0)
    return path


def _checked(root: str, code: str, *, repair: bool) -> list[Finding]:
    found = check.run(SpoolDir(root), repair=repair, names_only=False, clock=Clock()).findings
    return [item for item in found if item.code == code]


def test_root_gives_a_lock_file_back(ground: Ground) -> None:
    """P3: `check --repair` as root gives the owner the very file, so who has it open holds the same stripe."""
    path = _stripe_of_root(ground, "j1")
    inode = path.stat().st_ino
    (found,) = _checked(ground.spool.root, "stripe", repair=False)
    assert "chown" in found.text and not found.repaired
    (found,) = _checked(ground.spool.root, "stripe", repair=True)
    assert found.repaired, found
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_ino) == (WORKER, WORKER, inode)
    assert _checked(ground.spool.root, "stripe", repair=False) == []


def test_root_gives_a_record_back(ground: Ground) -> None:
    """P9: the same for a record that only root can change, and not for a file that is no record."""
    desk = Desk(ground.spool)
    record = Path(ground.spool.path("dlq", "j1.json"))
    shutil.move(ground.spool.path("pending", desk.enqueue(id="j1")), record)
    secret = Path(ground.spool.path("dlq", "secret.json"))
    secret.write_text('{"secret": true}', encoding="utf-8")
    for path in (record, secret):
        os.chown(path, 0, 0)
        path.chmod(0o600)
    desk.close()
    found = {item.path: item for item in _checked(ground.spool.root, "owner", repair=True)}
    assert found["dlq/j1.json"].repaired and not found["dlq/secret.json"].repaired
    assert (record.stat().st_uid, secret.stat().st_uid) == (WORKER, 0)


@pytest.mark.parametrize("how", ["hard link", "link", "folder", "content", "not root's"])
def test_root_gives_nothing_away_that_is_no_lock_file(ground: Ground, how: str) -> None:
    """P10: the owner puts something else in the place of a lock file, and `check --repair` as root leaves it root's."""
    path = _stripe_of_root(ground, "j1")
    secret = ground.make("precious", 0) / "secret"
    secret.touch(0o600)
    if how in ("hard link", "link"):
        path.unlink()
        (os.link if how == "hard link" else os.symlink)(secret, path)
    elif how == "folder":
        path.unlink()
        path.mkdir(0o700)
    elif how == "content":
        path.write_text("secret", encoding="utf-8")
    else:
        os.chown(path, WORKER + 7, 0)
    before = (path.lstat().st_uid, secret.stat().st_uid)
    (found,) = _checked(ground.spool.root, "stripe", repair=True)
    assert not found.repaired and found.needs_person
    assert (path.lstat().st_uid, secret.stat().st_uid) == before


def test_the_owner_puts_a_new_lock_file_in_the_place_only_without_a_pool(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: two processes never hold one stripe through two files: not beside a pool, a lease or a young file."""
    path = _stripe_of_root(ground, "j1")
    told = ground.root / "queue" / "told"

    def look() -> str:
        def act() -> None:
            (found,) = _checked(ground.spool.root, "stripe", repair=True)
            told.write_text(f"{found.repaired} {found.text}", encoding="utf-8")

        done_as(WORKER, act)
        return told.read_text(encoding="utf-8")

    assert "a command may still have it open" in look()
    monkeypatch.setattr("queuectl.maintenance.ownership.CLOSED_FOR_S", -1.0)
    desk = Desk(ground.spool, worker="alive")
    os.chown(ground.spool.lease_path(desk.lease.name), WORKER, WORKER)
    assert "a pool is alive" in look() and path.stat().st_uid == 0
    desk.close()
    settings = config.defaults()._replace(stop_grace_s=1.0, kill_grace_s=1.0)
    pool = pools.Pool(Session(ground.spool, settings, Clock(), random.Random(2)), count=1, cwd="/")
    pool.enter()
    for name in os.listdir(ground.spool.pool_dir):
        os.chown(os.path.join(ground.spool.pool_dir, name), WORKER, WORKER)
    assert "a pool is alive" in look() and path.stat().st_uid == 0
    pool.leave(pools.StopSummary([], 0), clean=True)
    assert look().startswith("True")
    assert path.stat().st_uid == WORKER

    def lock() -> None:
        stripes = Stripes(ground.spool)
        assert stripes.of("j1").try_acquire()

    done_as(WORKER, lock)


def test_a_lock_file_of_root_holds_up_its_own_ids_only(ground: Ground) -> None:
    """P9: the owner's worker gets the other jobs, and for this one the command that cures it."""
    path = _stripe_of_root(ground, "j1")
    other = next(f"x{at}" for at in range(99) if names.stripe_of(f"x{at}") != names.stripe_of("j1"))
    told = ground.root / "queue" / "told"

    def act() -> None:
        desk = Desk(ground.spool)
        for job_id in ("j1", other):
            desk.enqueue(id=job_id)
        try:
            desk.claim("j1.json")
        except OSError as error:
            stuck = desk.claims.stuck("j1.json", error)
            assert stuck is not None
            told.write_text(f"{stuck.path} {stuck.cure}", encoding="utf-8")
        desk.run(f"{other}.json", Outcome("succeeded", 0, "", 0.1))

    done_as(WORKER, act)
    assert told.read_text(encoding="utf-8") == f"{path} chown {WORKER} {path}, as root"
