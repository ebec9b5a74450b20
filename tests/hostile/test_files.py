"""Inboxes of files: names, kinds of files and exchanges that nobody should send (P10, P11)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from queuectl.model.lifecycle import PENDING, Outcome
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in
from tests.unit.inbox.file_post import FilePost

# Each becomes an argument and nothing else.
TAKEN = (
    *("{file}.pdf", "{out}", "{{name}}", "{", "}{", "%s%n.pdf", "$(touch pwned).pdf", "`touch pwned`.pdf"),
    *("a;b|c&d.pdf", "a\\b.pdf", "a'\"b.pdf", " leading.pdf", "trailing .pdf ", "é\u0301.pdf", "\u202egpj.pdf"),
    *("\ufeff", "%PATH%.pdf", "!x.pdf", "*.pdf", "?.pdf", "[a].pdf", "a,prio=9,by=root.json", "a.json", "a.jsonl"),
    *("a,hold.json", "x" * 251 + ".pdf", "ü" * 127, "=x", "&", "a=b", "CON .x", "working.pdf"),
    *("done.pdf", "\\", "'", "a.PDF"),
)
# These stay where they are, and stop nothing.
LEFT = (
    *(
        "-rf",
        "--exec=x",
        "-",
        "+!x",
        "@x",
        "a\nb.pdf",
        "a\rb",
        "\t",
        "a\x1b[31m.pdf",
        "a\x7f",
        ".x",
        "..x",
        "..pdf",
        "...",
    ),
    *("~x", "#x#", "x~", "x.tmp", "x.part", "x.crdownload", "desktop.ini", "x.failed.txt"),
    "a (conflicted copy).pdf",
)
BYTES = (b"a\xff.pdf", b"\xc3\x28", b"\xed\xa0\x80")
PROGRAM = [
    *(sys.executable, "-S", "-c"),
    "import json, sys; open(sys.argv[1], 'a').write(json.dumps(sys.argv[2:]) + chr(10)); open(sys.argv[2]).read()",
]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="names and kinds of files of POSIX")


@posix_only
def test_no_name_becomes_anything_but_an_argument(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: each name that is taken arrives in the command as it is; the others stay in the inbox."""
    told = tmp_path / "told"
    words = (*PROGRAM, str(told), "{file}", "{name}", "x{stem}", "{folder}/{stem}.txt", "{{name}}")
    post = FilePost(spool, tmp_path / "inbox", command=words)
    inbox = tmp_path / "inbox"
    for name in (*TAKEN, *LEFT):
        post.send(name, renamed=True)
    bad = BYTES if sys.platform == "linux" else ()
    for raw in bad:
        Path(os.fsdecode(os.path.join(os.fsencode(inbox), raw))).write_text("x")
        post.poller.renamed.add(os.fsdecode(raw))
    before = {name for name in os.listdir(tmp_path) if name != "told"}
    for name in post.poller.step():
        claimed = post.desk.start(name)
        subprocess.run(claimed.record.command, cwd=tmp_path, check=True)
        post.desk.settlements.settle(claimed, Outcome("succeeded", 0))
    ran = [json.loads(line) for line in told.read_text().splitlines()]
    assert sorted(name for _, name, *_ in ran) == sorted(TAKEN)
    for path, name, stem, result, braces in ran:
        assert path.startswith(f"{inbox}/working/") and path.endswith(f"/{name}") and braces == "{name}"
        assert stem[1:] == result.rpartition("/")[2].removesuffix(".txt") and name.startswith(stem[1:])
    post.poller.step()
    assert sorted(os.listdir(inbox / "done")) == sorted(TAKEN)
    stayed = {os.fsencode(name) for name in os.listdir(inbox)} - {b"done", b"working"}
    assert stayed == {*map(os.fsencode, LEFT), *bad}
    assert {name for name in os.listdir(tmp_path) if name != "told"} == before
    post.poller.show(every_s=0)
    assert post.poller.state.trouble == ""


