"""The operations of the crash and fault sweeps on inboxes of files: the hand-over of a file, and its end (P1, P2, P7)."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from queuectl.inbox import contents
from queuectl.inbox.identity import identity_of
from queuectl.jobs import submission
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from tests.crash.driver import FAILED, FAR, NEAR, OK, WHOLE, Hands, Operation, outside_of

INBOX = Inbox(
    path="", mode="files", owner="anna", tags=("job",), settle_s=0.0, max_retries=0, command=("true", "{file}")
)
_MARKED = msgspec.structs.replace(INBOX, done_file="{name}.ok")
_DEEP = msgspec.structs.replace(_MARKED, recursive=True)
_ONCE = "enqueued started succeeded @done"
_DEAD = "enqueued started failed @dlq"


def _sent(*names: str) -> Any:
    """Files in a new inbox; with a path, in one of its folders."""

    def put(hands: Hands) -> None:
        outside = outside_of(hands.root)
        for folder in (hands.inbox, *outside.values()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for name in names:
            above, _, rest = name[1:].partition("/")
            path = outside[f"/{above}"] / rest if name.startswith("/") else hands.inbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(WHOLE if name.endswith(".pdf") else b"")

    return put


def _ran(outcome: Outcome, *names: str, sub: str = "") -> Any:
    """The job of a file has run, and its command has made a file beside it; in a subfolder also one above it."""

    def run(hands: Hands) -> None:
        _sent(os.path.join(sub, "a.pdf"), *names)(hands)
        for name in hands.poller.poll():
            hands.run(name, outcome)
        (folder,) = (hands.inbox / "working").iterdir()
        (folder / sub / "a.txt").write_bytes(b"")
        if sub:
            (folder / "log").write_bytes(b"")

    return run


def _ran_beside_a_folder(hands: Hands) -> None:
    """The job has succeeded, and its file's name in the inbox has gone to a folder."""
    _ran(OK)(hands)
    (hands.inbox / "a.pdf").mkdir()


def _ran_and_made_a_folder(hands: Hands) -> None:
    """The job has succeeded, and its command has made a folder with a file and a link in it."""
    _ran(OK)(hands)
    (folder,) = (hands.inbox / "working").iterdir()
    (folder / "pages").mkdir()
    (folder / "pages" / "1.pdf").write_bytes(WHOLE)
    (folder / "pages" / "first").symlink_to("1.pdf")


def _deleted(hands: Hands) -> None:
    """The job of a file was deleted by hand, and the receiver is about to look for such jobs."""
    _sent("a.pdf")(hands)
    (name,) = hands.poller.poll()
    os.unlink(hands.spool.path("pending", name))
    hands.clock.advance(61)


def _cut_short(sub: str = "", *, is_gone: bool = False) -> Any:
    """A claim was cut short before its record was written; `is_gone`: then its subfolder was deleted."""

    def cut(hands: Hands) -> None:
        names = [os.path.join(sub, name) for name in ("a.pdf", "a.pdf.ok")]
        _sent(*names)(hands)
        folder = Path(hands.inbox, "working", f"{identity_of(hands.spool)}-anna-a-abcdef")
        (folder / sub).mkdir(parents=True)
        folder.parent.chmod(0o700)
        for name in names:
            os.rename(hands.inbox / name, folder / name)
        if is_gone:
            (hands.inbox / sub).rmdir()

    return cut


_KEY = {"unique": contents.key_of("anna", hashlib.sha256(WHOLE).hexdigest()), "unique_until": "deleted"}


def _there(hands: Hands) -> None:
    """A job with the content of the file waits."""
    prepared = hands.producer.prepare({"command": "true", "id": "first", **_KEY}, by="inbox")
    submission.put_in(hands.producer, [prepared])


def _has_run(hands: Hands) -> None:
    """A job with the content of the file has succeeded."""
    _there(hands)
    (name,) = hands.spool.waiting_names()
    hands.run(name, OK)


def _look_in_slices(hands: Hands, _: object) -> None:
    """The content of the file is read between two looks."""
    small, contents.SMALL_BYTES = contents.SMALL_BYTES, 0
    try:
        hands.poller.poll()
        while hands.poller.has_work:
            hands.poller.work()
        hands.poller.poll()
    finally:
        contents.SMALL_BYTES = small


def _look(hands: Hands, _: object) -> None:
    hands.poller.poll()


def _nothing(_hands: Hands) -> None:
    return None


