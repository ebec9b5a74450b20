"""output: the file that a worker's commands print to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from queuectl.worker.output import OutputSlot


@pytest.fixture
def slot(spool: SpoolDir) -> Iterator[OutputSlot]:
    """The output of one worker."""
    made = OutputSlot(spool)
    yield made
    made.close()


def _logs(spool: SpoolDir) -> dict[str, bytes]:
    folder = Path(spool.folder("logs"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_printed_text_becomes_a_log_of_its_attempt(spool: SpoolDir, slot: OutputSlot) -> None:
    """What a run printed is kept under the job's id and the attempt's number."""
    os.write(slot.open("w1.0"), b"hello\n")
    assert slot.keep("job1", 2)
    assert _logs(spool) == {"job1.2.log": b"hello\n"}


def test_silent_job_leaves_no_file(spool: SpoolDir, slot: OutputSlot) -> None:
    """Most jobs print nothing and cost no file: the handle is used again."""
    fd = slot.open("w1.0")
    assert not slot.keep("job1", 1)
    assert slot.open("w1.0") == fd
    assert _logs(spool) == {}
    slot.close()
    assert os.listdir(spool.tmp_dir) == []


def test_each_run_starts_with_an_empty_output(spool: SpoolDir, slot: OutputSlot) -> None:
    """One job's words never stand in another's log."""
    for number in (1, 2):
        os.write(slot.open("w1.0"), b"run %d" % number)
        assert slot.keep("job1", number)
    assert _logs(spool) == {"job1.1.log": b"run 1", "job1.2.log": b"run 2"}


def test_log_whose_name_is_taken_keeps_both(spool: SpoolDir, slot: OutputSlot) -> None:
    """No log is overwritten (P7)."""
    for text in (b"one", b"two"):
        os.write(slot.open("w1.0"), text)
        slot.keep("job1", 1)
    logs = _logs(spool)
    assert len(logs) == 2
    assert logs["job1.1.log"] == b"one"


def test_keeping_twice_keeps_once(spool: SpoolDir, slot: OutputSlot) -> None:
    """A worker that tries again to settle must get past the output it has kept already (P9)."""
    os.write(slot.open("w1.0"), b"hello")
    assert slot.keep("job1", 1)
    assert not slot.keep("job1", 1)
    assert _logs(spool) == {"job1.1.log": b"hello"}


def test_keeping_that_failed_can_be_tried_again(
    spool: SpoolDir, slot: OutputSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output is not lost when the disk refuses the move for a while (P9)."""
    os.write(slot.open("w1.0"), b"hello")

    def full(_source: str, _target: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "move", full)
        with pytest.raises(OSError):
            slot.keep("job1", 1)
    assert slot.keep("job1", 1)
    assert _logs(spool) == {"job1.1.log": b"hello"}


def test_a_log_has_its_folder_made_again(spool: SpoolDir, slot: OutputSlot) -> None:
    """P4: where somebody has deleted logs/, what was printed is not written over by the next run."""
    os.write(slot.open("w1.0"), b"first")
    shutil.rmtree(spool.folder("logs"))
    assert slot.keep("a", 1)
    os.write(slot.open("w1.0"), b"second")
    assert slot.keep("b", 1)
    assert Path(spool.log_path("a", 1)).read_bytes() == b"first"


def test_another_lease_means_another_file(spool: SpoolDir, slot: OutputSlot) -> None:
    """A process left behind writes on into its own file."""
    left = os.dup(slot.open("w1.0"))
    slot.abandon()
    fd = slot.open("w1.1")
    os.write(left, b"late words")
    os.write(fd, b"mine")
    os.close(left)
    slot.keep("job2", 1)
    assert _logs(spool) == {"job2.1.log": b"mine"}
    assert os.listdir(spool.tmp_dir) == ["w1.0.out"]


def test_close_keeps_output_that_nobody_has_taken(spool: SpoolDir, slot: OutputSlot) -> None:
    """A worker that stops in mid-job leaves what was printed for the rescue."""
    os.write(slot.open("w1.0"), b"half")
    slot.close()
    assert os.listdir(spool.tmp_dir) == ["w1.0.out"]
