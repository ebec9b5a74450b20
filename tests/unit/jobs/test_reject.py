"""reject: bad files are kept, unchanged, beside a reason."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from queuectl.jobs import reject
from queuectl.model import settings as config
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.system import disk
from tests.helpers import FakeClock, listing, names_in, write_drop

JOB = json.dumps({"command": "true"})


def _session(spool: SpoolDir, clock: FakeClock | None = None) -> Session:
    return Session(spool, config.defaults(), clock or FakeClock(), random.Random(1))


def _reject(spool: SpoolDir, name: str, content: bytes = b"{bad", clock: FakeClock | None = None) -> str:
    path = write_drop(spool, name, content)
    return reject.reject(_session(spool, clock), Located(PENDING, name, str(path)), name, "it is bad", "mend it")


def test_rejected_file_keeps_its_bytes_and_gets_a_reason(spool: SpoolDir) -> None:
    """Nothing is lost of a file that cannot become a job (P6)."""
    assert _reject(spool, "x.json", b"{bad\xff\0") == "x.json"
    assert listing(spool) == {"rejected": ["x.json", "x.json.reason.txt"]}
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"{bad\xff\0"
    text = Path(spool.reason_path("x.json")).read_text()
    assert "it is bad" in text
    assert "mend it" in text


def test_two_rejected_files_of_one_name_are_both_kept(spool: SpoolDir) -> None:
    """The second gets another name and a reason of its own (P7)."""
    _reject(spool, "x.json", b"one")
    name = _reject(spool, "x.json", b"two")
    assert name != "x.json"
    assert name.endswith(".json")
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"one"
    assert Path(spool.path(REJECTED, name)).read_bytes() == b"two"
    assert len(names_in(spool, REJECTED)) == 4


def test_file_without_its_reason_is_not_overwritten(spool: SpoolDir) -> None:
    """A person deleted the reason only: the file in rejected/ stays (P7)."""
    _reject(spool, "x.json", b"one")
    os.unlink(spool.reason_path("x.json"))
    name = _reject(spool, "x.json", b"two")
    assert Path(spool.path(REJECTED, "x.json")).read_bytes() == b"one"
    assert sorted(names_in(spool, REJECTED)) == sorted(["x.json", name, f"{name}.reason.txt"])


@pytest.mark.parametrize("name", ["x" * 250 + ".json", "日" * 83 + ".json", "x" * 240 + ".jsonl"])
def test_longest_names_can_be_rejected(spool: SpoolDir, name: str) -> None:
    """A name that leaves no room for the ending of its reason does not stop the worker (P6)."""
    kept = _reject(spool, name)
    assert os.path.splitext(kept)[1] == os.path.splitext(name)[1]
    assert sorted(names_in(spool, REJECTED)) == sorted([kept, f"{kept}.reason.txt"])
    assert _reject(spool, name) != kept


def test_rejecting_what_is_gone_says_so_and_leaves_nothing(spool: SpoolDir) -> None:
    """No reason is written for a file that somebody took away."""
    with pytest.raises(FileNotFoundError):
        reject.reject(_session(spool), Located(PENDING, "x.json", spool.path(PENDING, "x.json")), "x.json", "", "")
    assert listing(spool) == {}


def test_reason_is_taken_back_when_the_move_fails(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble leaves the file in pending/ and no reason without a file (P9)."""

    def full(_source: str, _target: str, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk, "move", full)
    with pytest.raises(OSError):
        _reject(spool, "x.json")
    assert listing(spool) == {"pending": ["x.json"]}
