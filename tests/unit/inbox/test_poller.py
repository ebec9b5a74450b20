"""poller: one poll of an inbox after the other, by a clock that is set by hand."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queuectl.inbox import keyfile, limits, poller, signing
from queuectl.inbox.folder import SUMMARY, Folder
from queuectl.inbox.identity import identity_of, known_identity
from queuectl.inbox.poller import Poller
from queuectl.inbox.state import read_all
from queuectl.model import names, times
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import inboxes
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, make_spool, names_in


class Post:
    """An inbox and its poller."""

    def __init__(self, spool: SpoolDir, folder: Path, **keys: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.desk = Desk(spool)
        self.inbox = Inbox(path=str(folder), mode="trusted", owner="anna", **keys)
        self.start()

    def start(self) -> None:
        """As a new process."""
        desk = self.desk
        desk.session = desk.session._replace(settings=desk.settings)
        self.poller = Poller(desk.session, self.inbox, str(self.folder))

    def send(self, name: str, content: object) -> None:
        """Drop a file."""
        (self.folder / name).write_text(content if isinstance(content, str) else json.dumps(content))

    def names(self) -> list[str]:
        """What is in the inbox."""
        return sorted(os.listdir(self.folder))


def test_a_file_is_refused_only_when_quiet_for_settle_s(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: by our own monotonic clock; each change begins anew."""
    post = Post(spool, tmp_path / "inbox", settle_s=30.0)
    post.send("half.json", '{"comm')
    post.poller.poll()
    post.desk.clock.advance(29)
    post.send("half.json", '{"command"')
    post.poller.poll()
    post.desk.clock.advance(29)
    post.poller.poll()
    assert post.names() == ["half.json"]
    (row,) = post.poller.state.rows
    assert (row.name, row.size, row.quiet_s) == ("half.json", 10, 29.0)
    post.desk.clock.advance(2)
    post.poller.poll()
    assert post.names() == ["half.json.rejected", "half.json.rejected.txt"]
    for _ in range(2):  # the second time as a new process, which knows only what the text says
        (refused,) = post.poller.state.refused
        assert (refused.name, refused.why[:21]) == ("half.json.rejected", "it is not whole JSON:")
        assert times.from_text(refused.rejected_at) == pytest.approx(post.desk.clock.now(), abs=0.01)
        post.start()
        post.poller.poll()


