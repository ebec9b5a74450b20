"""Attacks by a second user on the subfolders of an inbox of files, and file systems that are mounted in it (P10, P11).

Root is needed for them, as in `test_two_users`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32" or os.geteuid() != 0:
    pytest.skip("two users: only root can be both of them", allow_module_level=True)

from queuectl.inbox.file_box import FileBox
from queuectl.model.lifecycle import Outcome
from tests.helpers import names_in
from tests.hostile.test_two_users import STRANGER, WORKER, As, Ground, done_as, exchange, ground
from tests.unit.inbox.file_post import FilePost

__all__ = ["ground"]

OK = Outcome("succeeded", 0)


def post_of(ground: Ground, drop: Path) -> FilePost:
    """An inbox with subfolders, whose files are taken at once."""
    return FilePost(ground.spool, drop, recursive=True, settle_s=0.0, command=("cat", "{file}"), max_waiting=10**6)


def reasons(ground: Ground, drop: Path) -> dict[str, str]:
    """Look at the inbox as the workers' user; return what is refused, and why."""
    told = ground.root / "queue" / "told"

    def act() -> None:
        post = post_of(ground, drop)
        post.poller.step()
        assert post.poller.state.trouble == ""
        told.write_text("\n".join(f"{row.name}\t{row.why}" for row in post.poller.state.refused))

    done_as(WORKER, act)
    return dict(line.split("\t") for line in told.read_text().splitlines())


def test_folders_of_a_stranger_are_emptied_if_they_are_open_to_the_workers(ground: Ground) -> None:
    """P9, P11: others are reported, once for all their files, with what helps."""
    drop = ground.make("drop", WORKER, 0o1777)

    def send() -> None:
        for name, mode in (("open", 0o777), ("shut", 0o700), ("tight", 0o755), ("sticky", 0o1777)):
            (drop / name).mkdir()
            for number in range(3):
                (drop / name / f"{number}.pdf").write_text("his")
            (drop / name).chmod(mode)

    done_as(STRANGER, send)
    found = reasons(ground, drop)
    assert set(found) == {"shut/", "tight/", "sticky/"} and len(names_in(ground.spool, "pending")) == 3
    assert "cannot be opened" in found["shut/"]
    assert "chmod g+w" in found["tight/"] and "sticky" in found["sticky/"]
    assert list((drop / "working").rglob("*.pdf")) and not list((drop / "open").iterdir())


def test_a_stranger_s_folder_in_done_is_not_used(ground: Ground) -> None:
    """P10: made before the end of the job; no file of others gets into it, and no file waits."""
    drop = ground.make("drop", WORKER, 0o1777)

    def look(outcome: Outcome | None = None) -> None:
        post = post_of(ground, drop)
        if outcome is not None:
            post.run(outcome)
        post.poller.step()
        assert post.poller.state.trouble == ""

    def send() -> None:
        (drop / "sub").mkdir()
        (drop / "sub").chmod(0o777)
        (drop / "sub" / "a.pdf").write_text("his")

    done_as(STRANGER, send)
    done_as(WORKER, look)
    ground.make("drop/done", WORKER, 0o1777)
    done_as(STRANGER, (drop / "done" / "sub").mkdir)
    done_as(WORKER, lambda: look(OK))
    assert [str(path.relative_to(drop)) for path in drop.rglob("*.pdf")] == ["done/sub (2)/a.pdf"]