def _op(
    name: str,
    begin: Any,
    ends: str,
    inbox: tuple[str, ...],
    files: Inbox = INBOX,
    *,
    prepare: Any = _nothing,
    act: Any = _look,
    first: str = "",
) -> Operation:
    endings = {"job": {ends}, **({"first": {first}} if first else {})}
    return Operation(f"files: {name}", prepare, begin, act, endings, inbox=inbox, files=files)


_NEAR = msgspec.structs.replace(INBOX, on_success=NEAR, on_failure=FAR)
_FAR = msgspec.structs.replace(INBOX, on_success=FAR, on_failure=NEAR)
_FAR_AND_DEEP = msgspec.structs.replace(_DEEP, on_success=FAR)
_KEEPING = msgspec.structs.replace(INBOX, on_success="keep")
_DELETED = msgspec.structs.replace(_MARKED, on_success="delete")
_BELOW = ("done/x/y/a.pdf", "done/x/y/a.pdf.ok")
_KEPT = msgspec.structs.replace(_MARKED, on_success="keep")


def _outside(folder: str, *ends: str) -> tuple[str, ...]:
    return tuple(f"{folder}/a{end}" if end.startswith(" ") else f"{folder}/a.{end}" for end in ends)


_UNIQUE = msgspec.structs.replace(_MARKED, unique="content")
_UNIQUE_BELOW = msgspec.structs.replace(_DEEP, unique="content")
# Without a marker, which would keep a file whose note is lost from being taken again.
_UNIQUE_KEPT = msgspec.structs.replace(_KEEPING, unique="content")
_UNIQUE_NEAR = msgspec.structs.replace(_UNIQUE, on_success=FAR, on_failure=NEAR)
_UNIQUE_FAR = msgspec.structs.replace(_UNIQUE, on_success=NEAR, on_failure=FAR)
_SKIPPED = "enqueued skipped @done"
_TEXT = ("failed/a.pdf", "failed/a.pdf.failed.txt", "failed/a.txt")

