"""Attacks by a second user of the system on the way in: inboxes, and files in pending/ (P10). Root is needed for them.

The spool belongs to one user without a name, the workers', and the attacks are made by another one. Both are numbers
only, so nothing has to be added to the system. The test process is root and only sets up, looks and ends.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl.errors import UntrustedSpoolError
from queuectl.inbox import keyfile, opening
from queuectl.inbox.identity import identity_of
from queuectl.inbox.poller import Poller
from queuectl.jobs.verdict import Rejected
from queuectl.model import command, inbox
from queuectl.model.inbox import Inbox
from queuectl.model.settings import defaults
from queuectl.spool import create, trust
from queuectl.spool.folder import SpoolDir
from queuectl.system import libc, volume
from tests.helpers import Desk, names_in, only, rejected_name

if sys.platform == "win32" or os.geteuid() != 0:
    pytest.skip("two users: only root can be both of them", allow_module_level=True)

import grp
import pwd
import shlex

WORKER, STRANGER = 12301, 12302
_SCRAMBLE_S = 8.0
# How long a race is run: shorter by default, since it keeps two cores busy.
RACES = [0.7, pytest.param(3.0, marks=pytest.mark.slow)]
EVIL = {"command": "touch /nowhere", "id": "evil"}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
COMMANDS = command.parse({"greet": {"argv": ["echo", "hello"]}}, path="queuectl.toml")
# Loaded before a child changes its user, who may not be let to Python's own files.
LOADED = (grp, pwd, shlex, inbox, keyfile, libc, volume.of("/tmp"), codecs.lookup("ascii"))


class As:
    """A child process that is another user, until the block ends."""

    def __init__(self, uid: int, act: Callable[[], object]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                act()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def __enter__(self) -> As:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> None:
        """Wait for its end; once."""
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


def done_as(uid: int, act: Callable[[], object]) -> None:
    """Do something as another user, and fail where that fails."""
    child = As(uid, act)
    _, status = os.waitpid(child.pid, 0)
    assert status == 0, "it could not be done as that user"


class Ground:
    """A folder of root's that all can enter; in it the spool of the workers' user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spool = SpoolDir(root / "queue" / "spool")
        self.make("queue", WORKER)
        create.create(self.spool)
        for folder, _, files in os.walk(self.spool.root):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                os.chown(path, WORKER, WORKER)

    def make(self, name: str, owner: int, mode: int = 0o755) -> Path:
        """A folder of somebody's."""
        path = self.root / name
        path.mkdir(parents=True)
        os.chown(path, owner, owner)
        path.chmod(mode)
        return path

    def inbox(self, path: Path, mode: str = "templates") -> Inbox:
        """An inbox of the settings."""
        return Inbox(path=str(path), mode=mode, owner="anna", keys=str(self.root / "keys") if mode == "signed" else "")  # type: ignore[arg-type]

    def poller(self, path: Path, mode: str = "templates") -> Poller:
        """Polls it."""
        desk = Desk(self.spool)
        settings = defaults()._replace(commands=COMMANDS, durability="off")
        return Poller(desk.session._replace(settings=settings), self.inbox(path, mode), str(path))

    def look(self, path: Path, mode: str = "templates", times: int = 1) -> str:
        """Look at it as the workers' user; the trouble that its state tells."""
        told = self.root / "queue" / "told"

        def act() -> None:
            poller = self.poller(path, mode)
            for _ in range(times):
                poller.step()
            told.write_text(json.dumps([poller.state.trouble, poller.notices]))

        done_as(WORKER, act)
        trouble, _ = json.loads(told.read_text())
        return str(trouble)


@pytest.fixture
def ground() -> Iterator[Ground]:
    """See `Ground`."""
    root = Path(tempfile.mkdtemp(prefix="queuectl-two-users-"))
    root.chmod(0o755)
    yield Ground(root)
    shutil.rmtree(root)


def exchange(one: Path, other: Path) -> None:
    """Swap two names in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def flip_for_ever(one: Path, other: Path) -> None:
    """Swap two names until somebody ends this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    while True:
        libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)


def plant(folder: Path, identity: str) -> None:
    """Files that look as if the spool had claimed them."""
    for number in range(40):
        (folder / f".queuectl-{identity}-{'a' * 10}{number:02}-evil{number}.json").write_text(json.dumps(EVIL))


