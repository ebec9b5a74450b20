"""Names of files from the corpus, in an inbox of files: what becomes of each, and how each is shown (P2, P6, P10)."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from queuectl.inbox import trial
from queuectl.model import file_command
from queuectl.model.lifecycle import Outcome
from queuectl.monitor import page
from queuectl.monitor.inboxes import row
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.helpers import names_in
from tests.hostile.corpus import CORPUS, PAYLOADS
from tests.hostile.test_at_rest import COLOUR, UNSAFE
from tests.unit.inbox.file_post import FilePost
from tests.unit.monitor.test_page import snapshot_of

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="names and kinds of files of POSIX")
MORE = (
    *("..", "...", "....", "-", "--", "-rf", "--exec=x", "+!x", "@x", "/", "{stem}", "{file}", "{", "}}", "$HOME"),
    *("CON", "NUL", "nul.pdf", "COM1.pdf", "lpt1", "aux.", "conin$", "x" * 255, "\u00fc" * 127, "\U0001f600" * 63),
    *("x" * 244 + ".failed.txt", "a.failed.txt.pdf", "working.pdf", "DONE", "done ", "\r", "\t", " ", "\u202e", "\x85"),
)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{,200}")
NAMES = sorted(
    {
        name
        for name in (*(case.file for case in CORPUS if not _PLAIN.fullmatch(case.file)), *PAYLOADS.values(), *MORE)
        if "/" not in name and name not in (".", "..") and len(os.fsencode(name)) <= 255 and "\0" not in name
    }
)
BAD = Outcome("failed", 1, is_final=True)
# Every kind of word that a name is filled into.
WORDS = ("{file}", "{name}", "x{stem}", "{folder}/{stem}.txt", "--title={name}", "{name}{suffix}")


def possible(folder: Path) -> list[str]:
    """The names that a file can have here."""
    made = []
    for name in NAMES:
        try:
            (folder / name).write_text("text")
        except (OSError, ValueError, UnicodeError):
            continue
        made.append(name)
    return made


def inside(folder: Path) -> set[str]:
    """The names of the files in a folder."""
    return {entry.name for entry in os.scandir(folder) if entry.is_file()} if folder.is_dir() else set()


@posix_only
def test_the_table_is_large() -> None:
    """No change of the corpus empties it."""
    assert len(NAMES) > 150
    assert all(any(mark in name for name in NAMES) for mark in ("\n", "\x1b", "\u202e", "..", "{", "%", "$", '"'))
    assert {"-rf", "CON", "nul.pdf"} < set(NAMES) and max(len(os.fsencode(name)) for name in NAMES) == 255


@posix_only
def test_each_name_is_taken_refused_or_left_alone_and_shown_harmlessly(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2, P6, P10: every file is in one place; no word of a name is an option; no screen, page or text obeys a name."""
    inbox = tmp_path / "inbox"
    post = FilePost(spool, inbox, command=("tool", *WORDS), max_waiting=10**6)
    with open(spool.settings_path, "a") as file:
        words = json.dumps(["cat", *WORDS])
        file.write(f'[[inbox]]\npath = "{inbox}"\nmode = "files"\nowner = "anna"\ncommand = {words}\n')
    names = possible(inbox)
    post.poller.step()
    for _ in range(6):
        post.desk.clock.advance(11)
        post.poller.step()
    assert post.poller.state.trouble == "" and not post.poller.state.waiting
    refused = dict(post.poller._refused)  # all of them; the state has the first
    taken = [name for name in names if name not in inside(inbox)]
    assert len(taken) > 100 and len(refused) > 10
    commands = Commands(monkeypatch)
    monkeypatch.setenv("QUEUECTL_SPOOL", spool.root)
    os.makedirs(spool.inbox_dir, exist_ok=True)
    shown: list[str] = []

    def look() -> None:
        post.poller.show(every_s=0)
        state = post.poller.state
        made = page.render(snapshot_of("x", inboxes=(row(state),)), advice=("", ""))
        shown.append(re.sub(r"(?s)<(style|script).*?</\1>", "", made))
        for words in (("status",), ("status", "--json"), ("inbox", "list"), ("inbox", "list", "--json")):
            for commands.on_terminal in (False, True):
                shown.append(commands(*words).out.replace("\t", " "))  # between the columns

    look()
    for name in names:
        answer = trial.judge(post.desk.session, post.inbox, str(inbox / name))
        if name in refused:
            assert answer.verdict == "refused", name
            assert refused[name].startswith(answer.why), name
        elif name not in taken:
            assert answer.verdict == "left alone", (name, answer)
        if UNSAFE.search(name) or name.startswith("-"):
            for words in (("inbox", "test", "--", str(inbox / name)), ("why", "--", name)):
                told = commands(*words, code=None)
                shown += [told.out, told.err]
                assert "Traceback" not in told.err, name
    ran = {}
    for file_name in sorted(names_in(spool, "pending")):
        claimed = post.desk.start(file_name)
        item = claimed.record
        assert item.command[0] == "tool"
        for word, pattern in zip(item.command[1:], WORDS, strict=True):
            assert word[0] not in "-+@" or word[0] == pattern[0], item.command
        ran[item.history[0].file] = item.command[1:]
        post.desk.settlements.settle(claimed, BAD)
    assert sorted(ran) == sorted(taken)
    for name, (path, same, *_) in ran.items():
        assert os.path.dirname(os.path.dirname(path)) == str(inbox / "working") and path.endswith(f"/{name}")
        assert same == name
    post.poller.step()
    look()
    failed = inside(inbox / "failed")
    texts = {name for name in failed if name.endswith(".failed.txt") and name.removesuffix(".failed.txt") in failed}
    assert len(failed - texts) == len(taken) == len(texts) and not inside(inbox / "done")
    assert {name for name in taken if len(os.fsencode(name)) <= 244} <= failed  # longer ones make room for the text
    for name in texts:
        shown.append((inbox / "failed" / name).read_text())
    assert inside(inbox) == set(names) - set(taken)
    found = [(UNSAFE.search(COLOUR.sub("", text)), text) for text in shown]
    assert [(match.group(), text[max(0, match.start() - 99) :][:200]) for match, text in found if match] == []