@posix_only
def test_no_folder_becomes_anything_but_an_argument(spool: SpoolDir, tmp_path: Path) -> None:
    """P10: the same names for subfolders. The file of each runs and goes to the same subfolder of done/."""
    told = tmp_path / "told"
    words = (*PROGRAM, str(told), "{file}", "{subfolder}", "x{subfolder}", "{subfolder}/{name}", "{{subfolder}}")
    post = FilePost(spool, tmp_path / "inbox", command=words, recursive=True, subfolder_tags=True)
    inbox, of_a_file = tmp_path / "inbox", "x.failed.txt"
    for name in (*TAKEN, *LEFT):
        (inbox / name).mkdir()
        post.send(f"{name}/y.pdf", renamed=True)
    bad = BYTES if sys.platform == "linux" else ()
    for raw in bad:
        os.mkdir(os.path.join(os.fsencode(inbox), raw))
        post.send(os.fsdecode(raw) + "/y.pdf", renamed=True)
    before = {name for name in os.listdir(tmp_path) if name != "told"}
    for name in post.poller.step():
        claimed = post.desk.start(name)
        subprocess.run(claimed.record.command, cwd=tmp_path, check=True)
        post.desk.settlements.settle(claimed, Outcome("succeeded", 0))
    ran = [json.loads(line) for line in told.read_text().splitlines()]
    assert sorted(name for _, name, *_ in ran) == sorted([*TAKEN, of_a_file])
    for path, name, marked, below, braces in ran:
        assert path.startswith(f"{inbox}/working/") and path.endswith(f"/{name}/y.pdf") and braces == "{subfolder}"
        assert (marked, below) == (f"x{name}", f"{name}/y.pdf")
    post.poller.step()
    assert sorted(os.listdir(inbox / "done")) == sorted([*TAKEN, of_a_file])
    stayed = {path.parent.name for path in inbox.glob("*/y.pdf")}
    assert stayed == {*LEFT, *map(os.fsdecode, bad)} - {of_a_file}
    assert {name for name in os.listdir(tmp_path) if name != "told"} == before
    os.makedirs(spool.inbox_dir, exist_ok=True)
    post.poller.show(every_s=0)
    assert post.poller.state.trouble == ""


@posix_only
@pytest.mark.parametrize("race_s", [0.7, pytest.param(3.0, marks=pytest.mark.slow)])
def test_a_file_that_turns_into_something_else_is_never_claimed_as_that(
    spool: SpoolDir, tmp_path: Path, race_s: float
) -> None:
    """P10: a link, a FIFO, a folder or a second name in the place of the file, at any instant."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    post = FilePost(spool, tmp_path / "inbox", max_waiting=10**6)
    inbox, over = tmp_path / "inbox", threading.Event()

    def exchange() -> None:
        number = 0
        while not over.is_set():
            number += 1
            made = inbox / f".new{number}"
            kind = number % 5
            try:
                if kind == 0:
                    made.write_text("file")
                elif kind == 1:
                    os.symlink(secret, made)
                elif kind == 2:
                    os.mkfifo(made)  # type: ignore[attr-defined,unused-ignore]
                elif kind == 3:
                    os.link(secret, made)
                else:
                    made.write_text("file")
                os.rename(made, inbox / "x.pdf")
            except OSError:
                continue

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        until_s = time.monotonic() + race_s
        while time.monotonic() < until_s or not names_in(spool, PENDING):
            post.poller.renamed.add("x.pdf")
            post.poller.step()
            post.desk.clock.advance(20)
            assert time.monotonic() < until_s + 60
    finally:
        over.set()
        thread.join()
    assert post.poller.state.trouble == ""
    claimed = [path for path in (inbox / "working").rglob("*") if path.is_symlink() or not path.is_dir()]
    assert len(claimed) == len(names_in(spool, PENDING))
    for path in claimed:
        assert path.is_file() and not path.is_symlink() and path.read_text() == "file"
    assert secret.read_text() == "secret"
    print(f"{len(claimed)} files were claimed")