@pytest.mark.parametrize("mode", ["templates", "signed"])
@pytest.mark.parametrize("parent", ["his", "sticky"])
@pytest.mark.parametrize("race_s", RACES)
def test_flipping_the_inbox_with_a_link_to_pending_puts_nothing_there(
    ground: Ground, parent: str, mode: str, race_s: float
) -> None:
    """P10: who can rename the inbox's folder runs nothing as the workers' user, however fast it is flipped."""
    above = ground.make("home", STRANGER) if parent == "his" else ground.make("home", 0, 0o1777)
    ground.make("keys", WORKER, 0o700)
    ready = ground.root / "queue" / "identity"
    done_as(WORKER, lambda: ready.write_text(identity_of(ground.spool)))
    drop, link = above / "drop", above / "link"

    def prepare() -> None:
        drop.mkdir()
        drop.chmod(0o777)
        link.symlink_to(ground.spool.folder("pending"))
        plant(drop, ready.read_text())

    def look_on() -> None:
        poller, until_s = ground.poller(drop, mode), time.monotonic() + race_s
        while time.monotonic() < until_s and not names_in(ground.spool, "pending"):
            poller.step()

    done_as(STRANGER, prepare)
    with As(STRANGER, lambda: flip_for_ever(drop, link)):
        done_as(WORKER, look_on)
    assert names_in(ground.spool, "pending") == []


@pytest.mark.parametrize("mode", ["trusted", "templates", "signed"])
@pytest.mark.parametrize("parent", ["his", "sticky", "open"])
def test_an_inbox_that_is_pointed_elsewhere_touches_nothing_there(ground: Ground, parent: str, mode: str) -> None:
    """P10: a link, or a folder of the workers' user that was moved there: refused, with what to do."""
    owner, bits = {"his": (STRANGER, 0o755), "sticky": (0, 0o1777), "open": (0, 0o777)}[parent]
    above, precious = ground.make("home", owner, bits), ground.make("queue/precious", WORKER)
    ground.make("keys", WORKER, 0o700)
    for name in ("a.json", "b.json"):
        (precious / name).write_text('{"mine": 1}')
    done_as(STRANGER, lambda: (above / "drop").symlink_to(precious))
    trouble = ground.look(above / "drop", mode, times=3)
    assert sorted(os.listdir(precious)) == ["a.json", "b.json"]
    assert str(above) in trouble and ("folder" in trouble or "chown" in trouble)


@pytest.mark.parametrize(
    ("owner", "bits", "entry", "is_safe"),
    [
        (0, 0o755, WORKER, True),
        (WORKER, 0o755, WORKER, True),
        (WORKER, 0o700, 0, True),
        (0, 0o1777, WORKER, True),
        (0, 0o1777, STRANGER, False),
        (0, 0o755, STRANGER, False),
        (0, 0o777, WORKER, False),
        (0, 0o775, WORKER, False),
        (STRANGER, 0o755, WORKER, False),
        (STRANGER, 0o1777, WORKER, False),
    ],
)
def test_the_way_to_an_inbox_is_judged_by_who_can_rename_on_it(
    ground: Ground, owner: int, bits: int, entry: int, is_safe: bool
) -> None:
    """P10: each folder above is root's or ours and closed to others, or sticky with an entry that is ours."""
    above = ground.make("above", owner, bits)
    if bits & 0o020:
        os.chown(above, owner, STRANGER)
        above.chmod(bits)
    drop = ground.make("above/drop", entry, 0o777)
    (drop / "job.json").write_text('{"template": "greet"}')
    trouble = ground.look(drop)
    assert (trouble == "") == is_safe, trouble
    assert bool(names_in(ground.spool, "pending")) == is_safe
    assert (drop / "job.json").exists() != is_safe