@posix_only
@pytest.mark.parametrize("done_file", ["", "{name}.done", "{stem}.ok"])
def test_a_name_as_long_as_can_be_stops_no_other_file(spool: SpoolDir, tmp_path: Path, done_file: str) -> None:
    """P9: its marker cannot exist, so it waits; the others are taken."""
    post = FilePost(spool, tmp_path / "inbox", done_file=done_file)
    post.send("x" * 255)
    post.send("a.pdf")
    if done_file:
        post.send(file_command.done_file_of(done_file, "a.pdf"))
    post.poller.step()
    post.desk.clock.advance(11)
    post.poller.step()
    assert post.poller.state.trouble == ""
    assert len(names_in(spool, "pending")) == (1 if done_file else 2)
    if done_file:
        assert [item.name for item in post.poller.state.rows] == ["x" * 255]


@posix_only
def test_a_claimed_file_comes_back_when_its_name_is_taken_and_its_marker_s_is_long(
    spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: the number in the new name must leave room for the marker."""
    post = FilePost(spool, tmp_path / "inbox", done_file="{name}.done")
    name = "n" * 246 + ".pdf"
    post.send(name)
    post.send(f"{name}.done")

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("queuectl.inbox.file_box.FileBox.sync_claim", interrupted)
        patch.setattr("queuectl.system.disk.make_folder", interrupted)
        with pytest.raises(KeyboardInterrupt):
            post.poller.step()
    post.send(name, "new")
    post.start()
    post.poller.step()
    assert post.poller.state.trouble == "" and inside(tmp_path / "inbox") == {name}
    (taken,) = [Path(path) for path in post.tree() if path.startswith("working/") and not path.endswith(".done")]
    assert taken.name != name and f"{taken}.done" in post.tree()  # it came back, and was taken with its marker
    assert len(names_in(spool, "pending")) == 1


@posix_only
def test_only_regular_files_are_taken(spool: SpoolDir, tmp_path: Path) -> None:
    """P10, P11: sockets, folders, devices, loops and links to nowhere stay, and no look waits for one."""
    post = FilePost(spool, tmp_path / "inbox")
    inbox = tmp_path / "inbox"
    os.symlink("loop.pdf", inbox / "loop.pdf")
    os.symlink("nowhere", inbox / "nowhere.pdf")
    os.symlink("/dev/zero", inbox / "zero.pdf")
    os.symlink("..", inbox / "up.pdf")
    (inbox / "folder.pdf").mkdir()
    os.mkfifo(inbox / "fifo.pdf")  # type: ignore[attr-defined,unused-ignore]
    with socket.socket(socket.AF_UNIX) as door:  # type: ignore[attr-defined,unused-ignore]
        here = os.open(inbox, os.O_RDONLY)
        try:
            door.bind(f"/proc/self/fd/{here}/socket.pdf" if sys.platform == "linux" else str(inbox / "socket.pdf"))
        finally:
            os.close(here)
        there = sorted(os.listdir(inbox))
        post.poller.renamed.update(there)
        for _ in range(3):
            assert post.poller.step() == []
            post.desk.clock.advance(100)
    assert sorted(os.listdir(inbox)) == sorted([*there, "working"])
    assert post.poller.state.left_alone == len(there) and post.poller.state.trouble == ""