OPERATIONS = {
    made.name: made
    for made in (
        _op("take", _sent("a.pdf"), _ONCE, ("done/a.pdf",)),
        _op("take with a marker", _sent("a.pdf", "a.pdf.ok"), _ONCE, ("done/a.pdf", "done/a.pdf.ok"), _MARKED),
        _op("success", _ran(OK), _ONCE, ("done/a.pdf", "done/a.txt")),
        _op(
            "success, and the name is taken",
            _ran(OK, "done/a.pdf"),
            _ONCE,
            ("done/a.pdf", "done/a (2).pdf", "done/a.txt"),
        ),
        _op("success, and delete", _ran(OK, "a.pdf.ok"), _ONCE, ("done/a.txt",), _DELETED),
        _op("success, and keep", _ran(OK, "a.pdf.ok"), _ONCE, ("a.pdf", "done/a.pdf.ok", "done/a.txt"), _KEPT),
        _op("success, keep, and the name is taken", _ran_beside_a_folder, _ONCE, ("a (2).pdf", "done/a.txt"), _KEEPING),
        _op("failure", _ran(FAILED), _DEAD, _TEXT),
        _op(
            "failure, and the name is taken",
            _ran(FAILED, "failed/a.pdf", "failed/a.pdf.failed.txt"),
            _DEAD,
            ("failed/a.pdf", "failed/a.pdf.failed.txt", "failed/a (2).pdf", "failed/a (2).pdf.failed.txt", _TEXT[2]),
        ),
        _op("give back", _cut_short(), _ONCE, ("done/a.pdf", "done/a.pdf.ok"), _MARKED),
        _op("take from a subfolder", _sent("x/y/a.pdf", "x/y/a.pdf.ok"), _ONCE, _BELOW, _DEEP),
        _op(
            "success in a subfolder",
            _ran(OK, "x/y/a.pdf.ok", "done/x", sub="x/y"),  # done/x is a file
            _ONCE,
            ("done/x", "done/log", *(name.replace("x", "x (2)", 1) for name in (*_BELOW, "done/x/y/a.txt"))),
            _DEEP,
        ),
        _op(
            "success in a subfolder, and keep",
            _ran(OK, "x/y/a.pdf.ok", sub="x/y"),
            _ONCE,
            ("done/log", "done/x/y/a.pdf.ok", "done/x/y/a.txt", "x/y/a.pdf"),
            msgspec.structs.replace(_DEEP, on_success="keep"),
        ),
        _op(
            "failure in a subfolder",
            _ran(FAILED, "x/y/a.pdf.ok", sub="x/y"),
            _DEAD,
            ("failed/log", *(f"failed/x/y/a.{end}" for end in ("pdf", "pdf.failed.txt", "pdf.ok", "txt"))),
            _DEEP,
        ),
        _op("give back to a subfolder", _cut_short("x/y", is_gone=True), _ONCE, _BELOW, _DEEP),
        _op("success, near outside", _ran(OK, "/near/a.pdf"), _ONCE, _outside(NEAR, "pdf", " (2).pdf", "txt"), _NEAR),
        _op("failure, near outside", _ran(FAILED), _DEAD, _outside(NEAR, "pdf", "pdf.failed.txt", "txt"), _FAR),
        _op(
            "success, far outside",
            _ran_and_made_a_folder,
            _ONCE,
            (*_outside(FAR, "pdf", "txt"), f"{FAR}/pages/1.pdf", f"{FAR}/pages/first"),
            _FAR,
        ),
        _op(
            "failure, far outside, and the name is taken",
            _ran(FAILED, "/far/a.pdf"),
            _DEAD,
            _outside(FAR, "pdf", " (2).pdf", " (2).pdf.failed.txt", "txt"),
            _NEAR,
        ),
        _op(
            "success in a subfolder, far outside",
            _ran(OK, "x/y/a.pdf.ok", sub="x/y"),
            _ONCE,
            (f"{FAR}/log", *_outside(f"{FAR}/x/y", "pdf", "pdf.ok", "txt")),
            _FAR_AND_DEEP,
        ),
        _op("take a new content", _sent("a.pdf", "a.pdf.ok"), _ONCE, ("done/a.pdf", "done/a.pdf.ok"), _UNIQUE),
        _op(
            "take a new content in slices",
            _sent("a.pdf", "a.pdf.ok"),
            _ONCE,
            ("done/a.pdf", "done/a.pdf.ok"),
            _UNIQUE,
            act=_look_in_slices,
        ),
        _op(
            "a content that was run",
            _sent("a.pdf", "a.pdf.ok"),
            _SKIPPED,
            ("failed/a.pdf", "failed/a.pdf.failed.txt", "failed/a.pdf.ok"),
            _UNIQUE,
            prepare=_has_run,
            first=_ONCE,
        ),
        _op(
            "a content that waits, in slices",
            _sent("a.pdf", "a.pdf.ok"),
            _SKIPPED,
            ("failed/a.pdf", "failed/a.pdf.failed.txt", "failed/a.pdf.ok"),
            _UNIQUE,
            prepare=_there,
            act=_look_in_slices,
            first=_ONCE,
        ),
        _op(
            "take a new content from a subfolder, in slices",
            _sent("x/y/a.pdf", "x/y/a.pdf.ok"),
            _ONCE,
            _BELOW,
            _UNIQUE_BELOW,
            act=_look_in_slices,
        ),
        _op(
            "a content that was run, in a subfolder",
            _sent("x/y/a.pdf", "x/y/a.pdf.ok"),
            _SKIPPED,
            tuple(f"failed/x/y/a.{end}" for end in ("pdf", "pdf.failed.txt", "pdf.ok")),
            _UNIQUE_BELOW,
            prepare=_has_run,
            first=_ONCE,
        ),
        _op("success of a new content, and keep", _ran(OK), _ONCE, ("a.pdf", "done/a.txt"), _UNIQUE_KEPT),
        _op(
            "a content that was run, and keep",
            _sent("a.pdf"),
            _SKIPPED,
            ("a.pdf",),
            _UNIQUE_KEPT,
            prepare=_has_run,
            first=_ONCE,
        ),
        _op(
            "success of a new content, far outside",
            _ran(OK, "a.pdf.ok"),
            _ONCE,
            _outside(FAR, "pdf", "pdf.ok", "txt"),
            _UNIQUE_NEAR,
        ),
        _op(
            "a content that was run, near outside",
            _sent("a.pdf", "a.pdf.ok"),
            _SKIPPED,
            _outside(NEAR, "pdf", "pdf.failed.txt", "pdf.ok"),
            _UNIQUE_NEAR,
            prepare=_has_run,
            first=_ONCE,
        ),
        _op(
            "a content that was run, far outside, in slices",
            _sent("a.pdf", "a.pdf.ok"),
            _SKIPPED,
            _outside(FAR, "pdf", "pdf.failed.txt", "pdf.ok"),
            _UNIQUE_FAR,
            prepare=_has_run,
            act=_look_in_slices,
            first=_ONCE,
        ),
        _op("the job is gone", _deleted, "", ("failed/a.pdf", "failed/a.pdf.failed.txt")),
    )
}
