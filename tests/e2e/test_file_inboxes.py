"""Inboxes of files with a real pool: any file in, a job out, and the file where it belongs."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from queuectl.inbox.state import InboxState, read_all
from queuectl.model import times
from queuectl.spool.folder import SpoolDir
from tests import file_sender
from tests.helpers import LONG, files_below, wait_until
from tests.pool import Pool, children, ends_with, kill, queuectl
from tests.unit.inbox.file_post import a_tick_after

SENDER = str(Path(file_sender.__file__))
# Windows has no names with double quotes.
QUOTED = "a b'$x;.pdf" if sys.platform == "win32" else "a b'\"$x;.pdf"
OURS = ("working", "done", "failed")
WANTED = (QUOTED, "c -c.pdf", "{file}.pdf", "half.pdf")


def configure(spool: SpoolDir, *inboxes: dict[str, object], settle_s: float = 0.4) -> None:
    """Write settings that name these inboxes of files."""
    text = f"settle_s = {settle_s}\nscan_s = 0.2\n"
    for inbox in inboxes:
        text += '[[inbox]]\nmode = "files"\n' + "".join(
            f"{key} = {json.dumps(value)}\n" for key, value in inbox.items()
        )
    Path(spool.settings_path).write_text(text)


def checker(witness: Path) -> list[str]:
    """A command that notes whether its file is whole."""
    return [sys.executable, "-S", SENDER, "check", "{file}", "{name}", str(witness)]


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in files_below(folder))


def test_files_run_and_go_where_they_belong(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P2, P6: renamed and plain files run once; a half one goes to failed/ and is run again from there."""
    inbox, witness = tmp_path / "scans", tmp_path / "witness"
    inbox.mkdir()
    configure(spool, {"path": str(inbox), "command": checker(witness), "max_retries": 0, "match": ["*.pdf"]})
    (inbox / "note.txt").write_text("somebody's")
    with Pool(spool) as pool:
        pool.ready()
        for name, way in {QUOTED: "rename", "c -c.pdf": "plain", "{file}.pdf": "slow"}.items():
            file_sender.send(str(inbox), name, way)
        (inbox / "half.pdf").write_bytes(file_sender.content("half.pdf")[:-9])
        ends_with(spool, {"done": 3, "dlq": 1})
        wait_until(lambda: (inbox / "failed" / "half.pdf").exists())
        os.link(inbox / "note.txt", inbox / "second name.pdf")  # it shows on the page, and stops nothing
        wait_until(lambda: read_all(spool)[0].refused)
        queuectl(spool, "status")
        os.unlink(inbox / "second name.pdf")
        assert "exit code 1" in (inbox / "failed" / "half.pdf.failed.txt").read_text()
        with open(inbox / "failed" / "half.pdf", "wb") as file:
            file.write(file_sender.content("half.pdf"))
        os.rename(inbox / "failed" / "half.pdf", inbox / "half.pdf")
        ends_with(spool, {"done": 4, "dlq": 1})
        wait_until(lambda: tree(inbox) == sorted([*(f"done/{name}" for name in WANTED), "note.txt"]))
    counted = Counter(witness.read_text().splitlines())
    assert counted == {f"ok {name}": 1 for name in WANTED} | {"half half.pdf": 1}
    assert not list((inbox / "working").iterdir())
    queuectl(spool, "check")  # its exit code says that there are no problems
    assert not [event for event in pool.events if event["event"] == "dashboard"]


def test_drain_takes_every_file_and_leaves_none_in_working(spool: SpoolDir, tmp_path: Path) -> None:
    """A pool that drains waits for files that still settle, and moves the files of its last jobs."""
    inbox = tmp_path / "scans"
    inbox.mkdir()
    configure(spool, {"path": str(inbox), "command": checker(tmp_path / "witness"), "on_success": "archive"})
    for number in range(5):
        file_sender.send(str(inbox), f"{number}.pdf", "plain")
    with Pool(spool, "--drain") as pool:
        assert pool.wait(60) == 0
    assert tree(inbox) == [f"archive/{number}.pdf" for number in range(5)]