def test_a_folder_that_is_swapped_after_the_check_is_not_the_one_that_is_used(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: between check and use, whoever could rename it gains nothing: the handle stays with the folder."""
    drop, aside = ground.root / "drop", ground.root / "aside"
    ground.make("drop", 0, 0o1777)
    (drop / "job.json").write_text('{"template": "greet"}')
    (drop / "bad.json").write_text("[]")
    aside.symlink_to(ground.spool.folder("pending"))
    (Path(ground.spool.folder("pending")) / "mine.json").write_text('{"command": "true"}')
    real = opening.open_inbox

    def swapping(spool: SpoolDir, inbox: Inbox) -> opening.Opened:
        opened = real(spool, inbox)
        exchange(drop, aside)
        return opened

    poller = ground.poller(drop)
    monkeypatch.setattr(opening, "open_inbox", swapping)
    assert poller.step() == ["anna-job,by=anna.json"]
    assert sorted(os.listdir(aside)) == ["bad.json.rejected", "bad.json.rejected.txt"]
    assert sorted(names_in(ground.spool, "pending")) == ["anna-job,by=anna.json", "mine.json"]
    monkeypatch.setattr(opening, "open_inbox", real)
    assert poller.step() == [] and "one of its own folders" in poller.state.trouble
    drop.unlink()
    drop.symlink_to(aside)
    assert poller.step() == [] and "is a link" in poller.state.trouble
    drop.unlink()
    drop.mkdir(mode=0o755)
    poller.notices.clear()
    poller.step()
    assert any("is now a different folder" in text for _, _, text in poller.notices)


def test_links_of_the_workers_user_on_the_way_are_followed_and_those_of_others_are_not(ground: Ground) -> None:
    """P10: `/tmp` is a link on macOS; a link in a sticky folder is only as good as its owner."""
    drop, sticky = ground.make("data/drop", WORKER, 0o1777), ground.make("sticky", 0, 0o1777)
    done_as(WORKER, lambda: (sticky / "ours").symlink_to("../data"))
    done_as(STRANGER, lambda: (sticky / "his").symlink_to(drop.parent))
    assert ground.look(sticky / "ours" / "drop") == ""
    assert str(sticky / "his") in ground.look(sticky / "his" / "drop")
    assert "use the folder that it leads to" in ground.look(sticky / "ours")


@pytest.mark.parametrize("path", ["bound", "bound/sub"])
def test_the_spool_s_own_folders_are_no_inbox_under_another_path_either(ground: Ground, path: str) -> None:
    """P10: told by device and inode, so a bind mount hides nothing."""
    ground.make("bound", 0)
    os.makedirs(ground.spool.folder("pending") + "/sub")
    if os.system(f"mount --bind {ground.spool.folder('pending')} {ground.root}/bound 2>/dev/null") != 0:
        pytest.skip("no mounts here")
    try:
        assert "one of its own folders" in ground.look(ground.root / path)
    finally:
        assert os.system(f"umount {ground.root}/bound") == 0


@pytest.mark.parametrize("name", ["evil.json", "20261124-031500-120345-7f3k.json", "evil.jsonl", "array.json"])
def test_a_file_of_a_stranger_in_pending_is_not_run(spool: SpoolDir, name: str) -> None:
    """P10: however it got there: it is kept in rejected/ with a text, and does not come back when it changes."""
    desk = Desk(spool)
    content: object = [EVIL] if name == "array.json" else EVIL
    path = Path(spool.path("pending", name))
    path.write_text(json.dumps(content) + "\n")
    os.chown(path, STRANGER, STRANGER)
    declined = desk.claims.splits.split(name) if name.endswith(".jsonl") else desk.claim(name)
    assert isinstance(declined, Rejected)
    kept = Path(spool.path("rejected", rejected_name(spool)))
    assert f"belongs to user {STRANGER}" in Path(f"{kept}.reason.txt").read_text()
    assert names_in(spool, "pending") == names_in(spool, "running") == []
    kept.write_text(json.dumps(EVIL) + " \n")
    from queuectl.maintenance.rejected_files import RejectedFiles

    assert RejectedFiles(desk.session._replace(spool=spool)).readmit() == []


def test_a_setting_runs_files_of_others(spool: SpoolDir) -> None:
    """For a share whose server does not map users: the default is not to."""
    desk = Desk(spool, settings=defaults()._replace(run_files_of_others=True))
    path = Path(spool.path("pending", "job.json"))
    path.write_text('{"command": "true"}')
    os.chown(path, STRANGER, STRANGER)
    desk.start("job.json")
    assert only(spool, "running") == "job.json"


@pytest.mark.parametrize("owner", [0, WORKER])
def test_files_of_root_and_of_the_workers_user_run(ground: Ground, owner: int) -> None:
    """`sudo cp job.json pending/` works."""
    path = Path(ground.spool.path("pending", "job.json"))
    path.write_text('{"command": "true"}')
    os.chown(path, owner, owner)
    done_as(WORKER, lambda: Desk(ground.spool).start("job.json"))
    assert only(ground.spool, "running") == "job.json"


def test_what_a_stranger_puts_into_an_inbox_harms_nothing_but_itself(ground: Ground) -> None:
    """P6, P10, P11: FIFOs, links, folders and hard links under every name that a receiver uses; a good job runs."""
    drop = ground.make("drop", WORKER, 0o1777)
    secret = ground.root / "queue" / "secret.json"
    secret.write_text('{"template": "greet"}')
    ready = ground.root / "queue" / "identity"
    done_as(WORKER, lambda: ready.write_text(identity_of(ground.spool)))
    mark = f".queuectl-{ready.read_text()}-"
    names = ["x.json", "x.json.rejected", "x.json.rejected.txt", f"{mark}tmp-{'a' * 12}", f"{mark}{'a' * 12}-x.json"]
    names += ["y.json.failed.txt", "y.json.done.txt", f"{mark}tmp-", mark]

    def put() -> None:
        for number, name in enumerate(names):
            (drop / f"{name}").mkdir()
            os.mkfifo(drop / f"f{number}.json")
            (drop / f"l{number}.json").symlink_to(secret)
            with contextlib.suppress(OSError):  # as the system's settings are
                os.link(secret, drop / f"h{number}.json")
        (drop / "good.json").write_text('{"template": "greet"}')

    done_as(STRANGER, put)
    assert ground.look(drop, times=3) == ""
    assert names_in(ground.spool, "pending") == ["anna-good,by=anna.json"]
    assert set(names) <= set(os.listdir(drop)) and secret.exists()


def test_files_that_move_about_while_they_are_received_run_nothing_else(ground: Ground) -> None:
    """P10: what is run is what was judged, however the folder's names are exchanged meanwhile."""
    drop = ground.make("drop", WORKER, 0o777)

    def put() -> None:
        (drop / "a.json").write_text('{"template": "greet"}')
        (drop / "b.json").write_text('{"command": "evil"}')
        (drop / "c.json").symlink_to("/etc/passwd")
        (drop / "d.json").mkdir()

    done_as(STRANGER, put)

    def churn() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        rng = random.Random(7)
        while True:
            one, other = (os.fsencode(drop / f"{rng.choice('abcd')}.json") for _ in range(2))
            libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE)
            for name in os.listdir(drop):
                if ".rejected" in name or name.startswith(".queuectl"):
                    with contextlib.suppress(OSError):
                        os.rename(drop / name, drop / f"{rng.choice('abcd')}.json")

    with As(STRANGER, churn):
        ground.look(drop, times=200)
    for name in names_in(ground.spool, "pending"):
        assert json.loads(Path(ground.spool.path("pending", name)).read_text())["command"] == ["echo", "hello"]