def test_a_stranger_who_closes_the_folder_of_a_claimed_file_stops_nothing(ground: Ground) -> None:
    """P9: the claim was cut short; the file goes back to the top, and others are taken as before."""
    drop = ground.make("drop", WORKER, 0o1777)

    def send() -> None:
        (drop / "sub").mkdir()
        (drop / "sub").chmod(0o777)
        (drop / "sub" / "a.pdf").write_text("his")

    def cut() -> None:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(FileBox, "sync_claim", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            post = post_of(ground, drop)
            post.poller._handover._sync = True
            post.poller.step()

    done_as(STRANGER, send)
    done_as(WORKER, cut)
    done_as(STRANGER, lambda: (drop / "sub").chmod(0o555))
    done_as(STRANGER, lambda: (drop / "b.pdf").write_text("his") and None)
    assert set(reasons(ground, drop)) == {"sub/"}
    assert sorted(path.name for path in (drop / "working").rglob("*.pdf")) == ["a.pdf", "b.pdf"]


def test_a_stranger_who_takes_all_names_in_done_stops_nothing(ground: Ground) -> None:
    """P9: a hundred folders of theirs; the file goes to done/ itself."""
    drop = ground.make("drop", WORKER, 0o1777)
    ground.make("drop/done", WORKER, 0o1777)

    def send() -> None:
        (drop / "sub").mkdir()
        (drop / "sub").chmod(0o777)
        (drop / "sub" / "a.pdf").write_text("his")
        for number in range(1, 120):
            (drop / "done" / (f"sub ({number})" if number > 1 else "sub")).mkdir()

    def work() -> None:
        post = post_of(ground, drop)
        post.poller.step()
        post.run(OK)
        post.poller.step()
        assert post.poller.state.trouble == ""

    done_as(STRANGER, send)
    done_as(WORKER, work)
    assert [str(path.relative_to(drop)) for path in drop.rglob("*.pdf")] == ["done/a.pdf"]


@pytest.mark.parametrize("race_s", [0.7, pytest.param(3.0, marks=pytest.mark.slow)])
def test_flipping_a_folder_with_a_link_to_a_secret_one_takes_nothing_from_there(ground: Ground, race_s: float) -> None:
    """P10: however fast the stranger exchanges the names, also of a folder in between."""
    drop, secret = ground.make("drop", WORKER, 0o1777), ground.make("queue/secret", WORKER)
    for folder in (secret, secret / "in"):
        folder.mkdir(exist_ok=True)
        for number in range(300):
            (folder / f"{number:03}.pdf").write_text("secret")
            os.chown(folder / f"{number:03}.pdf", WORKER, WORKER)
        os.chown(folder, WORKER, WORKER)

    def prepare() -> None:
        for folder in (drop / "sub", drop / "sub" / "in"):
            folder.mkdir()
            folder.chmod(0o777)
            for number in range(300):
                (folder / f"{number:03}.pdf").write_text("his")
        (drop / ".link").symlink_to(secret)

    def flip() -> None:
        while True:
            with contextlib.suppress(OSError):
                exchange(drop / "sub", drop / ".link")

    def look_on() -> None:
        post, until_s = post_of(ground, drop), time.monotonic() + race_s
        while time.monotonic() < until_s or not names_in(ground.spool, "pending"):
            post.poller.step()
            assert time.monotonic() < until_s + 60
        assert post.poller.state.trouble == ""

    done_as(STRANGER, prepare)
    with As(STRANGER, flip):
        done_as(WORKER, look_on)
    claimed = [path.read_text() for path in (drop / "working").rglob("*.pdf")]
    assert claimed and set(claimed) == {"his"}
    assert len(list(secret.rglob("*.pdf"))) == 600


@contextlib.contextmanager
def mounted(*mounts: list[str]) -> Iterator[None]:
    """File systems, each with its options and its place."""
    done: list[str] = []
    try:
        for words in mounts:
            if subprocess.run(["mount", *words], check=False, capture_output=True).returncode:
                pytest.skip("nothing can be mounted here")
            done.append(words[-1])
        yield
    finally:
        for path in reversed(done):
            subprocess.run(["umount", path], check=True)


def test_what_is_mounted_in_an_inbox_is_left_alone_and_reported(ground: Ground) -> None:
    """P2, P11: another file system, the same one by another way (its device is the same), and the inbox in itself."""
    drop, beside = ground.make("drop", WORKER), ground.make("beside", WORKER)
    (beside / "b.pdf").write_text("b")
    for name in ("other", "same", "loop", "plain"):
        ground.make(f"drop/{name}", WORKER)
    (drop / "plain" / "a.pdf").write_text("a")
    places = [str(drop / name) for name in ("other", "same", "loop")]
    with mounted(
        ["-t", "tmpfs", "-o", f"size=400k,uid={WORKER}", "none", places[0]],
        ["--bind", str(beside), places[1]],
        ["--bind", str(drop), places[2]],
    ):
        (drop / "other" / "c.pdf").write_text("c")
        for _ in range(2):
            found = reasons(ground, drop)
            assert set(found) == {"other/", "same/"}, found
            assert all("another file system" in why for why in found.values())
        assert len(names_in(ground.spool, "pending")) == 1
        assert (beside / "b.pdf").exists() and (drop / "other" / "c.pdf").exists()
        assert [path.name for path in (drop / "working").rglob("*.pdf")] == ["a.pdf"]
    assert Path(drop / "plain").is_dir()
