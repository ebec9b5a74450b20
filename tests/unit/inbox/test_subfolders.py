"""Inboxes of files with subfolders: what is taken, where it goes, and what is left alone."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from queuectl.errors import InvalidSettingsError, QueuectlError
from queuectl.inbox import subfolder_walk, trial
from queuectl.inbox.file_box import FileBox
from queuectl.inbox.place import Place
from queuectl.jobs.requeue import requeue
from queuectl.model import inbox as inboxes
from queuectl.model import subfolders
from queuectl.model.lifecycle import Outcome
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in, wait_until
from tests.unit.inbox.file_post import FilePost, a_tick_after

OK, BAD = Outcome("succeeded", 0), Outcome("failed", 1, is_final=True)
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")

COMMAND = ("tool", "{file}", "{subfolder}/{name}", "{subfolder}", "x={subfolder}")


def post_of(spool: SpoolDir, tmp_path: Path, **keys: Any) -> FilePost:
    """An inbox with subfolders."""
    post = FilePost(spool, tmp_path / "inbox", **{"recursive": True, **keys})
    post.desk.clock.now_at = time.time()  # as the times of the folders are
    return post


def put(post: FilePost, *paths: str) -> None:
    """Put files into the inbox by renames into their folders."""
    for path in paths:
        (post.folder / path).parent.mkdir(parents=True, exist_ok=True)
        post.send(path, renamed=True)


def test_a_file_of_a_subfolder_keeps_its_place_in_done_and_in_failed(spool: SpoolDir, tmp_path: Path) -> None:
    """P2, P7: the folders of done/ and failed/ mirror the subfolders; an empty subfolder stays."""
    post = post_of(spool, tmp_path)
    for outcome in (OK, BAD):
        put(post, "2026/May/a.pdf")
        assert len(post.poller.step()) == 1
        (folder,) = (post.folder / "working").iterdir()
        assert post.tree() == [*[p for p in post.tree() if p.startswith("done/")], "working/*/2026/May/a.pdf"]
        (folder / "2026" / "May" / "a.copy").write_text("made by the command")
        (folder / "2026" / "log").write_text("made by the command above it")
        post.run(outcome)
        assert post.poller.step() == []
        assert list((post.folder / "working").iterdir()) == [] == os.listdir(os.path.join(spool.owed_dir, "anna"))
    names = ["2026/May/a.copy", "2026/May/a.pdf", "2026/May/a.pdf.failed.txt", "2026/log"]
    assert post.tree() == [*(f"done/{name}" for name in names if "failed" not in name), *(f"failed/{n}" for n in names)]
    assert (post.folder / "2026" / "May").is_dir()
    os.rename(post.folder / "failed" / "2026" / "May" / "a.pdf", post.folder / "2026" / "May" / "a.pdf")
    post.poller.renamed.add("2026/May/a.pdf")
    assert len(post.poller.step()) == 1  # a retry, and the text about it is gone
    assert "failed/2026/May/a.pdf.failed.txt" not in post.tree()


def test_the_job_knows_its_subfolder(spool: SpoolDir, tmp_path: Path) -> None:
    """{subfolder} is relative, and "" at the top, where it takes its slash with it; the names on the way are tags."""
    post = post_of(spool, tmp_path, command=COMMAND, tags=("scan",), subfolder_tags=True)
    put(post, "a.pdf", "x, y/2026/b.pdf")
    published = post.poller.step()
    assert len(published) == 2
    for name in published:
        item = post.desk.start(name).record
        words, sub = item.command[2:], item.history[0].file.rpartition("/")[0]
        native = subfolders.native(sub)
        assert words == (["a.pdf", "", "x="] if not sub else [f"{native}/b.pdf", native, f"x={native}"])
        assert item.tags == (["scan", "2026"] if sub else ["scan"])
        assert item.command[1].endswith(subfolders.native(item.history[0].file))


def test_a_subfolder_that_begins_with_a_dash_becomes_no_option(spool: SpoolDir, tmp_path: Path) -> None:
    """P10."""
    post = post_of(spool, tmp_path, command=COMMAND)
    put(post, "-rf/a.pdf", "ok/a.pdf")
    assert len(post.poller.step()) == 1
    assert [row.name for row in post.poller.state.refused] == ["-rf/a.pdf"]


@pytest.mark.parametrize(("recursive", "taken"), [(False, 1), (True, 9), (1, 2), (3, 4)])
def test_the_depth_is_bounded(spool: SpoolDir, tmp_path: Path, recursive: bool | int, taken: int) -> None:
    """true means eight folders."""
    post = post_of(spool, tmp_path, recursive=recursive)
    put(post, *("d/" * depth + "a.pdf" for depth in range(12)))
    assert len(post.poller.step()) == taken
    assert post.poller.state.subfolders == taken - 1 and post.poller.state.left_alone == 1


@pytest.mark.parametrize("value", [-1, 33])
def test_a_depth_that_makes_no_sense_is_refused(value: int) -> None:
    """The error names the key; the tags need subfolders."""
    keys = {"path": os.path.abspath("/srv"), "mode": "files", "command": ["tool", "{file}"]}
    with pytest.raises(InvalidSettingsError, match=r"recursive: takes"):
        inboxes.parse([{**keys, "recursive": value}], path="queuectl.toml")
    with pytest.raises(InvalidSettingsError, match="needs recursive"):
        inboxes.parse([{**keys, "subfolder_tags": True}], path="queuectl.toml")
    with pytest.raises(InvalidSettingsError, match="recursive: is not for mode trusted"):
        inboxes.parse([{"path": keys["path"], "mode": "trusted", "recursive": True}], path="queuectl.toml")


def test_folders_of_systems_and_of_queuectl_are_left_alone(spool: SpoolDir, tmp_path: Path) -> None:
    """P11: a folder named working, done or failed in a subfolder may be another spool's; results stay."""
    post = post_of(spool, tmp_path, ignore=("old*",), out=str(tmp_path / "inbox" / "text"), on_success="Gut")
    left = [".git", "~x", "lost+found", "@eaDir", "Old 1", "a/working", "a/Failed", "a/gut", "a/done", "text", "x.part"]
    put(post, *(f"{name}/a.pdf" for name in left), "a/b/a.pdf")
    assert len(post.poller.step()) == 1
    state = post.poller.state
    assert sorted(post.tree()) == sorted([*(f"{name}/a.pdf" for name in left), "working/*/a/b/a.pdf"])
    assert (state.left_alone, state.subfolders, state.trouble) == (len(left), 2, "")