def test_a_rejected_file_heals_also_for_a_new_process(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: which version was refused stands in its text; the same version is not judged again."""
    post = Post(spool, tmp_path / "inbox")
    post.send("job.json", {"command": 7})
    post.poller.poll()
    post.start()
    post.poller.poll()
    assert post.names() == ["job.json.rejected", "job.json.rejected.txt"]
    post.send("job.json.rejected", {"command": "true", "note": "corrected"})
    post.start()
    assert post.poller.poll() == ["job,by=anna.json"] and post.names() == []


def test_max_per_minute_counts_what_was_taken_within_a_minute(spool: SpoolDir, tmp_path: Path) -> None:
    """The limit is told with how many wait, and lifts by itself."""
    post = Post(spool, tmp_path / "inbox", max_per_minute=2)
    for number in range(5):
        post.send(f"{number}.json", {"command": "true"})
    assert len(post.poller.poll()) == 2
    assert (post.poller.state.held_back, post.poller.state.waiting) == ("max_per_minute = 2", 3)
    post.desk.clock.advance(59)
    assert post.poller.poll() == []
    post.desk.clock.advance(1)
    assert len(post.poller.poll()) == 2


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("many.json", [{"command": "true"}], "one a file"),
        ("many.jsonl", '{"command": "true"}\n', "one a file"),
        ("twice.json", '{"command": "a", "command": "b"}', "twice"),
        ("taken.json", {"command": "true", "id": "there"}, "in use"),
    ],
)
def test_what_is_whole_and_no_job_is_refused_at_once(
    spool: SpoolDir, tmp_path: Path, name: str, content: object, why: str
) -> None:
    """P6: with a text in plain words beside it."""
    post = Post(spool, tmp_path / "inbox")
    post.desk.enqueue(id="there")
    post.send(name, content)
    post.poller.poll()
    assert post.names() == [f"{name}.rejected", f"{name}.rejected.txt"]
    assert why in (post.folder / f"{name}.rejected.txt").read_text()


def test_a_name_that_is_used_again_gets_another_id(spool: SpoolDir, tmp_path: Path) -> None:
    """Dropping report.json every night is normal."""
    post = Post(spool, tmp_path / "inbox")
    for _ in range(2):
        post.send("report.json", {"command": "true"})
        post.poller.poll()
    assert len(names_in(spool, "pending")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_folders_and_foreign_names_are_left_alone(spool: SpoolDir, tmp_path: Path) -> None:
    """P11: nothing but a regular file is opened, and what is no job's name is told of."""
    post = Post(spool, tmp_path / "inbox")
    (tmp_path / "secret.json").write_text('{"command": "true"}')
    (post.folder / "link.json").symlink_to(tmp_path / "secret.json")
    (post.folder / "folder.json").mkdir()
    os.mkfifo(post.folder / "fifo.json")
    post.send("notes.txt", "x")
    for _ in range(2):
        assert post.poller.poll() == []
    assert post.poller.state.left_alone == 4 and post.poller.state.arriving == 0
    assert len(post.names()) == 4


def test_the_state_is_what_was_published(spool: SpoolDir, tmp_path: Path) -> None:
    """Who looks reads what the receiver wrote, and a damaged file is passed over."""
    post = Post(spool, tmp_path / "inbox")
    os.mkdir(spool.inbox_dir)
    post.send("half.json", "{")
    post.poller.step()
    post.poller.show(every_s=10)
    assert read_all(spool) == [post.poller.state]
    Path(spool.inbox_path("other", "json")).write_text("{")
    assert [state.owner for state in read_all(spool)] == ["anna"]
    assert inboxes.sentence(post.poller.state) == "1 still arriving"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_trusted_inbox_that_is_opened_to_others_later_is_left_alone(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: it is judged at each look, not only when the pool starts: a share may come later, and modes change."""
    post = Post(spool, tmp_path / "inbox")
    post.folder.chmod(0o777)
    post.send("job.json", {"command": "true"})
    assert post.poller.step() == [] and post.names() == ["job.json"]
    assert "chmod" in post.poller.state.trouble
    post.folder.chmod(0o755)
    assert post.poller.step() == ["job,by=anna.json"]
    assert [level for level, _, _ in post.poller.notices] == ["warning", "info"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_signed_file_waits_while_a_key_is_open_to_others(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: whose mistake it is not, keeps the job: it is taken in once the key is closed again."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    keyfile.create(str(keys / "anna.key"))
    (keys / "anna.key").chmod(0o644)
    post = Post(spool, tmp_path / "inbox", keys=str(keys))
    post.inbox = msgspec.structs.replace(post.inbox, mode="signed")
    post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
    post.start()
    identity = identity_of(spool)
    document = {"command": "true", "id": "a", "for": identity, "expires_at": times.to_text(post.desk.clock.now() + 60)}
    post.send("a.json", signing.sign(document, "anna", keyfile.read(str(keys / "anna.key"))))
    assert post.poller.step() == [] and post.names() == ["a.json"]
    assert "chmod 600" in post.poller.state.trouble
    (keys / "anna.key").chmod(0o600)
    assert post.poller.step() == ["a,by=anna.json"]


def test_a_signed_job_runs_on_one_spool_only(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: whoever copies a signed file into another queue's inbox, with the same key, gets a refusal."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    keyfile.create(str(keys / "anna.key"))
    taken = []
    for number, each in enumerate((spool, make_spool(tmp_path / "other"))):
        post = Post(each, tmp_path / f"inbox{number}", keys=str(keys))
        post.inbox = msgspec.structs.replace(post.inbox, mode="signed")
        post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox,))
        post.desk.rng.seed(number)
        post.start()
        post.poller.step()
        expires_at = times.to_text(post.desk.clock.now() + 60)
        document = {"command": "true", "id": "a", "for": known_identity(spool), "expires_at": expires_at}
        post.send("a.json", signing.sign(document, "anna", keyfile.read(str(keys / "anna.key"))))
        taken.append(post.poller.step())
    assert taken == [["a,by=anna.json"], []]
    assert f"queuectl sign --for {known_identity(post.desk.spool)}" in (post.folder / "a.json.rejected.txt").read_text()


def test_of_many_rejected_files_one_text_tells(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: bad files make max_rejected texts at most, and one that says how many more there are, and why."""
    post = Post(spool, tmp_path / "inbox", max_rejected=3)
    for number in range(250):
        post.send(f"bad{number:03}.json", [number])
    post.send("good.json", {"command": "true"})
    polls = 0
    while not names_in(spool, "pending"):
        post.poller.poll()
        polls += 1
        assert post.poller.rejected <= 100
    assert polls == 3
    names = post.names()
    assert sum(name.endswith(".json.rejected") for name in names) == 250
    assert [name for name in names if name.endswith(".txt")] == [
        *(f"bad{number:03}.json.rejected.txt" for number in range(3)),
        SUMMARY,
    ]
    text = (post.folder / SUMMARY).read_text()
    assert "247 rejected files" in text and "bad249.json: it holds many jobs" in text
    assert len([text for _, _, text in post.poller.notices if "rejected" in text]) == 3 + 3
    post.start()
    post.poller.poll()
    assert SUMMARY in post.names() and post.poller.state.left_alone == 0
    for name in names:
        if name.endswith(".rejected"):
            (post.folder / name).unlink()
    post.poller.poll()
    post.poller.poll()
    assert post.names() == []


def test_max_per_minute_counts_what_was_rejected_too(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: half files that are quiet as well."""
    post = Post(spool, tmp_path / "inbox", max_per_minute=3, settle_s=1.0)
    for name in ("a.json", "b.json"):
        post.send(name, [])
    for name in ("c.json", "d.json"):
        post.send(name, "{")
    post.send("e.json", {"command": "true"})
    post.send("f.json", {"command": "true"})
    post.poller.poll()
    assert (post.poller.state.held_back, post.poller.state.waiting) == ("max_per_minute = 3", 1)
    post.desk.clock.advance(2)
    post.poller.poll()
    assert sum(name.endswith(".rejected") for name in post.names()) == 2
    assert names_in(spool, "pending") == ["e,by=anna.json"]
    post.desk.clock.advance(59)
    post.poller.poll()
    assert sum(name.endswith(".rejected") for name in post.names()) == 4
    assert len(names_in(spool, "pending")) == 2


def test_what_never_becomes_a_job_holds_up_nothing(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: more half files than are watched, and more folders with the names of jobs, stand before a good file."""
    monkeypatch.setattr(poller, "_WATCHED_AT_MOST", 50)
    monkeypatch.setattr(limits, "AT_ONCE", 10)
    post = Post(spool, tmp_path / "inbox", settle_s=1e6)
    for number in range(50):
        (post.folder / f"a{number:03}.json").mkdir()
        post.send(f"b{number:03}.json", "{")
    post.send("good.json", {"command": "true"})
    for _ in range(8):
        post.poller.poll()
    assert names_in(spool, "pending") == ["good,by=anna.json"]
    assert len(post.poller.notices) == 50


def test_a_folder_with_the_name_of_a_receipt_holds_up_no_other(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: that receipt is left out, which is reported once; the others are written and the intake goes on."""
    post = Post(spool, tmp_path / "inbox", max_rejected=0)
    for name in ("x", "y"):
        post.send(f"{name}.json", {"command": "false", "max_retries": 0})
    post.poller.poll()
    for name in ("x", "y"):
        post.desk.settlements.settle(post.desk.start(f"{name},by=anna.json"), Outcome("failed", exit_code=1))
    (post.folder / "x.json.failed.txt").mkdir()
    (post.folder / SUMMARY).mkdir()
    post.send("bad.json", [])
    post.poller.notices.clear()
    for _ in range(3):
        post.poller.step()
    assert post.poller.state.trouble == ""
    assert (post.folder / "y.json.failed.txt").is_file() and (post.folder / "x.json.failed.txt").is_dir()
    assert [text for _, _, text in post.poller.notices if "x.json.failed.txt" in text] == [
        "x.json.failed.txt cannot be written: a folder has this name; it is left out"
    ]


def test_a_receipt_that_cannot_be_written_now_is_owed_and_holds_up_no_other(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6, P9: others are written first; then that one is tried again."""
    post = Post(spool, tmp_path / "inbox")
    for name in ("x", "y"):
        post.send(f"{name}.json", {"command": "false", "max_retries": 0})
    post.poller.poll()
    for name in ("x", "y"):
        post.desk.settlements.settle(post.desk.start(f"{name},by=anna.json"), Outcome("failed", exit_code=1))
    real = Folder.put_text

    def refusing(box: Folder, name: str, text: str) -> None:
        if name.startswith(held):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        real(box, name, text)

    held = ("x", "y")
    monkeypatch.setattr(Folder, "put_text", refusing)
    post.poller.step()
    assert "Permission denied" in post.poller.state.trouble
    held = ("x",)
    post.poller.step()
    assert post.names() == ["y.json.failed.txt"]
    held = ("-",)
    post.poller.step()
    assert post.names() == ["x.json.failed.txt", "y.json.failed.txt"] and post.poller.state.trouble == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a folder there cannot be read only")
def test_an_unfinished_text_that_cannot_be_deleted_stops_no_intake(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: what somebody made under a name that the receiver has used is left alone."""
    post = Post(spool, tmp_path / "inbox")
    post.send("bad.json", [])
    post.poller.poll()
    with post.poller._opened() as box:
        name = f"{box._mark}tmp-{box._tokens.for_texts()}"
    (post.folder / name).mkdir()
    post.send("one.json", {"command": "true"})
    assert post.poller.poll() == ["one,by=anna.json"]
    real = Folder.remove

    def refusing(box: Folder, wanted: str) -> bool:
        if wanted == name:
            raise PermissionError(errno.EPERM, "Operation not permitted", wanted)
        return real(box, wanted)

    monkeypatch.setattr(Folder, "remove", refusing)
    post.send("two.json", {"command": "true"})
    assert post.poller.poll() == ["two,by=anna.json"]
    assert post.poller.state.foreign == (name,)


def test_max_waiting_counts_jobs(spool: SpoolDir, tmp_path: Path) -> None:
    """A second file of a job's id in pending/, which somebody copied there, is no second job of the inbox."""
    post = Post(spool, tmp_path / "inbox", max_waiting=2)
    post.send("one.json", {"command": "true"})
    post.poller.poll()
    waiting = Path(spool.path("pending", "one,by=anna.json"))
    for copy in ("one.json", "one,prio=1.json", "ONE,by=anna,hold.json"):
        waiting.with_name(copy).write_bytes(waiting.read_bytes())
    post.send("two.json", {"command": "true"})
    assert post.poller.poll() == ["two,by=anna.json"]
    post.send("three.json", {"command": "true"})
    assert post.poller.poll() == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are Unicode")
def test_names_that_are_no_text_stop_nothing(spool: SpoolDir, tmp_path: Path) -> None:
    """P6: bytes that are no UTF-8 in the name of a half file, a foreign one, a refused one and a good one."""
    post = Post(spool, tmp_path / "inbox", settle_s=60.0, max_per_minute=2)
    folder = os.fsencode(post.folder)
    contents = {b"a\xff.json": b"{", b"b\xfe.bin": b"", b"c\xfd.json": b"[]", b"e\xfc.json": b"[]"}
    for name, content in {**contents, b"d\xfb.json": b'{"command": "false", "max_retries": 0}'}.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    (published,) = post.poller.step()
    post.poller.show(every_s=0.0)
    (state,) = read_all(spool)
    assert (state.rows[0].name, state.foreign, state.next) == ("a\\xff.json", ("b\\xfe.bin",), ("e\\xfc.json",))
    post.desk.settlements.settle(post.desk.start(published), Outcome("failed", exit_code=1))
    post.poller.step()
    assert "d\\xfb.json.failed.txt" in post.names()


def test_an_ending_in_capitals_is_taken_in(spool: SpoolDir, tmp_path: Path) -> None:
    """A producer on Windows may write JOB.JSON."""
    post = Post(spool, tmp_path / "inbox")
    post.send("JOB.JSON", {"command": "true"})
    assert post.poller.poll() == ["JOB,by=anna.json"] and post.names() == []


@pytest.mark.skipif(sys.platform == "win32", reason="the test itself would open the devices there")
def test_names_of_devices_are_passed_over_on_windows(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: whatever such a name ends in, nobody looks at the file, and the others are taken in."""
    post = Post(spool, tmp_path / "inbox")
    bad = ["con.json", "conin$.json.rejected", "nul.json.rejected.txt", "aux.json.failed.txt", "com1.jsonl"]
    for name in (*bad, "good.json"):
        post.send(name, {"command": "true"})
    monkeypatch.setattr(names, "_HAS_DEVICES", True)
    lstat = os.lstat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        assert os.path.basename(path) not in bad, "it was looked at"
        return lstat(path, **options)

    monkeypatch.setattr(os, "lstat", refuse)
    assert post.poller.poll() == ["good,by=anna.json"]
    assert post.names() == sorted(bad)