def test_doctor_and_the_start_refuse_the_same_inbox(ground: Ground) -> None:
    """P10: told before the workers run, with the path and what to do."""
    drop = ground.make("drop", STRANGER, 0o777)
    settings = defaults()._replace(inboxes=(ground.inbox(drop),))
    with pytest.raises(UntrustedSpoolError) as caught:
        opening.check_inboxes(ground.spool, settings)
    assert caught.value.path == str(drop) and caught.value.hint.startswith("chown ")


def test_a_stranger_s_file_in_a_trusted_inbox_is_not_run(ground: Ground) -> None:
    """P10: moved there by the workers' user, it can still be changed by its owner: refused, as in pending/."""
    drop = ground.make("drop", WORKER)
    for name, owner in (("his", STRANGER), ("ours", WORKER), ("roots", 0)):
        (drop / f"{name}.json").write_text('{"command": "true"}')
        os.chown(drop / f"{name}.json", owner, owner)
    assert ground.look(drop, "trusted") == ""
    assert sorted(names_in(ground.spool, "pending")) == ["ours,by=anna.json", "roots,by=anna.json"]
    assert f"belongs to user {STRANGER}" in (drop / "his.json.rejected.txt").read_text()


def test_a_file_system_that_a_stranger_mounted_holds_no_trusted_inbox(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: who mounts a file system in user space says who owns its files, so that owner proves nothing."""
    drop = ground.make("sticky", 0, 0o1777) / "mounted"
    ground.make("sticky/mounted/drop", WORKER)
    os.chown(drop, WORKER, WORKER)
    if os.system(f"mount -t tmpfs -o uid={WORKER},mode=755 none {drop} 2>/dev/null") != 0:
        pytest.skip("no mounts here")
    try:
        (drop / "drop").mkdir()
        os.chown(drop / "drop", WORKER, WORKER)
        for who, mode, is_safe in (
            (STRANGER, "trusted", False),
            (STRANGER, "templates", True),
            (WORKER, "trusted", True),
            (None, "trusted", True),
        ):
            monkeypatch.setattr(volume, "mounted_by", lambda path, who=who: who if path == str(drop) else None)
            trouble = ground.look(drop / "drop", mode)
            assert (trouble == "") == is_safe, trouble
            assert is_safe or f"user {STRANGER} has mounted the file system there" in trouble
    finally:
        assert os.system(f"umount {drop}") == 0


@pytest.mark.parametrize(("owner", "bits", "is_safe"), [(0, 0o755, True), (0, 0o1777, True), (0, 0o777, False)])
def test_a_folder_above_the_spool_that_others_can_change_is_named(
    ground: Ground, owner: int, bits: int, is_safe: bool
) -> None:
    """P10: whoever can rename the spool can put another one in its place: a warning, with the folder."""
    os.chown(ground.root, owner, owner)
    ground.root.chmod(bits)
    os.chown(ground.root / "queue", 0, 0)
    os.chown(ground.spool.root, 0, 0)
    who, hint = trust.way_to(ground.spool)
    assert (who == "") == is_safe
    assert is_safe or (who.startswith(f"{ground.root}: every user can write to it") and "chmod go-w" in hint)
    os.chown(ground.root, STRANGER, STRANGER)
    assert f"its owner, user {STRANGER}, can write to it" in trust.way_to(ground.spool)[0]


def scramble_for_ever(folder: Path, targets: list[str]) -> None:
    """Make, link, exchange and delete names in a folder, at random, until somebody ends this process."""
    rng, renames = random.Random(os.getpid()), ctypes.CDLL(None, use_errno=True)
    os.chdir(folder)
    known = [
        "x.json",
        "y.json",
        "x.json.rejected",
        "x.json.rejected.txt",
        "x.json.failed.txt",
        "z.jsonl",
        "w\udcff.json",
    ]
    contents = ['{"template": "greet"}', json.dumps(EVIL), "[]", "{", "", "\0" * 100]
    while True:
        listed = os.listdir(".")
        name, other = rng.choice(known + listed), rng.choice(known + listed)
        with contextlib.suppress(OSError):
            act = rng.randrange(8)
            if act < 2:
                Path(name).write_text(rng.choice(contents))
            elif act == 2:
                os.symlink(rng.choice(targets), name)
            elif act == 3:
                os.mkdir(name) if rng.random() < 0.5 else os.mkfifo(name)
            elif act == 4:
                renames.renameat2(_AT_FDCWD, os.fsencode(name), _AT_FDCWD, os.fsencode(other), rng.choice([0, 1, 2]))
            elif act == 5:
                os.link(rng.choice([name, *targets]), other)
            else:
                (os.rmdir if os.path.isdir(name) and not os.path.islink(name) else os.unlink)(name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["templates", "signed"])
def test_whatever_is_done_in_an_inbox_nothing_outside_changes(ground: Ground, mode: str) -> None:
    """P6, P10, P11: other files stay, only the allowed command waits, and the intake goes on."""
    drop, precious = ground.make("drop", WORKER, 0o777), ground.make("queue/precious", WORKER)
    ground.make("keys", WORKER, 0o700)
    for name in ("a.json", "b.json.rejected", "x.json.failed.txt"):
        (precious / name).write_text(json.dumps(EVIL))
        os.chown(precious / name, WORKER, WORKER)
    before = {name: (precious / name).read_bytes() for name in os.listdir(precious)}
    targets = [str(precious / "a.json"), str(precious), ground.spool.folder("pending"), "/etc/passwd", "x.json", "."]

    def look_on() -> None:
        poller, until_s = ground.poller(drop, mode), time.monotonic() + _SCRAMBLE_S
        while time.monotonic() < until_s:
            poller.step()
            poller.show(every_s=0.0)
            assert poller.state.trouble == ""
            poller.notices.clear()

    with As(STRANGER, lambda: scramble_for_ever(drop, targets)), As(STRANGER, lambda: scramble_for_ever(drop, targets)):
        done_as(WORKER, look_on)
    assert {name: (precious / name).read_bytes() for name in os.listdir(precious)} == before
    (drop / "good-one.json").write_text('{"template": "greet"}')
    assert ground.look(drop, mode, times=5) == ""
    waiting = {
        name: json.loads(Path(ground.spool.path("pending", name)).read_text())
        for name in names_in(ground.spool, "pending")
    }
    assert all(each["command"] == ["echo", "hello"] and each["owner"] == "anna" for each in waiting.values())
    assert ("anna-good-one,by=anna.json" in waiting) == (mode == "templates")