def test_another_inbox_in_an_inbox_has_its_files_for_itself(spool: SpoolDir, tmp_path: Path) -> None:
    """P11."""
    post = post_of(spool, tmp_path)
    inner = inboxes.Inbox(path=str(tmp_path / "inbox" / "a" / "eve"), mode="trusted", owner="eve")
    post.desk.settings = post.desk.settings._replace(inboxes=(post.inbox, inner))
    post.start()
    put(post, "a/eve/x.json", "a/x.json")
    assert len(post.poller.step()) == 1
    assert post.tree() == ["a/eve/x.json", "working/*/a/x.json"]


def test_what_has_the_name_of_a_folder_in_done_is_not_replaced(spool: SpoolDir, tmp_path: Path) -> None:
    """P7: a file and a folder of one name, one after the other, both end in done/."""
    post = post_of(spool, tmp_path)
    put(post, "x")
    post.poller.step()
    post.run(OK)
    post.poller.step()
    put(post, "x/a.pdf")
    post.poller.step()
    post.run(OK)
    post.poller.step()
    assert post.tree() == ["done/x", "done/x (2)/a.pdf"]


def test_a_marker_is_looked_for_beside_its_file(spool: SpoolDir, tmp_path: Path) -> None:
    """A marker of the same name in another folder says nothing."""
    post = post_of(spool, tmp_path, done_file="{stem}.ok")
    put(post, "s/a.pdf", "a.ok", "t/a.ok")
    assert post.poller.step() == [] and [row.why for row in post.poller.state.rows] == ["s/a.ok is not there yet"]
    put(post, "s/a.ok")
    assert len(post.poller.step()) == 1
    post.run(BAD)
    post.poller.step()
    assert [name for name in post.tree() if name.startswith("failed/s")] == [
        "failed/s/a.ok",
        "failed/s/a.pdf",
        "failed/s/a.pdf.failed.txt",
    ]


def test_a_retry_says_where_the_file_belongs(spool: SpoolDir, tmp_path: Path) -> None:
    """The command would not find it; the hint names the subfolder."""
    post = post_of(spool, tmp_path)
    put(post, "a/b/x.pdf")
    post.poller.step()
    job_id = post.run(BAD).record.id
    post.poller.step()
    with pytest.raises(QueuectlError, match="no longer in the working folder") as caught:
        requeue(post.desk.session, job_id, by="retry")
    assert f"into {tmp_path / 'inbox' / 'a' / 'b'}:" in caught.value.hint