def test_folders_run_and_go_where_they_belong(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P2, P6: a folder that is dropped whole, a rename into a subfolder, and a retry from failed/SUB."""
    inbox, witness = tmp_path / "scans", tmp_path / "witness"
    inbox.mkdir()
    # Nothing is quiet for so long: what is taken was renamed, or its folder came before the workers.
    common: dict[str, object] = {"command": checker(witness), "max_retries": 0, "recursive": True}
    configure(spool, {"path": str(inbox), **common}, settle_s=60 if sys.platform == "linux" else 0.4)
    (inbox / "a" / "b").mkdir(parents=True)
    with Pool(spool) as pool:
        pool.ready()
        wait_until(lambda: any(state.subfolders == 2 for state in read_all(spool)))
        for number, sub in enumerate(("", "a", "a/b", "new", "new/deep")):
            (inbox / sub).mkdir(exist_ok=True)
            wait_until(lambda: any(map(_knows_all, read_all(spool))))
            file_sender.send(str(inbox / sub), f"{number}.pdf", "rename")
        album = tmp_path / "album"
        album.mkdir()
        file_sender.send(str(album), "5.pdf", "plain")
        a_tick_after(album / "5.pdf", tmp_path)
        os.rename(album, inbox / "album")
        (inbox / "a" / "half.pdf.part").write_text("half of it")
        os.rename(inbox / "a" / "half.pdf.part", inbox / "a" / "half.pdf")
        failed = inbox / "failed" / "a" / "half.pdf"
        wait_until(failed.exists)
        wait_until(lambda: len(files_below(inbox / "done", ".pdf")) == 6)
        os.rename(failed, inbox / "a" / "half.pdf")
        wait_until(lambda: len(witness.read_text().splitlines()) == 8)
        wait_until(failed.exists)
        ends_with(spool, {"done": 6, "dlq": 2})
    done = ["done/album/5.pdf", "done/0.pdf", "done/a/1.pdf", "done/a/b/2.pdf", "done/new/3.pdf", "done/new/deep/4.pdf"]
    assert tree(inbox) == [*sorted(done), "failed/a/half.pdf", "failed/a/half.pdf.failed.txt"]


def _knows_all(state: InboxState) -> bool:
    """Whether a receiver has seen all subfolders that are there."""
    top = Path(state.path)
    folders = (Path(above, name) for above, names, _ in os.walk(top) for name in names)
    names = [path for path in folders if path.relative_to(top).parts[0] not in OURS]
    return state.subfolders == len(names)


@pytest.mark.slow
@pytest.mark.timeout(int(240 * max(1.0, LONG)))
@pytest.mark.parametrize("kind", ["folder", "files"])
def test_many_files_at_once_hold_up_no_other_inbox(spool: SpoolDir, tmp_path: Path, kind: str) -> None:
    """P6: a folder with many files, dropped whole, or as many files: all run, and the other inbox has its turns.

    With QUEUECTL_LONG=20 they are 10,000.
    """
    number = int(500 * LONG)
    many, other, source = tmp_path / "many", tmp_path / "other", tmp_path / "album"
    for folder in (many, other, source):
        folder.mkdir()
    configure(
        spool,
        *(
            {"path": str(path), "command": [shutil.which("true") or sys.executable, "-V"], "recursive": True}
            for path in (many, other)
        ),
    )
    for each in range(number):
        (source / f"{each:05}.pdf").write_bytes(b"x")
    took: list[float] = []
    with Pool(spool) as pool:
        pool.ready()
        wait_until(lambda: len(read_all(spool)) == 2)
        began_s = time.monotonic()
        if kind == "folder":
            os.rename(source, many / "album")
        else:
            for name in os.listdir(source):
                os.rename(source / name, many / name)
        target = many / "done" / ("album" if kind == "folder" else "")
        while not target.exists() or len(os.listdir(target)) < number:
            assert time.monotonic() - began_s < 120 + number / 5
            sent_s, name = time.monotonic(), f"{len(took)}.pdf"
            file_sender.send(str(other), name, "rename")
            wait_until(functools.partial(os.path.exists, other / "done" / name))
            took.append(time.monotonic() - sent_s)
        ends_with(spool, {"done": number + len(took)})
    assert len(took) >= 2
    took.sort()
    print(
        f"{kind}: {number} files in {time.monotonic() - began_s:.0f} s; a file of the other inbox took "
        f"{took[len(took) // 2]:.2f} s in the middle, {took[-1]:.2f} s at most"
    )


def _kill_one(rng: random.Random, pool: Pool) -> bool:
    """Kill a worker, a receiver or the supervisor; return whether the pool has to be started again."""
    victim = rng.choice([*children(pool.pid), pool.pid])
    kill(victim)
    return victim == pool.pid


def storm(
    spool: SpoolDir,
    tmp_path: Path,
    sent: list[tuple[str, str]],
    send: Callable[[str, str, str], None],
    *,
    subs: tuple[str, ...] = ("",),
    producers: int = 12,
) -> str:
    """Let producers send files in many ways while workers, receivers and pools are killed, and check each file.

    `sent` has the name of each file and its way. `send` gets a folder in an inbox, a name and a way. Return a sentence.
    """
    rng = random.Random(5)
    witness, box, marked = tmp_path / "witness", tmp_path / "in" / "plain", tmp_path / "in" / "marked"
    for folder in (box, marked):
        for sub in subs:
            (folder / sub).mkdir(parents=True, exist_ok=True)
    common: dict[str, object] = {"command": checker(witness), "max_retries": 50, "match": ["*.pdf"], "recursive": True}
    configure(
        spool,
        {"path": str(box), **common},
        {"path": str(marked), "done_file": "{name}.ok", **common},
        settle_s=2.5,  # a stalled producer on a busy machine must not look finished
    )
    rng.shuffle(sent)
    kills = pools = 0
    pause = threading.Event()  # never set: a wait of known length
    pool = Pool(spool).ready()
    try:
        with ThreadPoolExecutor(producers) as hands:
            under_way = [
                hands.submit(send, str((marked if way == "marker" else box) / rng.choice(subs)), name, way)
                for name, way in sent
            ]
            deadline = time.monotonic() + 700 * max(1.0, LONG)
            while len(spool.job_names("done")) < len(sent):
                assert time.monotonic() < deadline, (len(spool.job_names("done")), tree(tmp_path / "in")[:20])
                for each in under_way:
                    if each.done():
                        each.result()
                pause.wait(rng.uniform(0.1, 0.8))
                if kills < 60 * LONG:
                    kills += 1
                    if _kill_one(rng, pool):
                        pool.wait()
                        pool, pools = Pool(spool).ready(), pools + 1
            for each in under_way:
                each.result()
        ends_with(spool, {"done": len(sent)})
        wait_until(lambda: sum(len(files_below(each / "done", ".pdf")) for each in (box, marked)) == len(sent))
    finally:
        with pool:
            pass
    for folder in (box, marked):
        assert not [name for name in tree(folder) if not name.startswith("done/")]
    found = {path.name: path.read_bytes() for folder in (box, marked) for path in (folder / "done").rglob("*.pdf")}
    assert set(found) == {name for name, _ in sent}
    assert all(map(file_sender.is_whole, found.values()))
    ran = Counter(witness.read_text().splitlines())
    assert not [line for line in ran if line.startswith("half")]
    again = 0
    for name in spool.job_names("done"):
        item = spool.read("done", name).record
        starts = sum(event.event == "started" for event in item.history)
        kinds = {event.event for event in item.history}
        runs = ran[f"ok {os.path.basename(item.history[0].file)}"]
        assert 1 <= runs <= starts and (starts == 1 or "abandoned" in kinds), (item.history, runs)
        again += runs - 1
    ways = len({way for _, way in sent})
    return f"{len(sent)} files in {ways} ways, {kills} kills, {pools} of them of the pool: {again} ran again"


@pytest.mark.slow
@pytest.mark.timeout(int(900 * max(1.0, LONG)))  # a busy machine took more than 240 s
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_storm_of_files_written_in_many_ways_with_kills(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P2, P4: each file is processed whole, once, and again only after a kill; none is lost, none half.

    Half of them are in subfolders.
    """
    ways = [way for way in file_sender.WAYS if way != "rsync" or shutil.which("rsync")]
    sent = [(f"{way} {number:03}.pdf", way) for number in range(int(72 * LONG)) for way in ways]
    print(storm(spool, tmp_path, sent, file_sender.send, subs=("", "", "a", "b/deep")))


@pytest.mark.bench
@pytest.mark.skipif(sys.platform != "linux", reason="renames are told on Linux")
def test_from_the_rename_to_the_start_of_the_command(spool: SpoolDir, tmp_path: Path) -> None:
    """Print the median time from a rename into the inbox, and from the last byte of a plain file, to `started`."""
    inbox = tmp_path / "scans"
    inbox.mkdir()
    configure(spool, {"path": str(inbox), "command": ["/bin/true", "{file}"]}, settle_s=1.0)
    pause = threading.Event()
    with Pool(spool) as pool:
        pool.ready()
        wait_until(lambda: read_all(spool))
        for way in ("rename", "plain"):
            took: list[float] = []
            for number in range(40 if way == "rename" else 10):
                pause.wait(0.15)
                name = f"{way}{number}.pdf"
                path = inbox / f"{name}.part"
                path.write_bytes(b"x" * 1000)
                sent_at = time.time()
                if way == "rename":
                    os.rename(path, inbox / name)
                else:
                    os.unlink(path)
                    (inbox / name).write_bytes(b"x" * 1000)
                event = wait_until(functools.partial(_started, pool, name))
                took.append(times.from_text(event["at"]) - sent_at)
            took.sort()
            print(f"{way}: p50 {took[len(took) // 2] * 1000:.0f} ms, p90 {took[len(took) * 9 // 10] * 1000:.0f} ms")


def _started(pool: Pool, name: str) -> Any:
    return next((event for event in pool.events if event["event"] == "started" and name in str(event)), None)
