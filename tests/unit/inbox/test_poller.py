"""poller: one poll of an inbox after the other, by a clock that is set by hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest

from queuectl.inbox import keyfile, limits, poller, signing
from queuectl.inbox.identity import identity_of
from queuectl.inbox.state import read_all
from queuectl.model import times
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import inboxes
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in
from tests.unit.inbox.post import Post


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
        assert (refused.name, refused.why[:24]) == ("half.json.rejected", "it is not complete JSON:")
        assert times.from_text(refused.rejected_at) == pytest.approx(post.desk.clock.now(), abs=0.01)
        post.start()
        post.poller.poll()


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
    # The limit of the signature is not the job's: an accepted job may wait for longer.
    post.desk.clock.advance(61)
    assert b'"signed_until": ' in post.desk.start("a,by=anna.json").data


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