def test_a_claim_that_was_cut_short_goes_back_to_its_subfolder(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: also if the subfolder was deleted meanwhile."""
    post = post_of(spool, tmp_path)
    put(post, "a/b/x.pdf")
    with monkeypatch.context() as patch:
        patch.setattr(FileBox, "sync_claim", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            post.poller.step()
    assert post.tree() == ["working/*/a/b/x.pdf"]
    (post.folder / "a" / "b").rmdir()
    post.start()
    assert post.poller.step() == [] and post.tree() == ["a/b/x.pdf"]
    post.desk.clock.advance(11)
    assert len(post.poller.step()) == 1


@posix_only
def test_links_to_folders_and_loops_are_not_followed(spool: SpoolDir, tmp_path: Path) -> None:
    """P10, P11."""
    post = post_of(spool, tmp_path)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.pdf").write_text("secret")
    (post.folder / "s").mkdir()
    os.symlink(tmp_path / "secret", post.folder / "link")
    os.symlink("..", post.folder / "s" / "loop")
    post.poller.renamed.update(("link/a.pdf", "s/loop/a.pdf"))
    for _ in range(3):
        assert post.poller.step() == []
        post.desk.clock.advance(100)
    assert post.poller.state.foreign == ("link", "s/loop") and post.poller.state.subfolders == 1


@posix_only
def test_a_folder_that_becomes_a_link_between_look_and_claim_gives_nothing(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: the way to the file is opened again for the claim, folder by folder."""
    post = post_of(spool, tmp_path)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.pdf").write_text("secret")
    put(post, "s/a.pdf")
    whole = post.poller._walk.walk  # type: ignore[union-attr]

    def walk(root: Place, **facts: Any) -> Any:
        found = whole(root, **facts)
        os.rename(post.folder / "s", post.folder / ".s")
        os.symlink(tmp_path / "secret", post.folder / "s")
        return found

    monkeypatch.setattr(post.poller._walk, "walk", walk)
    assert post.poller.step() == [] and not names_in(spool, "pending")
    assert (tmp_path / "secret" / "a.pdf").exists() and (post.folder / ".s" / "a.pdf").exists()
    assert list((post.folder / "working").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may do everything")
def test_a_folder_that_nobody_may_empty_is_reported_once_for_all_its_files(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: unreadable, or closed to the workers' user."""
    post = post_of(spool, tmp_path)
    put(post, "shut/a.pdf", "tight/a.pdf", "ok/a.pdf")
    (post.folder / "shut").chmod(0)
    (post.folder / "tight").chmod(0o555)
    try:
        assert len(post.poller.step()) == 1
        reasons = {row.name: row.why for row in post.poller.state.refused}
        assert set(reasons) == {"shut/", "tight/"}
        assert "cannot be opened" in reasons["shut/"] and "chmod g+w" in reasons["tight/"]
    finally:
        for name in ("shut", "tight"):
            (post.folder / name).chmod(0o755)
    assert len(post.poller.step()) == 2


def test_a_folder_on_another_file_system_is_left_alone(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename is not possible from there: the folder is reported, nothing is tried."""
    post = post_of(spool, tmp_path)
    put(post, "mount/a.pdf", "ok/a.pdf")
    look = Place.look

    def other(place: Place, name: str) -> os.stat_result | None:
        info = look(place, name)
        if name != "mount" or info is None:
            return info
        facts = list(info[:10])
        facts[2] += 1
        return os.stat_result(facts)

    monkeypatch.setattr(Place, "look", other)
    assert len(post.poller.step()) == 1
    (row,) = post.poller.state.refused
    assert row.name == "mount/" and "another file system" in row.why


def test_there_is_a_limit_of_subfolders(spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who makes a million of them slows only so many looks."""
    monkeypatch.setattr(subfolder_walk, "FOLDERS_MOST", 3)
    post = post_of(spool, tmp_path)
    put(post, *(f"{number}/a.pdf" for number in range(6)))
    assert len(post.poller.step()) == 3
    assert [row.name for row in post.poller.state.refused] == ["3/"]


def _album(tmp_path: Path, post: FilePost) -> None:
    """A folder with files, moved into the inbox as `photos`; the clock of the file system ticks before that."""
    (tmp_path / "photos" / "b").mkdir(parents=True)
    for number in range(5):
        (tmp_path / "photos" / "b" / f"{number}.jpg").write_text("x")
    a_tick_after(tmp_path / "photos" / "b" / "4.jpg", tmp_path)
    os.rename(tmp_path / "photos", post.folder / "photos")


def test_a_whole_folder_is_taken_when_its_files_are_quiet(spool: SpoolDir, tmp_path: Path) -> None:
    """Where no event tells of the move."""
    post = post_of(spool, tmp_path)
    _album(tmp_path, post)
    assert post.poller.step() == [] and post.poller.state.arriving == 5
    post.desk.clock.advance(11)
    assert len(post.poller.step()) == 5


@posix_only
def test_a_folder_that_is_moved_in_whole_is_taken_at_once(spool: SpoolDir, tmp_path: Path) -> None:
    """But for files that were put there, or changed, since the move."""
    post = post_of(spool, tmp_path)
    _album(tmp_path, post)
    post.poller.renamed.add("photos/")

    def late() -> None:
        post.poller.renamed.update(("late.jpg", "photos/b/late.jpg"))  # events that come after the listing

    post.poller.catch_up = late
    (post.folder / "photos" / "b" / "new.jpg").write_text("x")
    (post.folder / "photos" / "b" / "3.jpg").write_text("more")
    assert len(post.poller.step()) == 4
    assert sorted(row.name for row in post.poller.state.rows) == ["photos/b/3.jpg", "photos/b/new.jpg"]
    assert post.poller.renamed == {"late.jpg", "photos/b/late.jpg"}
    os.utime(post.folder / "photos" / "b" / "3.jpg", (0, 0))
    assert post.poller.step() == []
    post.desk.clock.advance(11)
    assert len(post.poller.step()) == 2


@posix_only
@pytest.mark.parametrize("change", ["a file is put there", "its mode is changed"])
def test_a_folder_that_has_changed_since_its_move_proves_nothing(spool: SpoolDir, tmp_path: Path, change: str) -> None:
    """A change of its mode looks like a later move: the event of it is read before the move counts."""
    post = post_of(spool, tmp_path)
    _album(tmp_path, post)
    post.poller.renamed.add("photos/")
    if change == "a file is put there":
        (post.folder / "photos" / "x.part").touch()
    else:
        post.poller.catch_up = lambda: post.poller.renamed.discard("photos/")
    assert post.poller.step() == [] and post.poller.state.arriving == 5


@posix_only
def test_files_of_a_folder_that_wait_for_their_turn_are_not_looked_at_twice(spool: SpoolDir, tmp_path: Path) -> None:
    """A look at each costs 10,000 of them too much."""
    post = post_of(spool, tmp_path, max_waiting=1)
    _album(tmp_path, post)
    post.poller.renamed.add("photos/")
    assert len(post.poller.step()) == 1 and post.poller.state.waiting == 4
    box_look = FileBox.look
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileBox, "look", lambda box, path: seen.append(path) or box_look(box, path))
        assert post.poller.step() == []
    assert post.poller.state.waiting == 4 and seen == ["photos/b/1.jpg"]


def test_inbox_test_knows_subfolders(spool: SpoolDir, tmp_path: Path) -> None:
    """It says in which inbox a file of a subfolder is, and why a folder is left alone."""
    post = post_of(spool, tmp_path, command=COMMAND, recursive=2)
    session = post.desk.session._replace(settings=post.desk.settings._replace(inboxes=(post.inbox,)))
    put(post, "a/b/x.pdf", "a/done/x.pdf", "a/b/c/x.pdf")
    verdicts = {}
    for path in ("a/b/x.pdf", "a/done/x.pdf", "a/b/c/x.pdf"):
        found = trial.inbox_of(session, str(post.folder / path))
        assert found is not None
        verdicts[path] = trial.judge(session, found, str(post.folder / path))
    assert verdicts["a/b/x.pdf"].verdict == "accepted" and os.path.join("a", "b") in verdicts["a/b/x.pdf"].command
    assert "folder of queuectl" in verdicts["a/done/x.pdf"].why and "deeper than 2" in verdicts["a/b/c/x.pdf"].why
    assert trial.inbox_of(session, str(tmp_path / "x.pdf")) is None


@posix_only
def test_folders_that_have_not_changed_cost_one_call_each(spool: SpoolDir, tmp_path: Path) -> None:
    """P8: and done/ costs nothing, with subfolders too; a change is seen, and each folder is listed once a minute."""
    from tests.crash.inject import Plan, injected

    post = post_of(spool, tmp_path)
    clock = post.desk.clock
    clock.advance(time.time() + 100 - clock.now())
    counts = []
    for number in (0, 50):
        for each in range(number):
            for path in (post.folder / f"sub{each}", post.folder / "done" / f"sub{each}"):
                path.mkdir(parents=True)
                (path / "x.part").touch()
                os.utime(path, (0, 0))
        post.poller.step()
        with injected(Plan()) as plan:
            post.poller.step()
        counts.append(len(plan.calls))
    assert counts[1] - counts[0] == 50, counts
    (post.folder / "sub7" / "new.pdf").touch()
    post.poller.step()
    assert [row.name for row in post.poller.state.rows] == ["sub7/new.pdf"]
    clock.advance(61)
    with injected(Plan()) as plan:
        post.poller.step()
    assert len(plan.calls) > counts[1] + 50


def test_the_receiver_notices_a_rename_into_a_subfolder_by_its_event(tmp_path: Path) -> None:
    """And no longer one into a folder that is at another place now (Linux)."""
    from queuectl.system.watch import Watch

    watch = Watch(str(tmp_path), tells_renames=True, is_deep=True)
    assert watch.arm() and watch.renamed == set()
    try:
        (tmp_path / "s" / "t").mkdir(parents=True)
        wait_until(lambda: "s" in watch.names())
        ids = {sub: ((info := os.stat(tmp_path / sub)).st_dev, info.st_ino) for sub in ("s", "s/t")}
        assert watch.follow(ids) is (sys.platform == "linux") and not watch.follow(ids)
        (tmp_path / "s" / "t" / "a.part").write_text("x")
        os.rename(tmp_path / "s" / "t" / "a.part", tmp_path / "s" / "t" / "a")
        wait_until(lambda: "s/t/a" in watch.names())
        if sys.platform != "linux":
            return
        assert watch.renamed == {"s/t/a"}
        (tmp_path / "s" / "t" / "a").write_text("again")
        wait_until(lambda: watch.names() and not watch.renamed)
        (tmp_path / "z").touch()
        os.rename(tmp_path / "z", tmp_path / "s" / "t" / "z")
        wait_until(lambda: watch.names() and watch.renamed)
        os.rename(tmp_path / "s", tmp_path / "elsewhere")
        wait_until(lambda: "elsewhere" in watch.names())
        assert watch.renamed == {"elsewhere/"}  # another s/t/z may be there now, and half written
        (tmp_path / "elsewhere").chmod(0o700)
        wait_until(lambda: watch.names() == [] and not watch.renamed)  # so the folder's time is not that of its move
        (tmp_path / "x").touch()
        os.rename(tmp_path / "x", tmp_path / "elsewhere" / "t" / "x")
        (tmp_path / "y").touch()
        found: list[str] = []
        wait_until(lambda: found.extend(watch.names()) or "y" in found)
        assert not [name for name in found if name.startswith("s/")]
        assert watch.follow({}) is False
    finally:
        watch.close()


@posix_only
def test_a_folder_that_has_just_changed_is_listed_again(spool: SpoolDir, tmp_path: Path) -> None:
    """P8: within a tick of its clock a second change leaves its times as they are."""
    post = post_of(spool, tmp_path)
    (post.folder / "s").mkdir()
    post.poller.step()
    times = os.stat(post.folder / "s")
    with open(post.folder / "s" / "a.pdf", "w"):
        os.utime(post.folder / "s", ns=(times.st_atime_ns, times.st_mtime_ns))
    walk = post.poller._walk
    assert walk is not None
    info = os.stat(post.folder / "s")
    walk.known["s"] = walk.known["s"]._replace(mark=((info.st_dev, info.st_ino), info.st_mtime_ns, info.st_ctime_ns))
    post.poller.step()
    assert [row.name for row in post.poller.state.rows] == ["s/a.pdf"]


@posix_only
def test_files_that_wait_for_their_turn_cost_a_look_no_call(spool: SpoolDir, tmp_path: Path) -> None:
    """A folder of 10,000 files that was dropped whole: while a limit holds, those that are whole are not looked at."""
    from tests.crash.inject import Plan, injected

    counts = []
    for number in (10, 200):
        (tmp_path / str(number)).mkdir()
        post = post_of(spool, tmp_path / str(number), max_waiting=1, owner=f"o{number}")
        (post.folder / "album").mkdir()
        for each in range(number):
            post.send(f"album/{each}.pdf", renamed=each % 2 == 0)
        post.poller.step()
        post.desk.clock.advance(11)
        post.poller.step()
        with injected(Plan()) as plan:
            post.poller.step()
        assert (post.poller.state.waiting, post.poller.state.held_back) == (number - 1, "max_waiting = 1")
        counts.append(len(plan.calls))
    assert counts[0] == counts[1], counts
