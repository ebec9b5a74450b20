"""The outcomes that wait on a node."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from queuectl.cluster import ends
from queuectl.cluster.ends import Ends
from queuectl.cluster.protocol import EXIT, RunEnd
from queuectl.system import outputs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nodes of a cluster run on Linux")

END = RunEnd("abc123.a.1", EXIT, 0, "", 0.5, 3)
OTHER = END._replace(run="abc123.b.1", reason="ü\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "ends"


def begin(path: Path, boot: str = "boot1") -> Ends:
    """Return a keeper's ends: empty ones."""
    made = Ends(str(path), boot)
    made.load()
    return made


def found(path: Path, boot: str = "boot1") -> list[RunEnd]:
    """Return what the next keeper finds."""
    return [told.end for told in Ends(str(path), boot).load()]


def test_outcomes_survive_until_they_are_acknowledged(path: Path) -> None:
    """P4: Whose they are, and where their output is, too."""
    made = begin(path)
    made.add("s", END, 4)
    made.add("s2", OTHER, -1)
    made.flush()
    assert [each[:3] for each in Ends(str(path), "boot1").load()] == [("s", END, 4), ("s2", OTHER, -1)]
    made = Ends(str(path), "boot1")
    made.load()
    made.forget(END.run)
    made.forget("abc123.never.1")
    made.flush()
    assert found(path) == [OTHER]


def test_a_damaged_line_is_none(path: Path) -> None:
    """P4: Torn at any byte, or changed: the run counts as lost, and the lines before and after are believed."""
    made = begin(path)
    made.add("s", END, 0)
    made.flush()
    size = path.stat().st_size
    made.add("s", OTHER, 1)
    made.flush()
    whole = path.read_bytes()
    for length in range(size, len(whole) - 1):
        path.write_bytes(whole[:length] + b"\0" * 50)
        assert found(path) == [END]
    path.write_bytes(whole.replace(b"abc123.a.1", b"abc123.c.1"))
    assert found(path) == [OTHER]


@pytest.mark.parametrize("is_closed", [False, True])
def test_another_boot_believes_what_was_closed(path: Path, is_closed: bool) -> None:
    """P4: A power cut may have kept the line and lost the output, or kept that of the run before."""
    made = begin(path)
    made.add("s", END, 0)
    made.flush()
    if is_closed:
        made.close()
    assert found(path, "boot2") == ([END] if is_closed else [])
    assert found(path, "boot3") == [], "the next keeper did not close it"


def test_a_full_disk_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: What did not fit is written with the next outcome."""
    made = begin(path)
    real = outputs.add

    def short(fd: int, data: bytes) -> None:
        real(fd, data[:10])
        raise OSError(28, "No space left on device")

    made.add("s", END, 0)
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "add", short)
        with pytest.raises(OSError, match="No space"):
            made.flush()
    made.add("s", OTHER, 1)
    made.flush()
    assert found(path) == [END, OTHER]


def test_the_file_stays_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written anew when most of it is acknowledged; an outcome that nobody fetches for a month is deleted."""
    monkeypatch.setattr(ends, "_LONG_BYTES", 5000)
    made = begin(path)
    made.add("s", END, 0)
    for number in range(200):
        run = f"abc123.x.{number + 1}"
        made.add("s", OTHER._replace(run=run), 1)
        made.flush()
        made.forget(run)
        made.flush()
        assert path.stat().st_size < 6000
    assert found(path) == [END]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 86400)
    assert found(path) == []
