"""The operations of the crash and fault sweeps on inboxes of files: the hand-over of a file, and its end (P1, P2, P7)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec

from queuectl.inbox.identity import identity_of
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import Outcome
from tests.crash.driver import FAILED, OK, WHOLE, Hands, Operation

INBOX = Inbox(
    path="", mode="files", owner="anna", tags=("job",), settle_s=0.0, max_retries=0, command=("true", "{file}")
)
_MARKED = msgspec.structs.replace(INBOX, done_file="{name}.ok")
_ONCE = "enqueued started succeeded @done"
_DEAD = "enqueued started failed @dlq"


def _sent(*names: str) -> Any:
    """Files in a new inbox; with a path, in one of its folders."""

    def put(hands: Hands) -> None:
        shutil.rmtree(hands.inbox, ignore_errors=True)
        hands.inbox.mkdir()
        for name in names:
            path = hands.inbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(WHOLE if name.endswith(".pdf") else b"")

    return put


def _ran(outcome: Outcome, *names: str) -> Any:
    """The job of a file has run, and its command has made a file beside it."""

    def run(hands: Hands) -> None:
        _sent("a.pdf", *names)(hands)
        for name in hands.poller.poll():
            hands.run(name, outcome)
        (folder,) = (hands.inbox / "working").iterdir()
        (folder / "a.txt").write_bytes(b"")

    return run


def _deleted(hands: Hands) -> None:
    """The job of a file was deleted by hand, and the receiver is about to look for such jobs."""
    _sent("a.pdf")(hands)
    (name,) = hands.poller.poll()
    os.unlink(hands.spool.path("pending", name))
    hands.clock.advance(61)


def _cut_short(hands: Hands) -> None:
    """A claim was cut short before its record was written."""
    _sent("a.pdf", "a.pdf.ok")(hands)
    folder = Path(hands.inbox, "working", f"{identity_of(hands.spool)}-anna-a-abcdef")
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    for name in ("a.pdf", "a.pdf.ok"):
        os.rename(hands.inbox / name, folder / name)


def _look(hands: Hands, _: object) -> None:
    hands.poller.poll()


def _nothing(_hands: Hands) -> None:
    return None


def _op(name: str, begin: Any, ends: str, inbox: tuple[str, ...], files: Inbox = INBOX) -> Operation:
    return Operation(f"files: {name}", _nothing, begin, _look, {"job": {ends}}, inbox=inbox, files=files)


_DELETED = msgspec.structs.replace(_MARKED, on_success="delete")
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
        _op("failure", _ran(FAILED), _DEAD, _TEXT),
        _op(
            "failure, and the name is taken",
            _ran(FAILED, "failed/a.pdf", "failed/a.pdf.failed.txt"),
            _DEAD,
            ("failed/a.pdf", "failed/a.pdf.failed.txt", "failed/a (2).pdf", "failed/a (2).pdf.failed.txt", _TEXT[2]),
        ),
        _op("give back", _cut_short, _ONCE, ("done/a.pdf", "done/a.pdf.ok"), _MARKED),
        _op("the job is gone", _deleted, "", ("failed/a.pdf", "failed/a.pdf.failed.txt")),
    )
}
